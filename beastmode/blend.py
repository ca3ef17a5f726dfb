"""The blend: what neighbours, a kernel ridge and a forest of shared factors say together.

Each part speaks of the excess of quality over every candidate's mean, and is heard twice: its mean over candidates
says how hard the request is, and what is left says who is better at it. The two are weighed apart, because a request's
difficulty is easy to learn and the differences between candidates are mostly noise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.forest import Forest
from beastmode.neighbours import Kernel, Prototypes, nearest
from beastmode.scoring import Encoding, Floats, Parts, Predicted, Usage

GRID = 1024
"""Steps to the unit of the features that a forest sees."""
PARTS = ("neighbours", "ridge", "factors")


@dataclass(frozen=True, slots=True)
class Ridge:
    """Kernel ridge regression on prototypes (Nyström), with the encoding's columns beside them.

    The features are exp(temperature * (cosine - 1)) to each prototype, and the encoding, clipped and scaled.
    """

    temperature: float
    weight: Floats
    """(p + columns, m)"""

    def excess(self, prototypes: Prototypes, encoding: Encoding, similarity: Floats) -> Floats:
        """Return the predicted excess of quality, (n, m)."""
        near, plain = ridge_features(self.temperature, prototypes, encoding, similarity)
        p = len(prototypes.length)
        return np.asarray(near @ self.weight[:p] + plain @ self.weight[p:])


def ridge_features(
    temperature: float, prototypes: Prototypes, encoding: Encoding, similarity: Floats
) -> tuple[Floats, Floats]:
    """Return exp(temperature * (cosine to each prototype - 1)), (n, p), and the encoding, clipped at 4 and scaled."""
    near = np.exp(similarity * (temperature / prototypes.length) - temperature)
    plain = np.minimum(np.maximum(encoding.astype(np.float64), -4.0), 4.0) / math.sqrt(encoding.shape[1])
    return near, plain


@dataclass(frozen=True, slots=True)
class Factors:
    """Factors that all candidates share, predicted by one forest from the encoding and the neighbours' word."""

    directions: Floats
    """(m, factors): the forest also sees the neighbours' word on each of these."""
    loadings: Floats
    """(m, factors): what one unit of each factor adds to a candidate's quality."""
    forest: Forest
    """Its outputs are the factors, and last the request's verbosity where `speaks`."""
    texts: Mapping[str, str]
    """LightGBM's text of each output's model, in the order of the outputs."""
    speaks: bool

    def predict(self, encoding: Encoding, near: Floats) -> tuple[Floats, Floats]:
        """Return factors (n, factors) and verbosity (n,); `near` is the neighbours' excess, (n, m)."""
        found = self.forest.predict(forest_features(encoding, near, self.directions))
        if self.speaks:
            return found[:, :-1], found[:, -1]
        return found, np.zeros(len(found))

    def excess(self, values: Floats) -> Floats:
        """Return the excess of quality, (n, m), that factors (n, factors) mean."""
        return np.asarray(values @ self.loadings.T)


def forest_features(encoding: Encoding, near: Floats, directions: Floats) -> NDArray[np.float32]:
    """Return the encoding with the neighbours' word on each direction, rounded to a grid, float32."""
    said = near @ directions / (directions**2).sum(axis=0)
    rounded = (np.round(said * GRID) / GRID).astype(np.float32)
    return np.concatenate([encoding, rounded], axis=1)


