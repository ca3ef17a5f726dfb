"""Is a target met? Intervals of shares and quantiles of requests that come in sessions, and the verdict by them."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import binom

from models import exact
from models.intervals import Clusters, mean

Floats = NDArray[np.float64]
Verdict = Literal["met", "missed", "within noise of the target", "not known yet", "no target"]

LEVEL = 0.95
IMAGINED = 0.25
"""How much each of two imagined sessions counts, beside those seen, for how alike the requests of a session are."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its interval, of `n` requests (or minutes)."""

    value: float
    low: float
    high: float
    n: int


def share(values: Floats, clusters: Clusters, level: float = LEVEL) -> Measured:
    """Return the mean of values in [0, 1], (n,), with the exact interval of as many independent ones as they are worth.

    Korn and Graubard (1998): Clopper and Pearson's bounds of a proportion at the effective sample size of the clusters.
    Raises ValueError for no values.
    """
    if not len(values):
        raise ValueError("a share of nothing: no values")
    n, value, tail = effective(values, clusters, level), float(values.mean()), (1 - level) / 2
    if n < 1:
        return Measured(value, 0.0, 1.0, len(values))
    return Measured(value, exact.lower(value * n, n, tail), exact.upper(value * n, n, tail), len(values))


def quantile(values: Floats, clusters: Clusters, q: float, level: float = LEVEL) -> Measured:
    """Return a quantile of values (n,) with the interval of its order statistics (Woodruff 1952).

    The number of values under the true quantile is binomial, of as many values as the clusters are worth. A bound is
    infinite where even the outermost value is no bound. Raises ValueError for no values.
    """
    if not len(values):
        raise ValueError("a quantile of nothing: no values")
    ranked, n, tail = np.sort(values), len(values), (1 - level) / 2
    value = float(np.quantile(values, q))
    worth = int(effective((values > value).astype(np.float64), clusters, level))
    low, high = binom.ppf(tail, worth, q) * n / max(worth, 1), (binom.isf(tail, worth, q) + 1) * n / max(worth, 1)
    under, over = math.floor(low), math.ceil(high)
    known_low = worth >= 1 and under >= 1
    known_high = worth >= 1 and over <= n
    return Measured(
        value, float(ranked[under - 1]) if known_low else -np.inf, float(ranked[over - 1]) if known_high else np.inf, n
    )


def effective(values: Floats, clusters: Clusters, level: float = LEVEL) -> float:
    """Return how many independent values in [0, 1] would say as much as values (n,) that come in clusters.

    Fewer clusters know their own spread less well, so that the number shrinks by the ratio of the two t quantiles.
    Where hits are rare, few sessions show how alike their requests are, so that two more are imagined beside those
    seen, one of hits and one of misses, as Agresti and Coull (1998) do for a proportion; among many it is no matter.
    Values that never differ show nothing of how alike a cluster is: each cluster counts for one. A single cluster says
    nothing: 0.
    """
    n, groups, value = len(values), len(np.unique(clusters)), float(values.mean())
    if groups < 2:
        return 0.0
    spread = value * (1 - value)
    if not spread > 0:
        return float(groups)
    imagined = IMAGINED * (n / groups) ** 2 * (value**2 + (1 - value) ** 2) if groups < n else 0.0
    variance = mean(values, clusters).se ** 2 + imagined / n**2
    worth = spread / variance if variance > 0 else float(n)
    few = stdtrit(n - 1, 0.5 + level / 2) / stdtrit(groups - 1, 0.5 + level / 2)
    return float(min(worth * few**2, n))


def verdict(measured: Measured | None, target: float | None, *, at_least: bool) -> Verdict:
    """Return whether a target is met: only where the whole interval lies on one side of it is anything said.

    >>> verdict(Measured(0.5, 0.4, 0.6, 100), 0.35, at_least=True)
    'met'
    >>> verdict(Measured(0.5, 0.4, 0.6, 100), 0.35, at_least=False)
    'missed'
    """
    if measured is None:
        return "not known yet"
    if target is None:
        return "no target"
    met = measured.low >= target if at_least else measured.high <= target
    missed = measured.high < target if at_least else measured.low > target
    if met or missed:
        return "met" if met else "missed"
    return "within noise of the target"


def more(measured: Measured, target: float) -> int | None:
    """Return about how many more requests would tell on which side of the target a figure lies; None where none would.

    The interval's half towards the target shrinks with the root of n.

    >>> more(Measured(0.5, 0.4, 0.6, 100), 0.55)
    300
    """
    far = abs(measured.value - target)
    half = measured.value - measured.low if target < measured.value else measured.high - measured.value
    if not far > 0 or not half < np.inf:
        return None
    return max(math.ceil(round(measured.n * ((half / far) ** 2 - 1), 6)), 1)
