"""From which importance weight on a regression is believed instead: what a threshold gives up, and the one to take."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

THRESHOLDS = 20
"""Quantiles of the weights among which one is chosen."""


@dataclass(frozen=True, slots=True)
class Masses:
    """How much of a policy lies where its importance ratio is high: what a threshold on weights gives up."""

    ratio: Floats
    """Policy over logging policy, ascending, of every request and candidate that the policy may take."""
    left: Floats
    """The policy's probability at each ratio and above, a request; one longer, ending in zero."""
    inverse: Floats
    """The same of probability over ratio."""

    @classmethod
    def of(cls, policy: Floats, probabilities: Floats) -> "Masses":
        """Return the masses of a policy (n, m) against the whole logging policy (n, m)."""
        at = policy > 0
        with np.errstate(divide="ignore"):
            ratio = policy[at] / probabilities[at]
        order = np.argsort(ratio)
        part = policy[at][order] / len(policy)
        tails = [np.append(values[::-1].cumsum()[::-1], 0.0) for values in (part, part / ratio[order])]
        return cls(ratio[order], *tails)

    def above(self, threshold: Floats) -> Floats:
        """Return the probability of a ratio above each threshold."""
        return np.asarray(self.left[np.searchsorted(self.ratio, threshold, side="right")])

    def clipped(self, clip: Floats) -> Floats:
        """Return the share of weight that clipping loses."""
        at = np.searchsorted(self.ratio, clip, side="right")
        return np.asarray(self.left[at] - np.where(self.inverse[at] > 0, clip, 0.0) * self.inverse[at])


def tried(weight: Floats) -> Floats:
    """Return the thresholds to choose among."""
    return np.append(np.unique(np.quantile(weight, np.linspace(0.05, 1.0, THRESHOLDS), method="higher")), np.inf)


def least(tried: Floats, contributions: Floats, residual: Floats, lost: Floats) -> float:
    """Return the threshold with the least bound of the mean squared error; `contributions` are (thresholds, n)."""
    variance = contributions.var(axis=1) / len(residual)
    bias = np.abs(residual).max() * np.append(lost[:-1], 0.0)  # infinity loses nothing
    return float(tried[np.argmin(variance + bias**2)])
