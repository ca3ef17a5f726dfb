"""How long answers are and how long they take: robust fits, a candidate at a time."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from beastmode.scoring import Usage
from features.table import Table

Floats = NDArray[np.float64]

FEW = 20
"""Observations under which a candidate's own slope is not believed."""
HELD = 50.0
"""Observations that the common slope counts for."""


def fit_usage(table: Table, verbosity: Floats | None = None) -> Usage:
    """Fit output tokens and latency of each candidate.

    `verbosity` (n,) is an out-of-fold prediction of the mean deviation of log(output tokens) from each candidate's
    own mean; without it every request is expected to be answered at the candidate's mean length. A candidate whose
    tokens or latency were never observed is predicted as NaN.
    """
    n, m = table.quality.shape
    spoken = np.zeros(n) if verbosity is None else verbosity
    offset, slope = np.full(m, np.nan), np.zeros(m)
    common = _common_slope(table.output_tokens, spoken)
    for column in range(m):
        tokens = table.output_tokens[:, column]
        seen = np.isfinite(tokens)
        if not seen.any():
            continue
        log = np.log(np.maximum(tokens[seen], 1.0))
        slope[column] = _slope(spoken[seen], log, common)
        median = np.exp(slope[column] * spoken[seen])
        # The ratio of sums smears and weighs by tokens at once: predicted and observed totals agree.
        offset[column] = np.log(max(tokens[seen].sum(), 1.0) / median.sum())
    latency = np.array([_latency(table, column) for column in range(m)]).reshape(m, 3)
    return Usage(offset, slope, latency[:, 0], latency[:, 1], latency[:, 2])


def verbosity_target(tokens: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each request's mean deviation of log tokens from its candidates' means, (n,), and where it is known."""
    seen = np.isfinite(tokens)
    log = np.where(seen, np.log(np.maximum(np.nan_to_num(tokens, nan=1.0), 1.0)), 0.0)
    count = np.maximum(seen.sum(axis=0), 1)
    deviation = np.where(seen, log - log.sum(axis=0) / count, 0.0)
    return deviation.sum(axis=1) / np.maximum(seen.sum(axis=1), 1), np.asarray(seen.any(axis=1))


def _common_slope(tokens: Floats, spoken: Floats) -> float:
    target, known = verbosity_target(tokens)
    if known.sum() < FEW or spoken[known].std() < 1e-6:
        return 0.0
    return float(np.polyfit(spoken[known], target[known], 1)[0])


def _slope(spoken: Floats, log: Floats, common: float) -> float:
    """Return a candidate's slope, shrunk to the common one."""
    centred = spoken - spoken.mean()
    power = float(centred @ centred)
    if len(log) < FEW or power < 1e-9:
        return common
    held = HELD * power / len(log)
    return float((centred @ (log - log.mean()) + held * common) / (power + held))


def _latency(table: Table, column: int) -> tuple[float, float, float]:
    """Fit base, per output token and per input token, none negative, by relative errors without the worst tenth."""
    latency, tokens = table.latency_ms[:, column], table.output_tokens[:, column]
    seen = np.isfinite(latency)
    if not seen.any():
        return np.nan, 0.0, 0.0
    counted = seen & np.isfinite(tokens)
    if counted.sum() < FEW:
        return float(np.median(latency[seen])), 0.0, 0.0
    y = np.maximum(latency[counted], 1e-3)
    x = np.stack([np.ones_like(y), tokens[counted], table.input_tokens[counted]], axis=1)
    x[:, 2] = np.nan_to_num(x[:, 2])
    keep, fitted = np.ones(len(y), dtype=bool), np.zeros(3)
    for _ in range(3):
        fitted, _residual = nnls(x[keep] / y[keep, None], np.ones(int(keep.sum())))
        error = np.abs(x @ fitted / y - 1)
        keep = error <= np.quantile(error, 0.9)
    # Relative least squares leans low; one factor puts the kept total right.
    fitted = fitted * (y[keep].sum() / max(float((x[keep] @ fitted).sum()), 1e-9))
    return float(fitted[0]), float(fitted[1]), float(fitted[2])
