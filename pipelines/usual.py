"""What is usual of the calls that a lake holds: what a guard holds the next champion to."""

from datetime import UTC, datetime, timedelta

import numpy as np

from beastmode.store import Baseline
from features.joins import calls
from pipelines.columns import INTERACTIONS
from pipelines.context import Context

COLUMNS = tuple(name for name in INTERACTIONS.names if name != "messages")
LATELY = timedelta(days=30)
"""An outage or a slow provider of longer ago is no longer usual."""
LEAST = 100
"""Calls under which nothing is usual."""


def usual(context: Context, as_of: datetime) -> Baseline | None:
    """Return the failures, refusals and slowness of what was served lately until a moment; None of too few requests.

    As a guard sees them: a request that a retry or a fallback answered has not failed, and has waited for both. A
    failure more than was seen is counted, so that the first one of a flawless log is no alarm. Where the last days hold
    too few, as with a log that was read late, all of the lake speaks.
    """
    today = as_of.astimezone(UTC).date()
    rows = calls(context.lake.interactions(today - LATELY, today, COLUMNS), as_of)
    if len(rows) < LEAST:
        rows = calls(context.lake.interactions(None, today, COLUMNS), as_of)
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
