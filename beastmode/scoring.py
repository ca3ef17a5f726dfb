"""What every fitted selector promises at serving time: an encoding in, predictions and plain data out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Encoding = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predictions for `n` requests and `m` candidates; NaN where a quantity was never observed."""

    quality: Floats
    """(n, m) in [0, 1]"""
    output_tokens: Floats
    """(n, m)"""
    latency_ms: Floats
    """(n, m)"""


@dataclass(frozen=True, slots=True)
class Parts:
    """A fitted object as plain data: JSON, arrays for npz, and LightGBM text models by name."""

    known: Mapping[str, Any]
    arrays: Arrays
    forests: Mapping[str, str]


class Scorer(Protocol):
    """What every fitted selector can do at serving time."""

    def predict(self, encoding: Encoding, input_tokens: Floats) -> Predicted:
        """Return predictions; `encoding` is (n, columns), `input_tokens` is (n,)."""

    def contributions(self, encoding: Encoding) -> Mapping[str, Any]:
        """Return what speaks for the prediction of one request; `encoding` is (1, columns)."""

    def parts(self) -> Parts:
        """Return the scorer as plain data."""

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        """Return the scorer that `parts` described."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How long the answers are and how long they take, a candidate at a time, each vector (m,).

    log(output tokens) = offset + slope * (the request's verbosity), and
    latency in ms = base + per_output * output tokens + per_input * input tokens.
    The offset carries the smearing term that makes the prediction a mean rather than a median (Duan 1983).
    """

    offset: Floats
    slope: Floats
    base: Floats
    per_output: Floats
    per_input: Floats

    def predict(self, verbosity: Floats, input_tokens: Floats) -> tuple[Floats, Floats]:
        """Return output tokens and latency in ms, both (n, m); `verbosity` and `input_tokens` are (n,)."""
        # No candidate answers with more than e^12 = 160,000 tokens, whatever a tree says.
        tokens = np.exp(np.minimum(self.offset + np.multiply.outer(verbosity, self.slope), 12.0))
        # Latency may be known where no token was ever counted: then it does not depend on them.
        counted = np.where(self.per_output == 0, 0.0, tokens)
        latency = self.base + self.per_output * counted + np.multiply.outer(input_tokens, self.per_input)
        return tokens, latency

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the vectors by name, as npz holds them."""
        return {f"usage_{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Return what `arrays` described."""
        return cls(**{name: arrays[f"usage_{name}"] for name in cls.__slots__})
