"""How much evidence until it is known what a challenger is worth, by probes, by logs or by an experiment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from models.experiments.sequences import GUESS, WEIGHT, saved

Floats = NDArray[np.float64]

POWER = 0.8
"""The chance of proof at which evidence is called enough."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to evidence: what an observation varies by and costs."""

    name: str
    """probes, logs or A/B, say."""
    deviation: float
    """Of one observation of the difference; a two-armed unit's from `two_arms`."""
    usd_each: float = 0.0
    """What one more observation costs beyond serving the champion."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What it takes to settle a difference in one way."""

    way: str
    difference: float
    observations: int
    usd: float


def two_arms(deviation: float, share: float = 0.5) -> float:
    """Return the deviation of a unit's contribution to a difference of arms, a `share` of the units in one.

    >>> two_arms(0.5)
    1.0
    """
    if not 0 < share < 1:
        raise ValueError(f"two_arms: share = {share!r} must lie between 0 and 1")
    return deviation / math.sqrt(share * (1 - share))


def needed(difference: float, way: Way, alpha: float = 0.05, power: float = POWER, *, watched: bool = True) -> Needed:
    """Return how many observations prove a true `difference` above zero with the given power, and what they cost.

    `watched` plans for a test that is looked at all along (`sequences.saved`), else for one look; `alpha` is one-sided.
    Raises ValueError on a difference of zero: nothing would do.
    """
    if not difference or not way.deviation > 0:
        raise ValueError(f"needed: a difference of {difference!r} with a deviation of {way.deviation!r} has no size")
    observations = math.ceil((_errors(alpha, power, watched) * way.deviation / difference) ** 2)
    return Needed(way.name, difference, observations, observations * way.usd_each)


def detectable(observations: int, deviation: float, alpha: float = 0.05, power: float = POWER, *,
               watched: bool = True) -> float:  # fmt: skip
    """Return the smallest difference that so many observations prove with the given power (the MDE)."""
    return _errors(alpha, power, watched) * deviation / math.sqrt(observations)


def plan(
    difference: float, ways: Mapping[str, Way], alpha: float = 0.05, power: float = POWER, *, watched: bool = True
) -> tuple[Needed, ...]:
    """Return what settles a difference in each way, the cheapest in money first, then the shortest."""
    found = [needed(difference, way, alpha, power, watched=watched) for way in ways.values()]
    return tuple(sorted(found, key=lambda one: (one.usd, one.observations)))


def _errors(alpha: float, power: float, watched: bool) -> float:
    """Return how many standard errors a difference must be worth at the end of its plan."""
    at_end = float(saved(1.0, 1.0, alpha)) if watched else float(norm.isf(alpha))
    return at_end + float(norm.ppf(power))


@dataclass(frozen=True, slots=True)
class Standing:
    """What paired probes say of one candidate less the incumbent, and what is missing."""

    probes: int
    mean: float
    """Of the differences in utility; NaN where there is none yet."""
    low: float
    high: float
    decided: bool
    """Whether the interval lies on one side of zero."""
    for_width: int
    """More probes until the interval is no wider than plus or minus the asked width."""
    for_decision: int | None
    """More probes until four in five such cases are decided, should the mean stay; None where it is zero."""

    @property
    def more(self) -> int:
        """The smaller of both; zero where it is decided."""
        if self.decided:
            return 0
        return self.for_width if self.for_decision is None else min(self.for_width, self.for_decision)


def standing(difference: Floats, width: float = 0.05, level: float = 0.95) -> Standing:
    """Return what differences (n,) of utility, candidate less incumbent on the same requests, leave to be learned.

    NaN is left out. The deviation is shrunk to a stated guess, so that three equal differences are no certainty. The
    interval is for one look. Raises ValueError unless `width` is above zero and `level` in (0, 1).
    """
    if not width > 0 or not 0 < level < 1:
        raise ValueError(f"standing: width = {width!r} must be above zero, and level = {level!r} in (0, 1)")
    known = difference[np.isfinite(difference)]
    n = len(known)
    squares = float(((known - known.mean()) ** 2).sum()) if n else 0.0
    freedom = WEIGHT + max(n - 1, 0)
    deviation = math.sqrt((squares + WEIGHT * GUESS**2) / freedom)
    quantile = float(t.ppf(0.5 + level / 2, freedom))
    for_width = max(math.ceil((quantile * deviation / width) ** 2) - n, 0)
    if not n:
        return Standing(0, math.nan, -math.inf, math.inf, False, for_width, None)
    mean, half = float(known.mean()), quantile * deviation / math.sqrt(n)
    errors = quantile + float(norm.ppf(POWER))
    for_decision = None if mean == 0 else max(math.ceil((errors * deviation / mean) ** 2) - n, 0)
    return Standing(n, mean, mean - half, mean + half, abs(mean) > half, for_width, for_decision)
