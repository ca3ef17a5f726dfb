"""Cut a table in time, so that nothing a learner saw stands on the side that judges it."""

import numpy as np

from features.table import Table


def by_time(table: Table, test_share: float) -> tuple[Table, Table]:
    """Return (train, test): the test are the latest rows, with so large a share of those whose quality is known.

    Feedback may come weeks late: of the latest rows alone nothing would be known. The test side loses every prompt
    (normalised text) that training has; rows without text stay. Raises ValueError where a side would be empty.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share = {test_share!r} must lie in (0, 1)")
    order = np.argsort(table.at, kind="stable")
    rated = np.flatnonzero((~np.isnan(table.quality[order])).any(axis=1))
    places = rated if len(rated) else np.arange(len(table))
    cut = int(places[: len(places) - round(len(places) * test_share) + 1][-1]) if len(places) else 0
    train = table.take(order[:cut])
    known = set(train.prompts.tolist()) - {""}
    late = table.take(order[cut:])
    fresh = [i for i, prompt in enumerate(late.prompts.tolist()) if prompt not in known]
    if not len(train) or not fresh:
        raise ValueError(
            f"a table of {len(table)} rows has no two sides at test_share = {test_share}; "
            "it needs more rows, or prompts that do not all repeat"
        )
    return train, late.take(np.array(fresh, dtype=np.int64))
