"""What a router saves: paired ratios with their errors, and the cost-quality frontier seen with hindsight."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.operating import prices
from models.values import Gain, best, earned

Floats = NDArray[np.float64]


def paired_ratio(numerator: Floats, denominator: Floats) -> Gain:
    """Return the ratio of two paired means, its standard error by the delta method."""
    base = float(denominator.mean())
    if base == 0:
        return Gain(math.nan, math.nan, len(numerator))
    ratio = float(numerator.mean()) / base
    spread = Gain.of((numerator - ratio * denominator) / base)
    return Gain(ratio, spread.se, len(numerator))


@dataclass(frozen=True, slots=True)
class Frontier:
    """Policies over all prices of money, and single candidates, as shares of the best single's quality and cost."""

    routed: Floats
    """(policies, 2): quality, cost"""
    single: Floats
    """(m, 2)"""

    @classmethod
    def of(cls, quality: Floats, cost: Floats, expected: Floats, expected_cost: Floats, incumbent: int) -> "Frontier":
        """Return the frontier on prompts whose outcomes are all known, every matrix (n, m)."""
        scale = np.array([quality[:, incumbent].mean(), cost[:, incumbent].mean()])
        single = np.stack([quality.mean(axis=0), cost.mean(axis=0)], axis=1) / scale
        points = []
        for per_dollar in prices(expected, expected_cost):
            choice = best(expected - per_dollar * expected_cost if per_dollar else expected)
            points.append((earned(quality, choice).mean(), earned(cost, choice).mean()))
        return cls(np.array(points) / scale, single)

    def hindsight(self, ratio: float) -> float:
        """Return the most that could have been saved at this quality with the price picked on these very prompts.

        Policies may be mixed: the convex hull counts. An upper bound, never a promise.
        """
        return _saving(np.concatenate([self.routed, self.single]), ratio)

    def zero_router(self, ratio: float) -> float:
        """Return what mixing single candidates at random saves: routing without looking at the request."""
        return _saving(self.single, ratio)


def _saving(points: Floats, ratio: float) -> float:
    """Return one minus the least cost of a mixture of two points whose quality reaches the ratio; zero at the worst."""
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        return math.nan
    over, under = known[known[:, 0] >= ratio], known[known[:, 0] < ratio]
    least = min([1.0, *over[:, 1]])
    for quality, cost in over:
        share = (quality - ratio) / (quality - under[:, 0])
        least = min([least, *(share * under[:, 1] + (1 - share) * cost)])
    return 1.0 - float(least)
