"""Fit the forests of a blend: one LightGBM model for each factor that candidates share, of quality and of length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from beastmode.blend import Factors, forest_features, projection
from beastmode.forest import Forest
from models.examples import Examples
from models.fitted import Learning
from models.rivalry import directions
from models.usage import length_factors

Floats = NDArray[np.float64]

SPARSE = 200
"""Requests with counted tokens under which a factor of length is not learned."""


@dataclass(frozen=True, slots=True)
class ForestFit:
    """Boosters of all rows, and what those of the other folds say of each row."""

    boosters: tuple[Any, ...]
    """One a factor of quality, then one a factor of length."""
    loadings: Floats
    out_of_fold: Floats
    """(n, directions)"""
    spoken: Floats
    """(n, factors of length) out of fold; none where they are not learned."""
    lengths: Floats
    """(m, factors of length): what one unit of each adds to log(output tokens)."""

    def factors(self) -> Factors:
        """Return the factors to serve."""
        names = ("level", *(f"factor_{i}" for i in range(1, self.loadings.shape[1])))
        spoken = ("verbosity", *(f"length_{i}" for i in range(1, self.spoken.shape[1])))
        named = dict(zip((*names, *spoken), self.boosters, strict=False))
        texts = {name: booster.model_to_string() for name, booster in named.items()}
        forest = Forest.join([Forest.parse(text) for text in texts.values()])
        return Factors(self.loadings, forest, texts)

    def importance(self, names: Sequence[str]) -> list[tuple[str, float]]:
        """Return columns with the gain of all splits on them, the most useful first."""
        words = [f"{part}_{i}" for part in ("near", "ridge") for i in range(self.loadings.shape[1])]
        columns = [*names, *words]
        factors = self.boosters[: self.loadings.shape[1]]
        gain = sum(booster.feature_importance("gain") for booster in factors)
        return sorted(zip(columns, (float(g) for g in gain), strict=True), key=lambda pair: -pair[1])


def fit_forests(
    known: Examples, near: Floats, ridge: Floats, settings: Learning, seed: int, load: Floats | None = None
) -> ForestFit:
    """Fit on the taught rows, and lengths on every row that tells of them; `near` and `ridge` are out of fold, (n, m).

    The factors are the mean over active candidates, and the directions in which neighbours' words differ most, unless
    `load` (m, factors) names others.
    """
    if load is None:
        along = directions(known, near[known.judged])[:, : settings.rank]
        load = np.concatenate([known.active[:, None].astype(np.float64), along], axis=1)
    inputs = forest_features(known.encoding, (near, ridge), projection(load))
    excess = known.excess
    targets = list((excess @ load / (load**2).sum(axis=0)).T)
    boosters, said = _fit_all(known, inputs, targets, known.taught, settings, seed)
    lengths, lent = length_factors(known.table.output_tokens, settings.rank)
    spoken: list[Floats] = []
    for target in lengths.T:
        told = np.isfinite(target)
        if told.sum() < SPARSE:
            break
        last, heard = _fit_all(known, inputs, [target], told, settings, seed)
        boosters, spoken = boosters + last, [*spoken, heard[:, 0]]
    heard = np.stack(spoken, axis=1) if spoken else np.zeros((len(known), 0))
    return ForestFit(tuple(boosters), load, said, heard, lent[:, : len(spoken)])


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
        # A leaf of few rows says what one noisy candidate happened to do there.
        "min_data_in_leaf": int(np.clip(rows.sum() // 40, 20, 100)),
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