@dataclass(frozen=True, slots=True)
class Blend:
    """Parts with their weights, and a line for each candidate that keeps its probabilities honest."""

    prototypes: Prototypes
    kernel: Kernel
    ridge: Ridge | None
    factors: Factors | None
    level: Floats
    """(3,) How much each part's word on the request's difficulty counts; the order is that of `PARTS`."""
    difference: Floats
    """(3,) How much each part's word on who is better counts."""
    slope: Floats
    """(m,) How much a candidate's quality moves with the difficulty."""
    mean: Floats
    """(m,)"""
    usage: Usage

    def _heard(self, encoding: Encoding) -> tuple[list[Floats], Floats, Floats, Floats]:
        """Return each part's excess, the verbosity, the similarities and the factors' values."""
        similarity = self.prototypes.similarity(encoding)
        near = self.kernel.smooth(self.prototypes, similarity)
        silent = np.zeros_like(near)
        ridge = silent if self.ridge is None else self.ridge.excess(self.prototypes, encoding, similarity)
        values, verbosity = np.zeros((len(near), 0)), np.zeros(len(near))
        factors = silent
        if self.factors is not None:
            values, verbosity = self.factors.predict(encoding, near)
            factors = self.factors.excess(values)
        return [near, ridge, factors], verbosity, similarity, values

    def predict(self, encoding: Encoding, input_tokens: Floats) -> Predicted:
        excesses, verbosity, _, _ = self._heard(encoding)
        quality = combine(excesses, self.level, self.difference, self.slope, self.mean)
        return Predicted(np.clip(quality, 0.0, 1.0), *self.usage.predict(verbosity, input_tokens))

    def contributions(self, encoding: Encoding) -> Mapping[str, Any]:
        excesses, verbosity, similarity, values = self._heard(encoding)
        none = np.zeros_like(self.mean)
        said = {
            name: combine(
                [e if e is excess else np.zeros_like(e) for e in excesses],
                self.level,
                self.difference,
                self.slope,
                none,
            )[0].tolist()
            for name, excess in zip(PARTS, excesses, strict=True)
        }
        return {
            "mean": self.mean.tolist(),
            **said,
            "factors_values": values[0].tolist(),
            "verbosity": float(verbosity[0]),
            "nearest_prototypes": nearest(similarity[0]),
        }

    def parts(self) -> Parts:
        known: dict[str, Any] = {
            "kind": "blend",
            "temperature": self.kernel.temperature,
            "nearest": self.kernel.nearest,
            "start": self.prototypes.start,
            "stop": self.prototypes.stop,
        }
        arrays = {**self.prototypes.arrays(), **self.usage.arrays()}
        arrays |= {name: getattr(self, name) for name in ("level", "difference", "slope", "mean")}
        forests: dict[str, str] = {}
        if self.ridge is not None:
            known["ridge_temperature"] = self.ridge.temperature
            arrays["ridge"] = self.ridge.weight.astype(np.float32)
        if self.factors is not None:
            known["outputs"] = list(self.factors.texts)
            known["speaks"] = self.factors.speaks
            arrays |= {"directions": self.factors.directions, "loadings": self.factors.loadings}
            forests = dict(self.factors.texts)
        return Parts(known, arrays, forests)

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        known, arrays = parts.known, parts.arrays
        ridge, factors = None, None
        if "ridge" in arrays:
            ridge = Ridge(float(known["ridge_temperature"]), arrays["ridge"].astype(np.float64))
        if "loadings" in arrays:
            texts = {name: parts.forests[name] for name in known["outputs"]}
            forest = Forest.join([Forest.parse(text) for text in texts.values()])
            factors = Factors(arrays["directions"], arrays["loadings"], forest, texts, bool(known["speaks"]))
        return cls(
            Prototypes.from_parts(known, arrays),
            Kernel(float(known["temperature"]), int(known["nearest"])),
            ridge,
            factors,
            arrays["level"],
            arrays["difference"],
            arrays["slope"],
            arrays["mean"],
            Usage.from_arrays(arrays),
        )


def combine(excesses: list[Floats], level: Floats, difference: Floats, slope: Floats, mean: Floats) -> Floats:
    """Return qualities (n, m), not yet clipped, of the parts' excesses, each (n, m)."""
    parts = np.stack(excesses)
    shared = parts.sum(axis=2) / parts.shape[2]
    hard, equal = level @ shared, difference @ shared
    better = np.tensordot(difference, parts, axes=1)
    return np.asarray(mean + slope * hard[:, None] + better - equal[:, None])
