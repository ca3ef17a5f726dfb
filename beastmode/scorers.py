"""Fitted selectors as serving sees them: the registry of every kind that a bundle may hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from beastmode.blend import Blend
from beastmode.logistic import Logistic
from beastmode.neighbours import Neighbours
from beastmode.scoring import QUANTILES, Encoding, Floats, Parts, Predicted, Scorer

__all__ = ["SCORERS", "Constant", "Encoding", "Floats", "Parts", "Predicted", "Scorer", "scorer_from_parts"]


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """The same prediction for every request: what each candidate did on average."""

    quality: Floats
    """(m,)"""
    output_tokens: Floats
    latency_ms: Floats
    output_tokens_quantiles: Floats | None = None
    """(quantiles, m); None where nobody knows."""
    latency_ms_quantiles: Floats | None = None

    def predict(self, encoding: Encoding, input_tokens: Floats) -> Predicted:
        n = len(encoding)
        rows = (np.tile(row, (n, 1)) for row in (self.quality, self.output_tokens, self.latency_ms))
        return Predicted(*rows, *(np.repeat(each[:, None], n, axis=1) for each in self._quantiles()))

    def _quantiles(self) -> tuple[Floats, Floats]:
        nobody = np.full((len(QUANTILES), len(self.quality)), np.nan)
        tokens, latency = self.output_tokens_quantiles, self.latency_ms_quantiles
        return nobody if tokens is None else tokens, nobody if latency is None else latency

    def contributions(self, encoding: Encoding) -> Mapping[str, Any]:
        return {"mean": self.quality.tolist()}

    def parts(self) -> Parts:
        tokens, latency = self._quantiles()
        arrays = {
            "quality": self.quality,
            "output_tokens": self.output_tokens,
            "latency_ms": self.latency_ms,
            "output_tokens_quantiles": tokens,
            "latency_ms_quantiles": latency,
        }
        return Parts({"kind": "constant"}, arrays, {})

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        return cls(**{name: parts.arrays[name] for name in cls.__slots__})


SCORERS: dict[str, type[Scorer]] = {
    "constant": Constant,
    "neighbours": Neighbours,
    "logistic": Logistic,
    "blend": Blend,
}


def scorer_from_parts(parts: Parts) -> Scorer:
    """Return the scorer that its parts describe; raises ValueError naming an unknown kind."""
    kind = parts.known.get("kind")
    if kind not in SCORERS:
        raise ValueError(f"unknown scorer {kind!r}; known: {', '.join(SCORERS)}; install a newer beastmode")
    return SCORERS[kind].from_parts(parts)
