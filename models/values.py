"""What a policy would earn, judged on requests whose every candidate was observed: gains paired with one candidate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.objective import Objective

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]

NEVER = 1e9
"""A margin over the incumbent that no utility reaches."""
MARGINS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2)


@dataclass(frozen=True, slots=True)
class Gain:
    """The mean of paired differences, with its standard error over independent requests."""

    mean: float
    se: float
    n: int

    @classmethod
    def of(cls, difference: Floats) -> "Gain":
        """Return the gain of differences (n,).

        >>> Gain.of(np.array([0.0, 1.0, 0.0, 1.0])).mean
        0.5
        """
        n = len(difference)
        if n < 2:
            return cls(float(difference.mean()) if n else math.nan, math.nan, n)
        return cls(float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(n)), n)

    def lower(self, errors: float) -> float:
        """Return the mean less so many standard errors."""
        return self.mean - errors * self.se


def prefer(objective: Objective, quality: Floats, cost: Floats, latency: Floats) -> Floats:
    """Return utilities (n, m) with the objective's quality floor as a drop that outweighs every difference above it.

    Where a candidate reaches the floor, those that do not lose to it; where none does, the floor says nothing.
    """
    utility = objective.utility(quality, cost, latency)
    if objective.quality_floor is None:
        return utility
    under = quality < objective.quality_floor
    return np.where(under & ~under.all(axis=1, keepdims=True), utility - NEVER, utility)


def best(utility: Floats) -> Choice:
    """Return each row's candidate of highest utility; an unknown utility loses to every number."""
    return np.asarray(np.argmax(np.where(np.isnan(utility), -np.inf, utility), axis=1), dtype=np.intp)


def decide(utility: Floats, incumbent: int, margin: float) -> Choice:
    """Return each row's candidate, leaving the incumbent only for more than `margin`."""
    choice = best(utility)
    lead = utility[np.arange(len(utility)), choice] - utility[:, incumbent]
    return np.where(lead <= margin, incumbent, choice)


def earned(outcome: Floats, choice: Choice) -> Floats:
    """Return what the chosen candidates earned, (n,), of outcomes (n, m)."""
    return np.asarray(outcome[np.arange(len(choice)), choice])


def best_margin(
    expected: Floats, realised: Floats, incumbent: int, caution: float, margins: Sequence[float] = MARGINS
) -> tuple[float, Gain]:
    """Return the margin whose gain over the incumbent has the highest lower bound, and that gain.

    `expected` are out-of-fold utilities and `realised` the utilities that came true, both (n, m). The bound lies
    `caution` standard errors under the mean. Staying with the incumbent always earns a gain of exactly zero, and is
    the answer, with the margin `NEVER`, where no bound is above it.
    """
    choice = best(expected)
    rows = np.arange(len(choice))
    lead = expected[rows, choice] - expected[:, incumbent]
    difference = realised[rows, choice] - realised[:, incumbent]
    chosen, gain = NEVER, Gain(0.0, 0.0, len(rows))
    if len(rows) < 2:
        return chosen, gain
    for margin in margins:
        tried = Gain.of(np.where(lead > margin, difference, 0.0))
        if tried.lower(caution) > gain.lower(caution):
            chosen, gain = margin, tried
    return chosen, gain


def crossed(expected: Floats, realised: Floats, incumbent: int, caution: float, fold: NDArray[np.int64]) -> Floats:
    """Return what the policy earns on each row, (n,), with each fold's margin chosen on the other folds.

    So what picking a margin won is left out. Shapes as in `best_margin`; `fold` is (n,).
    """
    choice = np.full(len(expected), incumbent, dtype=np.intp)
    for one in np.unique(fold):
        inside = fold == one
        margin, _ = best_margin(expected[~inside], realised[~inside], incumbent, caution)
        choice[inside] = decide(expected[inside], incumbent, margin)
    return earned(realised, choice)
