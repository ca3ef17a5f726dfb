"""What a value could be if propensities were wrong: bounds under hidden reasons for choosing, of a stated strength."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.intervals import Clusters, Terms, summed

Floats = NDArray[np.float64]

STRENGTHS = (1.0, 1.25, 1.5, 2.0, 3.0)


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
    policy_served: Floats,
    propensity: Floats,
    factor: float,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> Sensitivity:
    """Return the bounds of a doubly robust value under the marginal sensitivity model (Tan 2006) at one factor.

    The true odds of each logged choice lie within `factor` and 1 / `factor` of the stated ones, whatever hidden reason
    moved them, so that its inverse propensity lies between 1 + (1/p - 1) / factor and 1 + (1/p - 1) factor. The value
    is the regression's mean plus the weighted mean residual, and the weights in that range which make it largest give
    the upper bound: all residuals above some threshold at the upper end, all others at the lower (Zhao, Small and
    Bhattacharya 2019, section 4; Kallus and Zhou 2018), found by sorting. Sampling error is that of the bound with its
    weights held, which is right to first order since they are its optimum. `terms` are those of `models.estimators.dr`;
    `policy_served` (n,) is the policy's probability of what was served, `propensity` (n,) as stated. Raises ValueError
    where the factor is under one.
    """
    if not factor >= 1:
        raise ValueError(f"sensitivity: a factor of {factor!r} on the odds of a propensity must be one or more")
    base = terms.contributions - terms.weight * terms.residual
    ends = [
        sign * _highest(sign * base, sign * terms.residual, policy_served, propensity, factor, clusters, level)
        for sign in (-1.0, 1.0)
    ]
    (lowest, low), (highest, high) = ends
    return Sensitivity(factor, float(lowest), float(highest), float(low), float(high))


def _highest(
    base: Floats,
    residual: Floats,
    policy: Floats,
    propensity: Floats,
    factor: float,
    clusters: Clusters | None,
    level: float,
) -> Floats:
    """Return the upper bound, and its upper confidence limit."""
    odds = 1 / propensity - 1
    least, most = policy * (1 + odds / factor), policy * (1 + odds * factor)
    order = np.argsort(-residual, kind="stable")
    # After the first k of the sorted rows at the upper end and the others at the lower: the ratio for every k at once.
    gain = (most - least)[order]
    over = (least * residual).sum() + np.concatenate([[0.0], np.cumsum(gain * residual[order])])
    under = least.sum() + np.concatenate([[0.0], np.cumsum(gain)])
    ratios = np.where(under > 0, over / np.where(under > 0, under, 1.0), 0.0)
    k = int(np.argmax(ratios))
    weight = least.copy()
    weight[order[:k]] = most[order[:k]]
    value = float(base.mean() + ratios[k])
    scaled = weight / max(weight.mean(), 1e-300) * (residual - ratios[k]) + base - base.mean()
    sums = summed(scaled, clusters)
    se = float(np.sqrt((sums**2).sum())) / len(residual)
    return np.array([value, value + float(stats.norm.ppf(0.5 + level / 2)) * se])
