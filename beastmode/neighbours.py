"""Quality by nearness: what happened to the requests around this one, remembered as prototypes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.scoring import Arrays, Encoding, Floats, Parts, Predicted, Usage
from beastmode.vectors import packed


@dataclass(frozen=True, slots=True, eq=False)
class Prototypes:
    """Groups of requests that stand for their members: no single logged request is in here.

    `centre` (p, d) is the mean of the members' unit vectors, so that its product with a unit vector is the mean
    similarity to the members; `weight` (p,) counts the members whose outcomes were observed, and `excess` (p, m) is
    the sum over them of quality minus the candidate's mean. All are float64 in memory, so that another processor's
    last bits stay far from every rounding, and float32 in the bundle.
    """

    centre: Floats
    weight: Floats
    excess: Floats
    start: int
    stop: int
    """The columns of the encoding in which nearness is measured."""
    ids: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    """For each prototype the ids of a few of its members, each of another session; empty where none are kept."""
    length: Floats = field(init=False, repr=False)
    """(p,) of each centre"""
    told: Floats = field(init=False, repr=False)
    """(p, 1 + m) The weight and the excess side by side, so that one product adds up both."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", np.maximum(np.sqrt((self.centre**2).sum(axis=1)), 1e-9))
        object.__setattr__(self, "told", np.concatenate([self.weight[:, None], self.excess], axis=1))

    def similarity(self, encoding: Encoding) -> Floats:
        """Return the mean similarity of requests to each prototype's members, (n, p)."""
        return np.asarray(encoding[:, self.start : self.stop].astype(np.float64).dot(self.centre.T))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the tables by name, as npz holds them."""
        tables: dict[str, NDArray[Any]] = {name: getattr(self, name).astype(np.float32) for name in _TABLES}
        if self.ids:
            tables["ids"] = packed([" ".join(few) for few in self.ids])
        return tables

    @classmethod
    def from_parts(cls, known: Mapping[str, Any], arrays: Arrays) -> Self:
        """Return what the arrays and the columns named in `known` describe; raises ValueError on ids of others."""
        centre, weight, excess = (arrays[name].astype(np.float64) for name in _TABLES)
        ids: tuple[tuple[str, ...], ...] = ()
        if "ids" in arrays:
            ids = tuple(tuple(few.split()) for few in arrays["ids"].tobytes().decode().split("\n"))
            if len(ids) != len(centre):
                raise ValueError(f"it has ids of {len(ids)} prototypes, and {len(centre)} prototypes")
        return cls(centre, weight, excess, int(known["start"]), int(known["stop"]), ids)


_TABLES = ("centre", "weight", "excess")


@dataclass(frozen=True, slots=True)
class Near:
    """A prototype near to a request."""

    nearness: float
    requests: int
    """How many logged requests it stands for."""
    request_ids: tuple[str, ...]
    """A few of them."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """How nearness becomes weight: exp(temperature * similarity) above the level of the `nearest`-th prototype.

    Subtracting that level lets the weight fall to zero without a jump, so that two prototypes which tie for the last
    place cannot make two computers disagree.
    """

    temperature: float
    nearest: int

    def weigh(self, similarity: Floats) -> Floats:
        """Return weights (n, p) for similarities (n, p); each row's largest is at most one."""
        p = similarity.shape[1]
        weight = np.exp(self.temperature * (similarity - similarity.max(axis=1, keepdims=True)))
        if self.nearest < p:
            last = np.partition(weight, p - self.nearest - 1, axis=1)[:, p - self.nearest - 1, None]
            weight = np.maximum(weight - last, 0.0)
        return np.asarray(weight)

    def smooth(self, prototypes: Prototypes, similarity: Floats) -> Floats:
        """Return the expected excess of quality over each candidate's mean, (n, m)."""
        told = self.weigh(similarity).dot(prototypes.told)
        return np.asarray(told[:, 1:] / np.maximum(told[:, :1], 1e-9))


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Each candidate's mean quality, moved towards what happened nearby."""

    prototypes: Prototypes
    kernel: Kernel
    trust: float
    """The share of the neighbours' word that is believed; the rest is shrunk to the candidate's mean."""
    mean: Floats
    """(m,)"""
    usage: Usage

    def predict(self, encoding: Encoding, input_tokens: Floats) -> Predicted:
        excess = self.kernel.smooth(self.prototypes, self.prototypes.similarity(encoding))
        quality = np.clip(self.mean + self.trust * excess, 0.0, 1.0)
        return Predicted(quality, *self.usage.predict(np.zeros((len(encoding), 0)), input_tokens))

    def contributions(self, encoding: Encoding) -> Mapping[str, Any]:
        similarity = self.prototypes.similarity(encoding)
        return {
            "mean": self.mean.tolist(),
            "neighbours": (self.trust * self.kernel.smooth(self.prototypes, similarity)[0]).tolist(),
            "nearest": nearest(self.prototypes, similarity[0]),
        }

    def parts(self) -> Parts:
        known = {
            "kind": "neighbours",
            "temperature": self.kernel.temperature,
            "nearest": self.kernel.nearest,
            "trust": self.trust,
            "start": self.prototypes.start,
            "stop": self.prototypes.stop,
        }
        return Parts(known, {"mean": self.mean, **self.prototypes.arrays(), **self.usage.arrays()}, {})

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        known, arrays = parts.known, parts.arrays
        return cls(
            Prototypes.from_parts(known, arrays),
            Kernel(float(known["temperature"]), int(known["nearest"])),
            float(known["trust"]),
            arrays["mean"],
            Usage.from_arrays(arrays),
        )


def nearest(prototypes: Prototypes, nearness: Floats, count: int = 5) -> list[Near]:
    """Return the prototypes nearest to one request, the nearest first; `nearness` is (p,)."""
    order = np.argsort(-nearness)[:count].tolist()
    ids = prototypes.ids or ((),) * len(nearness)
    return [Near(round(float(nearness[p]), 4), int(prototypes.weight[p]), ids[p]) for p in order]
