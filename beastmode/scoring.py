"""What every fitted selector promises at serving time: an encoding in, predictions and plain data out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Encoding = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]


QUANTILES = (0.05, 0.5, 0.95)
"""What is told of a length and of a latency beside its mean: the median, and the ends of the 90% interval."""


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Predictions for `n` requests and `m` candidates; NaN where a quantity was never observed."""

    quality: Floats
    """(n, m) in [0, 1]"""
    output_tokens: Floats
    """(n, m) The mean, for what an answer costs is linear in it."""
    latency_ms: Floats
    """(n, m) What is to be expected, hung calls apart."""
    output_tokens_quantiles: Floats
    """(quantiles, n, m), in the order of `QUANTILES`"""
    latency_ms_quantiles: Floats
    """(quantiles, n, m)"""

    @property
    def amounts(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Everything but quality, in the order of the fields."""
        return self.output_tokens, self.latency_ms, self.output_tokens_quantiles, self.latency_ms_quantiles


@dataclass(frozen=True, slots=True, eq=False)
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


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """How long the answers are and how long they take, a candidate at a time.

    The place of log(output tokens) is offset + slope @ (the request's length factors). Around it lengths have whatever
    shape they have: between `k` knots the logarithms of the mean and of the quantiles are interpolated, and beyond the
    outer ones, which are the outermost places ever seen, they stay.
    Expected latency in ms is base + per_output * output tokens + per_input * input tokens; its quantiles are
    multiples of it that depend on the same place.
    """

    offset: Floats
    """(m,)"""
    slope: Floats
    """(m, factors)"""
    base: Floats
    """(m,) like the two that follow"""
    per_output: Floats
    per_input: Floats
    knots: Floats
    """(m, k) Places, rising; an equal neighbour repeats its values."""
    table: Floats
    """(m, k, 7) At each knot the logarithms of mean tokens, of their quantiles, and of quantiles of latency over what
    was expected; NaN where none was ever observed."""
    _slope: Floats = field(init=False, repr=False)
    """(factors, m)"""
    _after: Floats = field(init=False, repr=False)
    """(m, k - 1) How far each knot but the last lies behind a request whose factors are zero."""
    _width: Floats = field(init=False, repr=False)
    _step: Floats = field(init=False, repr=False)
    _silent: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        width = np.diff(self.knots, axis=1)
        object.__setattr__(self, "_slope", np.ascontiguousarray(self.slope.T))
        object.__setattr__(self, "_after", self.offset[:, None] - self.knots[:, :-1])
        object.__setattr__(self, "_width", np.where(width > 0, width, 1.0))
        object.__setattr__(self, "_step", np.diff(self.table, axis=1))
        object.__setattr__(self, "_silent", bool((self.per_output == 0).any()))

    def predict(self, spoken: Floats, input_tokens: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return mean output tokens and latency in ms, each (n, m), and the quantiles of both, each (quantiles, n, m).

        `spoken` (n, factors) are the requests' length factors, `input_tokens` is (n,).
        """
        # How far each stretch between two knots is behind the request: 0 before it, 1 after it.
        passed = (spoken.dot(self._slope)[:, :, None] + self._after) / self._width
        passed = np.minimum(np.maximum(passed, 0.0), 1.0)
        said = np.exp(self.table[:, 0] + (passed[:, :, None] @ self._step)[:, :, 0]).transpose(2, 0, 1)
        tokens, quantiles, late = said[0], said[1:4], said[4:]
        # Latency may be known where no token was ever counted: then it does not depend on them.
        counted = np.where(self.per_output == 0, 0.0, tokens) if self._silent else tokens
        latency = self.base + self.per_output * counted + input_tokens[:, None] * self.per_input
        return tokens, latency, quantiles, latency * late

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, as npz holds them."""
        return {f"usage_{name}": getattr(self, name) for name in _STORED}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Return what `arrays` described."""
        return cls(**{name: arrays[f"usage_{name}"] for name in _STORED})


_STORED = ("offset", "slope", "base", "per_output", "per_input", "knots", "table")
