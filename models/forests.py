"""Fit the forests of a blend: one LightGBM model for each factor that candidates share, and one for verbosity."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from beastmode.blend import Factors, forest_features
from beastmode.forest import Forest
from models.examples import Examples
from models.fitted import Learning
from models.usage import verbosity_target

Floats = NDArray[np.float64]

SPARSE = 200
"""Requests with counted tokens under which verbosity is not learned."""


@dataclass(frozen=True, slots=True)
class ForestFit:
    """Boosters of all rows, and what those of the other folds say of each row."""

    boosters: tuple[Any, ...]
    """One a factor, and last the verbosity's where `speaks`."""
    loadings: Floats
    speaks: bool
    out_of_fold: Floats
    """(n, directions)"""
    verbosity: Floats
    """(n,) out of fold; zero where it is not learned."""

    def factors(self, weights: Floats) -> Factors:
        """Return the factors to serve, their loadings multiplied by weights (directions,)."""
        names = ("level", *(f"factor_{i}" for i in range(1, self.loadings.shape[1])))
        named = dict(zip((*names, "verbosity"), self.boosters, strict=False))
        texts = {name: booster.model_to_string() for name, booster in named.items()}
        forest = Forest.join([Forest.parse(text) for text in texts.values()])
        return Factors(self.loadings, self.loadings * weights, forest, texts, self.speaks)

    def importance(self, names: Sequence[str]) -> list[tuple[str, float]]:
        """Return columns with the gain of all splits on them, the most useful first."""
        columns = [*names, *(f"near_{i}" for i in range(self.loadings.shape[1]))]
        factors = self.boosters[: self.loadings.shape[1]]
        gain = sum(booster.feature_importance("gain") for booster in factors)
        return sorted(zip(columns, (float(g) for g in gain), strict=True), key=lambda pair: -pair[1])


def loadings(near: Floats, rank: int) -> Floats:
    """Return the mean score and the `rank` directions in which neighbours' words differ most, (m, 1 + rank).

    They are the right singular vectors of the smoothed score matrix, not of the raw one: a raw outcome is mostly
    noise, and its largest directions are those of the noisiest candidates.
    """
    apart = near - near.mean(axis=1, keepdims=True)
    _, _, right = np.linalg.svd(apart, full_matrices=False)
    kept = right[: min(rank, near.shape[1] - 1)]
    return np.concatenate([np.ones((near.shape[1], 1)), kept.T], axis=1)


def fit_forests(known: Examples, near: Floats, settings: Learning, seed: int) -> ForestFit:
    """Fit on the judged rows, the verbosity on every row with counted tokens; `near` is out of fold, (n, m)."""
    load = loadings(near[known.judged], settings.rank)
    inputs = forest_features(known.encoding, near, load)
    excess = known.excess
    targets = list((excess @ load / (load**2).sum(axis=0)).T)
    boosters, said = _fit_all(known, inputs, targets, known.judged, settings, seed)
    spoken, counted = verbosity_target(known.table.output_tokens)
    speaks = int(counted.sum()) >= SPARSE
    verbosity = np.zeros(len(known))
    if speaks:
        last, heard = _fit_all(known, inputs, [spoken], counted, settings, seed)
        boosters, verbosity = boosters + last, heard[:, 0]
    return ForestFit(tuple(boosters), load, speaks, said, verbosity)


def _fit_all(
    known: Examples,
    inputs: NDArray[np.float32],
    targets: Sequence[Floats],
    taught: NDArray[np.bool_],
    settings: Learning,
    seed: int,
) -> tuple[list[Any], Floats]:
    """Return a booster for each target, and the out-of-fold predictions (n, targets)."""
    said = np.zeros((len(known), len(targets)))
    for fold in range(known.folds):
        inside = known.fold == fold
        boosters = _fit(inputs, targets, taught & ~inside, settings, seed)
        said[inside] = np.stack([booster.predict(inputs[inside], num_threads=1) for booster in boosters], axis=1)
    return _fit(inputs, targets, taught, settings, seed), said


def _fit(
    inputs: NDArray[np.float32],
    targets: Sequence[Floats],
    rows: NDArray[np.bool_],
    settings: Learning,
    seed: int,
) -> list[Any]:
    parameters = {
        "objective": "regression",
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "feature_fraction": settings.feature_share,
        "lambda_l2": settings.l2,
        "max_bin": 63,
        "num_threads": 1,
        "deterministic": True,
        "seed": seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(inputs[rows], targets[0][rows], params={"max_bin": 63, "verbosity": -1})
    boosters = []
    for target in targets:
        # The columns are binned once for all targets.
        data.construct().set_label(target[rows])
        boosters.append(lightgbm.train(parameters, data, settings.rounds))
    return boosters
