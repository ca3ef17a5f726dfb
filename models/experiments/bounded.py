"""Always-valid intervals of bounded outcomes that hold at every n, not in the limit: bets against a mean.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B 2024, arXiv 2010.09686):
the predictable plug-in empirical-Bernstein sequence (theorem 2) and the hedged capital process (theorem 3).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST_STAKE = 0.5
"""Of the most that could be staked without risking ruin; c in both theorems."""


def bernstein(values: Floats, alpha: float, low: float = 0.0, high: float = 1.0) -> tuple[Floats, Floats]:
    """Return the bounds after each observation, (..., n), of streams in [low, high]; both err with `alpha` together.

    Raises ValueError on a value outside the range.
    """
    x = _scaled(values, low, high)
    stake, guess = _stakes(x, alpha)
    stake = np.minimum(stake, LARGEST_STAKE)
    total = np.cumsum(stake, axis=-1)
    # psi_E(stake) v_i of the paper: its quarter and its factor 4 cancel.
    doubt = np.square(x - guess) * (-np.log1p(-stake) - stake)
    centre = np.cumsum(stake * x, axis=-1) / total
    half = (np.log(2 / alpha) + np.cumsum(doubt, axis=-1)) / total
    low_bound = np.maximum.accumulate(np.maximum(centre - half, 0.0), axis=-1)
    high_bound = np.minimum.accumulate(np.minimum(centre + half, 1.0), axis=-1)
    return low + (high - low) * low_bound, low + (high - low) * high_bound


def betting(
    values: Floats, alpha: float, low: float = 0.0, high: float = 1.0, grid: int = 200
) -> tuple[Floats, Floats]:
    """Return the bounds after each observation, (..., n), from bets against each of `grid` means between the ends.

    A mean is left out for good once a bettor against it, one on its being too low and one on its being too high, has
    made 2 / alpha of a stake. Each bound is the outermost mean on its side that is left out, so that the step of the
    grid errs on the wide side. Raises ValueError on a value outside the range.
    """
    x = _scaled(values, low, high)
    stake, _ = _stakes(x, alpha)
    under = _beaten(x, stake, np.log(2 / alpha), grid)
    over = 1 - _beaten(1 - x, stake, np.log(2 / alpha), grid)
    return low + (high - low) * under, low + (high - low) * over


def _beaten(x: Floats, stake: Floats, threshold: float, grid: int) -> Floats:
    """Return the highest mean up to which all are proven too low, after each observation; zero where none is."""
    bound = np.zeros(x.shape)
    beaten = np.ones(x.shape, dtype=bool)
    for mean in (np.arange(grid) / grid).tolist():
        fortune = np.cumsum(np.log1p(np.minimum(stake, LARGEST_STAKE / max(mean, 1e-12)) * (x - mean)), axis=-1)
        beaten &= np.maximum.accumulate(fortune, axis=-1) >= threshold
        if not beaten.any():
            break
        bound[beaten] = mean
    return bound


def _stakes(x: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Return the predictable stakes and means, each from what came before the observation only (equations 15, 26)."""
    t = np.arange(1, x.shape[-1] + 1)
    mean = (0.5 + np.cumsum(x, axis=-1)) / (t + 1)
    variance = (0.25 + np.cumsum(np.square(x - mean), axis=-1)) / (t + 1)
    before = np.concatenate([np.full((*x.shape[:-1], 1), 0.25), variance[..., :-1]], axis=-1)
    guess = np.concatenate([np.full((*x.shape[:-1], 1), 0.5), mean[..., :-1]], axis=-1)
    return np.sqrt(2 * np.log(2 / alpha) / (before * t * np.log1p(t))), guess


def _scaled(values: Floats, low: float, high: float) -> Floats:
    if not 0 < high - low < np.inf:
        raise ValueError(f"bounded outcomes: the range [{low}, {high}] must be finite and not empty")
    if values.size and not (np.nanmin(values) >= low and np.nanmax(values) <= high and np.isfinite(values).all()):
        raise ValueError(
            f"bounded outcomes: values lie in [{np.nanmin(values)}, {np.nanmax(values)}], beyond [{low}, {high}] or "
            "unknown: give the range that no outcome can leave, and leave out what is unknown"
        )
    return np.asarray((values - low) / (high - low), dtype=np.float64)
