"""Always-valid intervals of means: what may be looked at every day, and acted on at any of these looks.

The asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, arXiv 2103.06476v7): a mean
known with standard error s from n observations lies within s x `critical(n)` at all n at once, with probability
1 - alpha in the limit. It is what a t interval is to a mean that is looked at once. `planned` says at which n it is
meant to be narrowest; it is valid at every other n too.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
Sides = Literal[1, 2]

SAVED = 0.8
"""The share of alpha that `saved` spends on the time up to the plan's end."""
EARLY = 0.25
"""The part of the plan after which the sequence of the other share is narrowest."""
GUESS, WEIGHT = 0.6, 5.0
"""The standard deviation that a difference of qualities is taken for, and for how many observations that word counts:
right or wrong answers that agree two times in three differ by about that much."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A mean and its always-valid interval at each look; all arrays of one shape, looks on the last axis."""

    n: Floats
    """Independent observations at the look."""
    value: Floats
    se: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, n: ArrayLike, value: Floats, se: Floats, planned: float, alpha: float) -> Self:
        """Return the interval at every look by `saved`: each of its bounds, ever, errs with `alpha`."""
        n = np.broadcast_to(np.asarray(n, dtype=np.float64), value.shape)
        half = np.full(value.shape, np.inf)
        known = np.isfinite(se) & (n > 0)
        half[known] = saved(n[known], planned, alpha) * se[known]
        return cls(n, value, se, value - half, value + half)


def critical(n: ArrayLike, planned: float, alpha: float, sides: Sides = 2) -> Floats:
    """Return by how many standard errors the true mean may lie off at `n` observations, elementwise.

    Two-sided by equation 9 of the paper with rho of its equation 161; one-sided by the half-normal mixture (Howard,
    Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", equation
    14), where `alpha` is the chance that this one bound ever errs. Infinite at n = 0.

    >>> critical([100, 5000, 50000], planned=5000, alpha=0.05).round(2).tolist()
    [6.69, 3.04, 3.24]
    """
    _checked(planned, alpha)
    n = np.asarray(n, dtype=np.float64)
    v = n * _rho_squared(planned, alpha * (2 if sides == 1 else 1))
    crossed = np.log(np.sqrt(v + 1) / alpha) if sides == 2 else np.log1p(np.sqrt(v + 1) / (2 * alpha))
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(2 * (v + 1) / v * crossed))


def saved(n: ArrayLike, planned: float, alpha: float) -> Floats:
    """Return the one-sided `critical` of a test that has a plan: most of `alpha` is saved for its end, elementwise.

    A Brownian motion passes c at any time up to 1 with probability 2 (1 - Phi(c)) (the reflection principle), so that
    a sum of n <= `planned` observations of deviation s stays under c s sqrt(planned), whenever it is looked at: the
    boundary of O'Brien and Fleming (1979) for looks without number. `SAVED` of `alpha` is spent on it. The rest is
    spent on a confidence sequence that is narrowest at a quarter of the plan, so that a large difference need not wait
    and nothing becomes invalid when the plan is overrun. Both hold at once; the smaller serves.

    >>> saved([300, 1000, 3000, 9000], planned=3000, alpha=0.05).round(2).tolist()
    [3.44, 3.36, 2.05, 3.57]
    """
    n = np.asarray(n, dtype=np.float64)
    always = critical(n, planned * EARLY, alpha * (1 - SAVED), 1)
    with np.errstate(divide="ignore"):
        until = norm.isf(alpha * SAVED / 2) * np.sqrt(planned / n)
    return np.asarray(np.where(n <= planned, np.minimum(always, until), always))


def p_value(z: ArrayLike, n: ArrayLike, planned: float, alpha: float) -> Floats:
    """Return the always-valid two-sided p-value of an estimate `z` standard errors off (equation 155), elementwise.

    It falls to `alpha` exactly where the two-sided interval leaves the hypothesis.
    """
    _checked(planned, alpha)
    v = np.asarray(n, dtype=np.float64) * _rho_squared(planned, alpha)
    log_e = np.square(z) * v / (2 * (v + 1)) - np.log(v + 1) / 2
    return np.asarray(np.exp(-np.maximum(log_e, 0.0)))


def running(values: Floats, looks: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return mean and standard error at each look, (..., looks), of streams `values` (..., n).

    A look is a number of observations. The error of fewer than two observations is infinite.
    """
    total = np.cumsum(values, axis=-1)[..., looks - 1]
    squares = np.cumsum(np.square(values), axis=-1)[..., looks - 1]
    mean = total / looks
    spread = np.maximum(squares - total * mean, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, np.where(looks > 1, np.sqrt(spread / (looks - 1) / looks), np.inf)


def cautious(se: Floats, n: ArrayLike, guess: float = GUESS, weight: float = WEIGHT) -> Floats:
    """Return standard errors of `n` observations whose deviation is shrunk to a stated guess, elementwise.

    Early on a stream whose observations happen to agree would be certain of itself; later the guess is forgotten.
    """
    n = np.asarray(n, dtype=np.float64)
    squares = np.square(np.where(n > 1, se, 0.0)) * n * np.maximum(n - 1, 0)
    return np.asarray(np.sqrt((squares + weight * guess**2) / (np.maximum(n - 1, 0) + weight) / np.maximum(n, 1)))


def _rho_squared(planned: float, alpha: float) -> float:
    return float((-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / planned)


def _checked(planned: float, alpha: float) -> None:
    if not planned > 0 or not 0 < alpha < 0.5:
        raise ValueError(f"planned = {planned!r} must be above zero, and alpha = {alpha!r} between 0 and 0.5")
