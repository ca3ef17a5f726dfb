"""What is usual of the calls that a lake holds: what a guard holds the next champion to."""

from datetime import datetime

import numpy as np
import pandas as pd

from beastmode.store import Baseline
from pipelines.context import Context

COLUMNS = ("at", "request_id", "purpose", "status", "error_type", "latency_ms", "cache_tier")
LEAST = 100
"""Calls under which nothing is usual."""


def usual(context: Context, as_of: datetime) -> Baseline | None:
    """Return the failures, refusals and slowness of what was served until a moment; None of too few calls.

    A failure more than was seen is counted, so that the first one of a flawless log is no alarm.
    """
    frame = context.lake.interactions(until=as_of.date(), columns=COLUMNS)
    served = frame["purpose"].isin(["serve", "canary"]) & frame["cache_tier"].isna()
    rows = frame[(served & (frame["at"] <= pd.Timestamp(as_of))).to_numpy(dtype=bool)]
    waited = rows["latency_ms"][(rows["status"] == "success").to_numpy(dtype=bool)].dropna().to_numpy(dtype=float)
    if len(rows) < LEAST or not len(waited) or not np.quantile(waited, 0.95) > 0:
        return None
    kind = rows["error_type"].fillna("").astype(str)
    failed = (rows["status"] != "success") & kind.str.startswith(("provider_", "router_"))
    refused = kind.str.startswith("policy_")
    n = len(rows)
    return Baseline(
        error_rate=(int(failed.sum()) + 1) / (n + 2),
        p95_ms=float(np.quantile(waited, 0.95)),
        refusal_rate=(int(refused.sum()) + 1) / (n + 2),
    )
