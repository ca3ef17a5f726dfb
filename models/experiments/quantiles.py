"""Intervals of a quantile, such as p95 latency, from order statistics: for one look, or for every look."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from models.experiments.mismatch import log_e

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

CONCENTRATION = 200.0
"""Of the prior of how many values lie under the quantile."""
HALVINGS = 30


def once(values: Floats, q: float, alpha: float) -> tuple[float, float, float]:
    """Return the quantile and its distribution-free bounds at a single look; together they err with `alpha`.

    The number of n values under the true quantile is binomial (David and Nagaraja 2003, section 7.1). A bound is
    infinite where even the outermost value is no bound.
    """
    _checked(q, alpha)
    n = len(values)
    if not n:
        return np.nan, -np.inf, np.inf
    ranked = np.concatenate([[-np.inf], np.sort(values), [np.inf]])
    low = int(binom.ppf(alpha / 2, n, q))
    high = int(binom.isf(alpha / 2, n, q)) + 1
    return _middle(values, q), float(ranked[max(low, 0)]), float(ranked[min(high, n + 1)])


def always(
    values: Floats,
    q: float,
    alphas: Sequence[float],
    looks: Indices,
    spread: float = 1.0,
    weights: Floats | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Return the quantile (looks,) and its always-valid bounds, each (alphas, looks), after so many values.

    A count of values under the true quantile is possible while its beta-binomial e-value against `q` is under 1 / alpha
    (the idea of Howard and Ramdas 2022, "Sequential estimation of quantiles", with Robbins' mixture). `spread` is by
    how much the count varies more than independent values would let it: the design effect of clusters. `weights` (n,)
    of the values count as Kish's effective number does (1965): (sum of weights)^2 / sum of their squares.
    """
    for alpha in alphas:
        _checked(q, alpha)
    if weights is not None and np.ptp(weights[: looks.max(initial=0)]) > 0:
        return _weighted(values, q, alphas, looks, spread, weights)
    shares = [_ranks(looks / spread, q, alpha) for alpha in alphas]
    middle = np.full(len(looks), np.nan)
    low, high = np.full((len(alphas), len(looks)), -np.inf), np.full((len(alphas), len(looks)), np.inf)
    for at, n in enumerate(looks.tolist()):
        if not n:
            continue
        unders = [int(np.floor(under[at] * n)) for under, _ in shares]
        overs = [int(np.floor(over[at] * n)) + 1 for _, over in shares]
        centre = min(int(np.ceil(q * n)), n)
        ranked = np.partition(values[:n], [rank - 1 for rank in {*unders, *overs, centre} if 1 <= rank <= n])
        middle[at] = ranked[centre - 1]
        low[:, at] = [ranked[rank - 1] if rank >= 1 else -np.inf for rank in unders]
        high[:, at] = [ranked[rank - 1] if rank <= n else np.inf for rank in overs]
    return middle, low, high


def _weighted(
    values: Floats, q: float, alphas: Sequence[float], looks: Indices, spread: float, weights: Floats
) -> tuple[Floats, Floats, Floats]:
    total, squares = (np.concatenate([[0.0], np.cumsum(each)])[looks] for each in (weights, weights**2))
    with np.errstate(invalid="ignore"):
        effective = np.nan_to_num(total**2 / squares)
    shares = [_ranks(effective / spread, q, alpha) for alpha in alphas]
    middle = np.full(len(looks), np.nan)
    low, high = np.full((len(alphas), len(looks)), -np.inf), np.full((len(alphas), len(looks)), np.inf)
    order = np.argsort(values[: looks.max(initial=0)], kind="stable")
    for at, n in enumerate(looks.tolist()):
        if not n:
            continue
        ranked = order[order < n]
        under = np.cumsum(weights[ranked]) / total[at]
        outer = np.concatenate([[-np.inf], values[ranked], [np.inf]])
        middle[at] = values[ranked[min(int(np.searchsorted(under, q)), n - 1)]]
        low[:, at] = outer[[np.searchsorted(under, lowest[at], side="right") for lowest, _ in shares]]
        high[:, at] = outer[[np.searchsorted(under, highest[at], side="right") + 1 for _, highest in shares]]
    return middle, low, high


def _ranks(n: Floats, q: float, alpha: float) -> tuple[Floats, Floats]:
    """Return the outermost possible shares of values under the quantile, (looks,) each, by halving."""
    n = np.maximum(n, 1e-9)
    found = []
    for end in (0.0, 1.0):
        inside, outside = np.full(n.shape, q), np.full(n.shape, end)
        for _ in range(HALVINGS):
            tried = (inside + outside) / 2
            counts = np.stack([tried * n, (1 - tried) * n], axis=-1)
            possible = log_e(counts, [q, 1 - q], CONCENTRATION) < np.log(1 / alpha)
            inside, outside = np.where(possible, tried, inside), np.where(possible, outside, tried)
        found.append(outside)
    return found[0], found[1]


def _middle(values: Floats, q: float) -> float:
    rank = max(int(np.ceil(q * len(values))), 1)
    return float(np.partition(values, rank - 1)[rank - 1])


def _checked(q: float, alpha: float) -> None:
    if not 0 < q < 1 or not 0 < alpha < 1:
        raise ValueError(f"quantile: q = {q!r} and alpha = {alpha!r} must lie between 0 and 1")
