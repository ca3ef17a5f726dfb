"""The guardrail of failed calls: is a policy answered less often than another, and by whose fault?"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.table import Table
from models.estimators import Estimate, EvaluationRefused, contrast

Floats = NDArray[np.float64]


def answered(table: Table, plus: Floats, minus: Floats, **rules: Any) -> Estimate | None:
    """Return the share of calls that are answered under policy `plus` less that under `minus`; see `contrast`.

    Rows with the ends of several candidates' calls are paired; else the served call counts by its importance weight.
    None where no call is known to have failed, or the rows cannot say.
    """
    if table.failed is None or not (table.failed == 1).any():
        return None
    known = replace(table, probed=np.isfinite(table.failed).sum(axis=1) >= 2)
    try:
        # Failures are few, so zero is a good guess at each, and the doubly robust estimate needs no other.
        found = contrast(known, table.failed, plus, minus, **rules)
    except EvaluationRefused:
        return None
    return replace(found, value=-found.value, low=-found.high, high=-found.low)


def culprit(table: Table, plus: Floats, minus: Floats) -> str:
    """Return in words the candidate by which policy `plus` fails most more calls than `minus`."""
    assert table.failed is not None
    failed, asked = np.nansum(table.failed, axis=0), np.isfinite(table.failed).sum(axis=0)
    worst = int(np.argmax((plus - minus).mean(axis=0) * failed / np.maximum(asked, 1)))
    return f"{table.candidates[worst]}, {failed[worst]:,.0f} of whose {asked[worst]:,} calls failed"
