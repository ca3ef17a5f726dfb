"""How well predictions rank, how honest they are, and what routing by them saves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 15


def auc(quality: Floats, predicted: Floats) -> float:
    """Return P(a success is ranked above a failure), the mean over candidates; quality in [0, 1], both (n, m).

    A graded outcome counts as a success by its share and as a failure by the rest. A candidate that always succeeds
    or always fails has no ranking and is left out; NaN where none has one.
    """
    areas = [
        area
        for column in range(quality.shape[1])
        if (area := _area(quality[:, column], predicted[:, column])) is not None
    ]
    return float(np.mean(areas)) if areas else float("nan")


def _area(quality: Floats, predicted: Floats) -> float | None:
    known = np.isfinite(quality) & np.isfinite(predicted)
    won, said = quality[known], predicted[known]
    lost = 1 - won
    if won.sum() <= 0 or lost.sum() <= 0:
        return None
    _, tie = np.unique(said, return_inverse=True)
    wins, losses = np.bincount(tie, weights=won), np.bincount(tie, weights=lost)
    below = np.cumsum(losses) - losses
    return float((wins * (below + losses / 2)).sum() / (won.sum() * lost.sum()))


def brier(quality: Floats, predicted: Floats) -> float:
    """Return the mean squared error of predicted quality over all observed cells."""
    return float(np.nanmean((quality - predicted) ** 2))


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Cells predicted alike: what was promised, what came true, how many there were."""

    predicted: float
    observed: float
    n: int


def calibration(quality: Floats, predicted: Floats, bins: int = BINS) -> tuple[CalibrationBin, ...]:
    """Return reliability bins of equal width over all observed cells; empty bins are left out."""
    known = np.isfinite(quality) & np.isfinite(predicted)
    won, said = quality[known], predicted[known]
    place = np.minimum((said * bins).astype(int), bins - 1)
    found = []
    for b in range(bins):
        inside = place == b
        if inside.any():
            found.append(CalibrationBin(float(said[inside].mean()), float(won[inside].mean()), int(inside.sum())))
    return tuple(found)


def ece(quality: Floats, predicted: Floats, bins: int = BINS) -> float:
    """Return the expected calibration error: mean |promised - observed| over bins, weighted by their cells."""
    found = calibration(quality, predicted, bins)
    total = sum(b.n for b in found)
    return sum(b.n * abs(b.predicted - b.observed) for b in found) / total if total else float("nan")


@dataclass(frozen=True, slots=True)
class Pair:
    """RouteLLM's measures for a strong and a weak candidate (Ong et al. 2024, routellm/evals/evaluate.py)."""

    apgr: float
    """Average share of the gap recovered over the shares of strong calls."""
    cpt50: float
    """Per cent of strong calls needed to recover half of the gap."""
    cpt80: float


def pair(weak: Floats, strong: Floats, win_rate: Floats) -> Pair:
    """Return APGR and CPT of routing to the strong candidate by `win_rate`, each argument (n,).

    As RouteLLM evaluates: ten thresholds at the quantiles of the win rate, the ends being all strong and all weak;
    the gap recovered is integrated over the share of strong calls by trapezoids and divided by the area of a perfect
    recovery, and the share for a given recovery is interpolated linearly.
    """
    thresholds = np.quantile(win_rate, np.linspace(0, 1, 11))
    strong_sides = [win_rate >= threshold for threshold in thresholds[:-1]] + [win_rate > thresholds[-1]]
    share = np.array([side.mean() for side in strong_sides])[::-1]
    score = np.array([np.where(side, strong, weak).mean() for side in strong_sides])[::-1]
    low, high = float(weak.mean()), float(strong.mean())
    recovered = (score - low) / (high - low)
    area = float((np.diff(share) * (recovered[1:] + recovered[:-1])).sum() / 2)
    cpt50, cpt80 = (100 * float(np.interp(level, recovered, share)) for level in (0.5, 0.8))
    return Pair(area, cpt50, cpt80)
