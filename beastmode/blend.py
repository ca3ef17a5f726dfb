"""The blend: what neighbours, a kernel ridge and a forest of shared factors say together.

Each part speaks of the excess of quality over every candidate's mean. One matrix a part turns its word into quality:
what the word says of the request's difficulty and what it says of who is better are weighed apart, and the latter
along each direction in which candidates differ, because most such differences are noise and a few are not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.forest import Forest
from beastmode.neighbours import Kernel, Prototypes, nearest
from beastmode.scoring import Encoding, Floats, Parts, Predicted, Usage

GRID = 1024
"""Steps to the unit of the features that a forest sees."""
PARTS = ("neighbours", "ridge", "factors")


@dataclass(frozen=True, slots=True, eq=False)
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
        return np.asarray(near.dot(self.weight[:p]) + plain.dot(self.weight[p:]))


def ridge_features(
    temperature: float, prototypes: Prototypes, encoding: Encoding, similarity: Floats
) -> tuple[Floats, Floats]:
    """Return exp(temperature * (cosine to each prototype - 1)), (n, p), and the encoding, clipped at 4 and scaled."""
    near = np.exp(similarity * (temperature / prototypes.length) - temperature)
    plain = np.minimum(np.maximum(encoding.astype(np.float64), -4.0), 4.0) / math.sqrt(encoding.shape[1])
    return near, plain


@dataclass(frozen=True, slots=True, eq=False)
class Taste:
    """Nearness by promise: requests that the ridge gives to the same candidates are near, too.

    A request has a place, and half the squared distance between two places is taken off their similarity.
    """

    directions: Floats
    """(m, r) What turns the ridge's excess into a place."""
    places: Floats
    """(p, r) The mean place of each prototype's members."""
    breadth: Floats
    """(p,) Half the mean square of the members' places."""
    _pull: Floats = field(init=False, repr=False)
    """(m, p) What the ridge's excess adds to the nearness."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pull", self.directions @ self.places.T)

    def nearer(self, similarity: Floats, excess: Floats) -> Floats:
        """Return the nearness to each prototype, (n, p), of its similarity and the ridge's excess (n, m).

        The request's own half square is left out: it moves no weight.
        """
        return np.asarray(similarity + excess.dot(self._pull) - self.breadth)


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Factors that all candidates share, predicted by one forest from the encoding and the other parts' words."""

    loadings: Floats
    """(m, factors): what one unit of each factor adds to a candidate's quality."""
    forest: Forest
    """Its outputs are the factors of quality, then those of length."""
    texts: Mapping[str, str]
    """LightGBM's text of each output's model, in the order of the outputs."""
    _projection: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_projection", projection(self.loadings))

    def predict(self, encoding: Encoding, words: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Return factors of quality and of length, each (n, factors); `words` are the other parts' excesses, (n, m)."""
        found = self.forest.predict(forest_features(encoding, words, self._projection))
        rank = self.loadings.shape[1]
        return found[:, :rank], found[:, rank:]

    def excess(self, values: Floats) -> Floats:
        """Return the excess of quality, (n, m), that factors (n, factors) mean."""
        return np.asarray(values.dot(self.loadings.T))


def projection(directions: Floats) -> Floats:
    """Return what turns an excess (n, m) into its word on each direction (m, factors), in steps of the grid."""
    return np.asarray(directions * (GRID / np.maximum((directions**2).sum(axis=0), 1e-12)))


def forest_features(encoding: Encoding, words: Sequence[Floats], projected: Floats) -> NDArray[np.float32]:
    """Return the encoding with each part's word on each direction, rounded to a grid, float32."""
    rounded = [(np.rint(word.dot(projected)) / GRID).astype(np.float32) for word in words]
    return np.concatenate([encoding, *rounded], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """Parts, and what the word of each is worth."""

    prototypes: Prototypes
    kernel: Kernel
    taste: Taste | None
    """Without it nearness is similarity alone."""
    ridge: Ridge
    factors: Factors | None
    mix: Floats
    """(3, m, m) What one unit of each part's excess, a row a candidate, adds to each candidate's quality; the order is
    that of `PARTS`."""
    mean: Floats
    """(m,)"""
    usage: Usage

    def _heard(self, encoding: Encoding) -> tuple[list[Floats], Floats, Floats, Floats]:
        """Return each part's excess, the factors of length, the nearness to prototypes and the factors of quality."""
        similarity = self.prototypes.similarity(encoding)
        ridge = self.ridge.excess(self.prototypes, encoding, similarity)
        nearness = similarity if self.taste is None else self.taste.nearer(similarity, ridge)
        near = self.kernel.smooth(self.prototypes, nearness)
        if self.factors is None:
            none = np.zeros((len(near), 0))
            return [near, ridge, np.zeros_like(near)], none, nearness, none
        values, spoken = self.factors.predict(encoding, (near, ridge))
        return [near, ridge, self.factors.excess(values)], spoken, nearness, values

    def predict(self, encoding: Encoding, input_tokens: Floats) -> Predicted:
        excesses, spoken, _, _ = self._heard(encoding)
        quality = combine(excesses, self.mix, self.mean)
        return Predicted(np.minimum(np.maximum(quality, 0.0), 1.0), *self.usage.predict(spoken, input_tokens))

    def contributions(self, encoding: Encoding) -> Mapping[str, Any]:
        excesses, spoken, nearness, values = self._heard(encoding)
        said = zip(PARTS, excesses, self.mix, strict=True)
        return {
            "mean": self.mean.tolist(),
            **{name: (excess[0] @ mix).tolist() for name, excess, mix in said},
            "factors_values": values[0].tolist(),
            "length_factors": spoken[0].tolist(),
            "nearest": nearest(self.prototypes, nearness[0]),
        }

    def parts(self) -> Parts:
        known: dict[str, Any] = {
            "kind": "blend",
            "temperature": self.kernel.temperature,
            "nearest": self.kernel.nearest,
            "ridge_temperature": self.ridge.temperature,
            "start": self.prototypes.start,
            "stop": self.prototypes.stop,
        }
        arrays = {**self.prototypes.arrays(), **self.usage.arrays(), "mix": self.mix, "mean": self.mean}
        arrays["ridge"] = self.ridge.weight.astype(np.float32)
        forests: dict[str, str] = {}
        if self.taste is not None:
            arrays |= {f"taste_{name}": getattr(self.taste, name).astype(np.float32) for name in _TASTE}
        if self.factors is not None:
            known["outputs"] = list(self.factors.texts)
            arrays["loadings"] = self.factors.loadings
            forests = dict(self.factors.texts)
        return Parts(known, arrays, forests)

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        known, arrays = parts.known, parts.arrays
        taste, factors = None, None
        if "taste_places" in arrays:
            taste = Taste(**{name: arrays[f"taste_{name}"].astype(np.float64) for name in _TASTE})
        if "loadings" in arrays:
            texts = {name: parts.forests[name] for name in known["outputs"]}
            forest = Forest.join([Forest.parse(text) for text in texts.values()])
            factors = Factors(arrays["loadings"], forest, texts)
        return cls(
            Prototypes.from_parts(known, arrays),
            Kernel(float(known["temperature"]), int(known["nearest"])),
            taste,
            Ridge(float(known["ridge_temperature"]), arrays["ridge"].astype(np.float64)),
            factors,
            arrays["mix"],
            arrays["mean"],
            Usage.from_arrays(arrays),
        )


_TASTE = ("directions", "places", "breadth")


def combine(excesses: Sequence[Floats], mix: Floats, mean: Floats) -> Floats:
    """Return qualities (n, m), not yet clipped, of the parts' excesses, each (n, m)."""
    # One product for all parts: a decision is made of few calls.
    return np.asarray(mean + np.concatenate(excesses, axis=1).dot(mix.reshape(-1, mix.shape[2])))
