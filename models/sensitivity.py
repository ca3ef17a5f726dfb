"""What a value could be if propensities were wrong: bounds under hidden reasons for choosing, of a stated strength."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import Clusters, Terms, weighted

Floats = NDArray[np.float64]

STRENGTHS = (1.0, 1.25, 1.5, 2.0, 3.0)
MOST = 10.0
"""The largest factor that is asked about."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Where a value may lie when each propensity's odds are wrong by at most a factor."""

    factor: float
    lowest: float
    highest: float
    """The bounds themselves, without sampling error."""
    low: float
    high: float
    """With it: both ends at the stated level."""


def sensitivity(
    terms: Terms,
    propensity: Floats,
    factor: float,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> Sensitivity:
    """Return the bounds of a doubly robust value under the marginal sensitivity model (Tan 2006) at one factor.

    The true odds of each logged choice lie within `factor` and 1 / `factor` of the stated ones, whatever hidden reason
    moved them, so that its inverse propensity lies between 1 + (1/p - 1) / factor and 1 + (1/p - 1) factor; and true
    weights have the sum of the stated ones, which are right on average over what is hidden. The weights allowed which
    make the value largest give the upper bound (Zhao, Small and Bhattacharya 2019, section 4; Dorn and Guo 2023): a
    linear programme that sorting solves, the rows of largest residual at their upper end until the sum is spent.
    Sampling error is that of the bound with its weights held, which is right to first order since they are its optimum.
    `terms` are those of `models.estimators.dr`, of a policy or of a difference of two; `propensity` (n,) is as stated.
    Raises ValueError where the factor is under one.
    """
    if not factor >= 1:
        raise ValueError(f"sensitivity: a factor of {factor!r} on the odds of a propensity must be one or more")
    base = terms.contributions - terms.weight * terms.residual
    ends = np.stack([terms.weight * (propensity + (1 - propensity) * f) for f in (1 / factor, factor)])
    least, most = ends.min(axis=0), ends.max(axis=0)
    highest, high = _highest(base, terms.residual, least, most, terms.weight, clusters, level)
    lowest, low = _highest(-base, -terms.residual, least, most, terms.weight, clusters, level)
    return Sensitivity(factor, -lowest, highest, -low, high)


def withstands(terms: Terms, propensity: Floats, clusters: Clusters | None = None, level: float = 0.95) -> float:
    """Return the largest factor, up to `MOST`, at which the interval still lies on one side of zero; 1 where none does.

    What hidden reasons must do to the odds of the log's choices before a proven difference is none.
    """

    def proven(factor: float) -> bool:
        found = sensitivity(terms, propensity, factor, clusters, level)
        return found.low > 0 or found.high < 0

    if not proven(1.0):
        return 1.0
    if proven(MOST):
        return MOST
    low, high = 1.0, MOST
    while high - low > 0.005:
        middle = (low + high) / 2
        low, high = (middle, high) if proven(middle) else (low, middle)
    return low


def _highest(
    base: Floats, residual: Floats, least: Floats, most: Floats, stated: Floats, clusters: Clusters | None, level: float
) -> tuple[float, float]:
    """Return the upper bound and its upper limit; weights lie between `least` and `most` and sum as `stated`, (n,)."""
    room = most - least
    spend = float(np.clip((stated - least).sum(), 0.0, room.sum()))
    order = np.argsort(-residual, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(room[order])[:-1]])
    weight = least.copy()
    weight[order] += np.clip(spend - before, 0.0, room[order])
    # The row at which the sum is spent is the price of a weight: a row counts by its residual beyond that.
    spent = max(int(np.searchsorted(before, spend)) - 1, 0)
    price = float(residual[order[spent]]) if room.any() else 0.0
    terms = Terms(base + weight * (residual - price) + stated * price, weight, residual - price)
    found = weighted(terms, clusters, level)
    return found.value, found.high
