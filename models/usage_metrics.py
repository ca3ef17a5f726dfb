"""How good predicted lengths, latencies and costs are: against each model's own quantiles, and its own mean."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.scoring import QUANTILES

Floats = NDArray[np.float64]

_LEVELS = np.array(QUANTILES)[:, None, None]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two totals over requests, with its standard error."""

    value: float
    se: float

    @classmethod
    def of(cls, over: Floats, under: Floats) -> "Ratio":
        """Return total `over` by total `under`, both (n,): paired, by the delta method (Cochran 1977, 6.4)."""
        total = float(under.sum())
        if not total > 0:
            return cls(np.nan, np.nan)
        value = float(over.sum()) / total
        return cls(value, float(np.sqrt(len(over)) * np.std(over - value * under)) / total)


def pinball(observed: Floats, quantiles: Floats) -> Floats:
    """Return the pinball loss of each quantile, (quantiles, n, m), in the unit of what was observed; NaN if unknown."""
    error = observed - quantiles
    return np.maximum(_LEVELS * error, (_LEVELS - 1) * error)


def usual(observed: Floats, fold: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return each model's quantiles, (quantiles, n, m), and mean logarithm, (n, m), without a row's own fold."""
    quantiles, mean = np.full((len(QUANTILES), *observed.shape), np.nan), np.full(observed.shape, np.nan)
    for held in np.unique(fold):
        inside = fold == held
        for column in range(observed.shape[1]):
            known = observed[~inside, column]
            known = known[np.isfinite(known)]
            if len(known):
                quantiles[:, inside, column] = np.quantile(known, QUANTILES)[:, None]
                mean[inside, column] = np.log(np.maximum(known, 1e-3)).mean()
    return quantiles, mean


def covered(observed: Floats, quantiles: Floats) -> Floats:
    """Return 1 where the observed lies in the 90% interval, 0 where not, (n, m); NaN where either is unknown."""
    known = np.isfinite(observed) & np.isfinite(quantiles).all(axis=0)
    return np.where(known, (quantiles[0] <= observed) & (observed <= quantiles[-1]), np.nan)


def typical(quantiles: Floats) -> Floats:
    """Return the exponential of the mean logarithm, (n, m), that quantiles (quantiles, n, m) speak of.

    By the extended Pearson-Tukey approximation: .185, .63 and .185 of the 5%, 50% and 95% quantiles (Keefer and Bodily
    1983). A median alone is off wherever the logarithm is skewed.
    """
    return np.asarray(np.exp(np.tensordot([0.185, 0.63, 0.185], np.log(np.maximum(quantiles, 1e-3)), axes=1)))


def r2_log(observed: Floats, said: Floats, instead: Floats) -> float:
    """Return the share of squared errors of log(observed) around `instead` (a logarithm) that `said` explains."""
    true = np.log(np.maximum(observed, 1e-3))
    left, there = (true - np.log(np.maximum(said, 1e-3))) ** 2, (true - instead) ** 2
    known = np.isfinite(left) & np.isfinite(there)
    return 1 - float(left[known].sum()) / float(there[known].sum()) if there[known].sum() > 0 else np.nan


def by_request(loss: Floats) -> Floats:
    """Return the sum over everything but the requests, (n,), of losses (quantiles, n, m) or (n, m); unknown is zero."""
    return np.asarray(np.nansum(loss, axis=(0, 2) if loss.ndim == 3 else 1))


def scores(observed: Floats, quantiles: Floats, fold: NDArray[np.int64]) -> Mapping[str, float]:
    """Return how quantiles (quantiles, n, m) of a positive amount do beside those of each model's other folds.

    `pinball` is the mean over the quantiles, in the amount's unit; `pinball_ratio` is it by that of the models' own
    quantiles, on the cells where both are known; `r2_log` is that of `typical` against the models' mean logarithm.
    """
    plain, mean = usual(observed, fold)
    loss, beside = pinball(observed, quantiles), pinball(observed, plain)
    known = np.isfinite(loss) & np.isfinite(beside)
    if not known.any():
        return {}
    loss, beside = (np.where(known, values, np.nan) for values in (loss, beside))
    ratio = Ratio.of(by_request(loss), by_request(beside))
    return {
        "pinball": float(np.nanmean(loss)),
        "pinball_per_model": float(np.nanmean(beside)),
        "pinball_ratio": ratio.value,
        "pinball_ratio_se": ratio.se,
        "coverage": float(np.nanmean(covered(observed, quantiles))),
        "r2_log": r2_log(observed, typical(quantiles), mean),
    }
