"""Fit the kernel ridge of a blend: one Gram matrix, from which each fold is taken away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from beastmode.blend import Ridge, ridge_features
from beastmode.neighbours import Prototypes
from models.examples import Examples
from models.rivalry import explained

Floats = NDArray[np.float64]

TEMPERATURE = 4.0
PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""What holds the weights to zero: small ones suit few candidates and plain topics, large ones many and few rows."""
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class RidgeFit:
    """The ridge whose penalty explains most of rival differences out of fold."""

    ridge: Ridge
    penalty: float
    out_of_fold: Floats
    """(n, m): the excess of quality predicted for every request by the other folds."""


def fit_ridge(known: Examples, prototypes: Prototypes, penalties: Sequence[float] = PENALTIES) -> RidgeFit:
    """Fit on the taught rows; the penalty is chosen on the judged ones.

    The prototypes' places are those of all rows, for every fold: they hold no outcome, so nothing leaks by them but
    where requests lie.
    """
    features = _features(known, prototypes)
    excess = known.excess
    inside = [known.taught & (known.fold == fold) for fold in range(known.folds)]
    grams = [features[rows].T @ features[rows] for rows in inside]
    moments = [features[rows].T @ excess[rows] for rows in inside]
    gram, moment = sum(grams), sum(moments)
    held = _penalty(prototypes, known.encoding.shape[1])
    tried = []
    for penalty in penalties:
        said = np.empty_like(excess)
        for fold in range(known.folds):
            rows = known.fold == fold
            said[rows] = features[rows] @ _solve(gram - grams[fold] + penalty * held, moment - moments[fold])
        tried.append((explained(known, said[known.judged]), penalty, said))
    _, penalty, said = max(tried, key=lambda one: one[0])
    weight = _solve(gram + penalty * held, moment).astype(np.float32).astype(np.float64)
    return RidgeFit(Ridge(TEMPERATURE, weight), penalty, said)


def _features(known: Examples, prototypes: Prototypes) -> Floats:
    blocks = []
    for start in range(0, len(known), BLOCK):
        encoding = known.encoding[start : start + BLOCK]
        features = ridge_features(TEMPERATURE, prototypes, encoding, prototypes.similarity(encoding))
        blocks.append(np.concatenate(features, axis=1))
    return np.concatenate(blocks)


def _penalty(prototypes: Prototypes, columns: int) -> Floats:
    """Return the quadratic form of the weights that is penalised: the kernel among prototypes, one elsewhere."""
    centre = prototypes.centre / prototypes.length[:, None]
    p = len(centre)
    held = np.eye(p + columns)
    # A little of the identity keeps prototypes that all but coincide from making the system singular.
    held[:p, :p] = np.exp(TEMPERATURE * (centre @ centre.T - 1.0)) + 0.01 * np.eye(p)
    return held


def _solve(matrix: Floats, moment: Floats) -> Floats:
    return np.asarray(cho_solve(cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False), moment))
