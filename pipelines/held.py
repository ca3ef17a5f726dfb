"""What the lake knows of held-out requests beside the table: the probabilities they were drawn with, and their kind."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.ledger import NONE, once, tasks
from features.table import Table
from models.offpolicy import lengths
from pipelines.context import Context

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

COLUMNS = ("request_id", "format", "purpose", "tenant", "context", "probabilities", "arm", "arm_probability",
           "arm_probabilities")  # fmt: skip
SERVED = ("serve", "canary")
MOST = 12
"""Kinds above which a tag names requests rather than kinds of them."""
NEAR = 1e-6
"""How far a row's probabilities may lie from its propensity to be those of its draw."""


def rows(context: Context, table: Table) -> pd.DataFrame:
    """Return the lake's row of each served request of a table, by request id; empty for an empty table."""
    if not len(table):
        return pd.DataFrame(columns=list(COLUMNS)).set_index("request_id")
    since, until = (pd.Timestamp(moment).date() for moment in (table.at.min(), table.at.max()))
    frame = once(context.lake.interactions(since, until, COLUMNS))
    frame = frame[frame["purpose"].isin(SERVED).to_numpy(dtype=bool)]
    return frame.drop_duplicates("request_id").set_index("request_id")


def probabilities(frame: pd.DataFrame, table: Table) -> Floats | None:
    """Return the logging policy's probabilities (n, m), or None where some request with a propensity lacks them.

    Under an experiment they are those of both arms, weighed by the arms' shares, as the propensity is.
    """
    n, m = len(table), len(table.candidates)
    found = np.zeros((n, m))
    column = {name: i for i, name in enumerate(table.candidates)}
    known = frame.reindex(table.request_ids)
    parts = [known[name].tolist() for name in ("probabilities", "arm", "arm_probability", "arm_probabilities")]
    for row, drawn in enumerate(zip(*parts, strict=True)):
        for share, chances in _arms(*drawn):
            for name, chance in chances.items():
                if name in column:
                    found[row, column[name]] += share * float(chance)
    needed = (table.served >= 0) & (table.propensity > 0)
    own = found[np.arange(n), np.maximum(table.served, 0)]
    return found if bool((np.abs(own - table.propensity)[needed] < NEAR).all()) else None


def kinds(frame: pd.DataFrame, table: Table, drawn: Floats) -> dict[str, Mask]:
    """Return masks (n,) of the kinds of requests a report tells apart, by name.

    By their `labels`, then by the candidate that a policy `drawn` (n, m)
    prefers: where it routes, it gains or loses. The largest of each come first.
    """
    known = labels(frame, table)
    told = {str(name): known == name for name in np.unique(known)}
    choice = drawn.argmax(axis=1)
    sent = {f"sent to {name}": choice == i for i, name in enumerate(table.candidates) if (choice == i).any()}
    families = [sorted(family.items(), key=lambda kind: -int(kind[1].sum())) for family in (told, sent)]
    return {name: mask for family in families if len(family) > 1 for name, mask in family}


def labels(frame: pd.DataFrame, table: Table) -> NDArray[np.str_]:
    """Return the kind of each request of a table, (n,): its task where the log tags some, else tenant, else length.

    `frame` has the requests' `context` and `tenant` by request id.
    """
    known = frame.reindex(table.request_ids)
    named = (_labels(tasks(known["context"]), "task"), _labels(known["tenant"], "tenant"))
    return next((found for found in named if found is not None), lengths(table.input_tokens))


def _labels(values: pd.Series, what: str) -> NDArray[np.str_] | None:
    """Return each request's tag, or None where there are not several of them."""
    named = values.where(values.notna(), NONE).astype(str)
    count = named[named != NONE].nunique()
    said = [name if name.startswith(what) else f"{what} {name}" for name in named]
    return np.array(said, dtype=str) if 2 <= count <= MOST else None


def _arms(own: Any, arm: Any, share: Any, arms: Any) -> list[tuple[float, Mapping[str, float]]]:
    """Return the share and the probabilities of each arm; of the policy alone where no experiment ran."""
    both = json.loads(arms) if isinstance(arms, str) else arms
    if isinstance(both, dict) and len(both) == 2 and arm in both and isinstance(share, float):
        return [(share if name == arm else 1 - share, chances) for name, chances in both.items()]
    return [(1.0, dict(own))] if isinstance(own, list | dict) else []
