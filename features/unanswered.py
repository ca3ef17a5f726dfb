"""Calls that ended without an answer: whose fault that was, and when such a call counts as an answer worth nothing."""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

NOT_ITS_FAULT = (
    "provider_rate_limited", "provider_quota_exceeded", "provider_authentication", "provider_permission",
    "provider_not_found",
)  # fmt: skip
"""What a provider refuses for the application's account, load or settings: no failure of the candidate."""
CHANCE = 0.001
"""The chance at which candidates that fail alike would look so different: under it their failures are counted."""
AROUND = 100
"""Answers before a failure, and as many after it, that say how many of such are judged."""


def failed(rows: pd.DataFrame) -> Floats:
    """Return 1 for a call that its provider failed, 0 for an answered one, NaN where the fault was another's, (rows,).

    A failure of which no kind is told is taken for the provider's: the application got no answer from it.
    """
    kind = rows["error_type"].astype("string").fillna("provider_unknown")
    its_fault = kind.str.startswith("provider_") & ~kind.isin(NOT_ITS_FAULT)
    bad = (rows["status"] != "success").to_numpy(dtype=bool)
    return np.where(bad, np.where(its_fault.to_numpy(dtype=bool), 1.0, np.nan), 0.0)


def counted(rows: pd.DataFrame, paired: Mask) -> pd.DataFrame:
    """Return calls in time order in which those that `failed` have quality 0 where the candidates fail differently.

    Of the answers only some were judged, and failures are all known, so that a failure counts by lot (a hash of its
    request id) with the share of the answers around it that were; `paired` (rows,) are probes, which are judged apart.
    Asking a candidate again after its failure tells nothing of the request then: `owner` names it in each row. An
    unknown cost is nothing for a candidate with known costs, an unknown wait the candidate's mean. Where Pearson's
    chi-square test does not tell the candidates' shares of failures apart, they would take as much from each, and
    only add noise: the calls are returned as they are.
    """
    ended, quality = rows["failed"].to_numpy(dtype=np.float64), rows["quality"].to_numpy(dtype=np.float64)
    if not _differ(ended, rows["candidate"]):
        return rows
    bad = pd.Series(ended == 1).astype(int)
    again = (bad.groupby([rows["owner"].to_numpy(), rows["candidate"].to_numpy()]).cumsum() - bad > 0).to_numpy()
    lost = np.zeros(len(rows), dtype=bool)
    for kind in (paired, ~paired):
        at = np.flatnonzero(kind & (ended == 1) & ~again)
        shares = _judged(at, np.flatnonzero(kind & (ended == 0)), ~np.isnan(quality))
        lost[at] = [_lot(rows["request_id"].iloc[i]) < share for i, share in zip(at, shares, strict=True)]
    usual = rows[ended == 0].groupby("candidate")[["cost_usd", "latency_ms"]].mean().reindex(rows["candidate"])
    cost, wait = (usual[name].to_numpy(dtype=np.float64) for name in ("cost_usd", "latency_ms"))
    return rows.assign(
        quality=np.where(lost, 0.0, np.where(again, np.nan, quality)),
        cost_usd=rows["cost_usd"].where(~lost | rows["cost_usd"].notna(), 0.0 * cost),
        latency_ms=rows["latency_ms"].where(~lost | rows["latency_ms"].notna(), wait),
    )


def _differ(ended: Floats, candidate: pd.Series) -> bool:
    """Whether the candidates' shares of failed calls are proven to differ."""
    by = pd.Series(ended).groupby(candidate.to_numpy()).agg(["sum", "count"])
    by = by[by["count"] > 0]
    common = by["sum"].sum() / max(by["count"].sum(), 1)
    if len(by) < 2 or not 0 < common < 1:
        return False
    apart = (by["sum"] - common * by["count"]) ** 2 / (common * (1 - common) * by["count"])
    return bool(chi2.sf(apart.sum(), len(by) - 1) < CHANCE)


def _judged(at: NDArray[np.intp], answers: NDArray[np.intp], known: Mask) -> Floats:
    """Return for each place the share of the answers around it that were judged; 0 where there is none."""
    total = np.concatenate([[0], np.cumsum(known[answers])])
    place = np.searchsorted(answers, at)
    low, high = np.maximum(place - AROUND, 0), np.minimum(place + AROUND, len(answers))
    return np.asarray((total[high] - total[low]) / np.maximum(high - low, 1))


def _lot(request_id: str) -> float:
    """Return a number in [0, 1) that is the same for ever."""
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:6], "big") / 2**48
