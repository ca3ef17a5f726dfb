"""An estimate with its interval: of plain means, and of means in which few rows carry heavy weights."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Clusters = NDArray[np.str_] | NDArray[np.intp]

ENDS = (0.01, 0.99)
"""Percentiles of the residuals that count as the ends of what may happen."""
IMAGINED = 1.0
"""Rows imagined at each end."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval, and what it rests on."""

    value: float
    se: float
    low: float
    high: float
    n: int
    """Rows used."""
    probed: int = 0
    """Rows known for every candidate."""
    effective: float = 0.0
    """Effective sample size of the logged rows: (sum of weights)^2 / sum of squared weights."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an estimator makes of logged rows: their mean contribution is its value, each array (n,)."""

    contributions: Floats
    weight: Floats
    """The importance weight with which a row's residual counts."""
    residual: Floats
    """The outcome less what was expected of it."""

    def __sub__(self, other: Self) -> "Terms":
        """Return the terms of a difference between two policies on the same rows."""
        return Terms(self.contributions - other.contributions, self.weight - other.weight, self.residual)


def mean(contributions: Floats, clusters: Clusters | None, level: float = 0.95) -> Estimate:
    """Return the mean of contributions with a t interval whose error is clustered, by session say.

    The cluster-robust error of a mean (Liang and Zeger 1986) is the root of the summed squares of the clusters'
    residual sums, with the factor G / (G - 1) for G clusters. Without clusters every row is its own.

    >>> mean(np.array([0.0, 1.0, 1.0, 0.0]), np.array(["a", "b", "c", "d"])).value
    0.5
    """
    n, value = len(contributions), float(contributions.mean())
    variance, groups = _variance(contributions, clusters)
    return _spanned(value, variance, groups, n, level)


def weighted(terms: Terms, clusters: Clusters | None, level: float = 0.95) -> Estimate:
    """Return the mean of an estimator's contributions with an interval that knows how few rows carry the weight.

    A sample shows a variance only as far as its rare outcomes are in it: of eight heavy rows that all answered well
    none shows what a failure would do, and a t interval covers far less often than it says. As Agresti and Coull (1998)
    do for a proportion, one row is imagined at each end of the residuals r (their 1st and 99th percentile over all
    rows), beside the h = (sum w^2)^2 / sum w^4 rows that carry the error. With s^2 = sum(w^2 r^2) / sum(w^2),
    sum(w^2) h (h s^2 + low^2 + high^2) / (h + 2)^2 stands for sum(w^2) s^2; with many heavy rows nothing changes.
    """
    n = len(terms.weight)
    value = float(terms.contributions.mean())
    variance, groups = _variance(terms.contributions, clusters)
    squares = terms.weight**2
    total = float(squares.sum())
    if total > 0 and groups > 1:
        seen = float((squares * terms.residual**2).sum())
        heavy = carriers(terms.weight, clusters)
        low, high = np.quantile(terms.residual, ENDS)
        ends = IMAGINED * float(low**2 + high**2)
        imagined = heavy * (heavy * seen + total * ends) / (heavy + 2 * IMAGINED) ** 2
        variance = max(variance - seen / n**2, 0.0) + imagined / n**2
    return _spanned(value, variance, groups, n, level)


def carriers(weight: Floats, clusters: Clusters | None = None) -> float:
    """Return how many rows (or clusters) carry a weighted mean's error: (sum w^2)^2 / sum w^4; zero without weights."""
    squares = summed(weight**2, clusters)
    fourth = float((squares**2).sum())
    return float(squares.sum()) ** 2 / fourth if fourth > 0 else 0.0


def _variance(contributions: Floats, clusters: Clusters | None) -> tuple[float, int]:
    """Return the variance of the mean, and the number of clusters."""
    n = len(contributions)
    sums = summed(contributions - contributions.mean(), clusters)
    groups = len(sums)
    return (float((sums**2).sum()) * groups / (groups - 1) / n**2 if groups > 1 else np.inf), groups


def summed(values: Floats, clusters: Clusters | None) -> Floats:
    """Return the sum over each cluster of values (n,); the values themselves where every row is its own cluster."""
    if clusters is None:
        return values
    return np.bincount(np.unique(clusters, return_inverse=True)[1], weights=values).astype(np.float64)


def _spanned(value: float, variance: float, groups: int, n: int, level: float) -> Estimate:
    if groups < 2:
        return Estimate(value, np.inf, -np.inf, np.inf, n)
    se = float(np.sqrt(variance))
    half = float(stdtrit(groups - 1, 0.5 + level / 2)) * se
    return Estimate(value, se, value - half, value + half, n)
