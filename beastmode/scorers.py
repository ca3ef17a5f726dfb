"""Fitted selectors as serving sees them: the registry of every kind that a bundle may hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from beastmode.blend import Blend
from beastmode.neighbours import Neighbours
from beastmode.scoring import Encoding, Floats, Parts, Predicted, Scorer

__all__ = ["SCORERS", "Constant", "Encoding", "Floats", "Parts", "Predicted", "Scorer", "scorer_from_parts"]


@dataclass(frozen=True, slots=True)
class Constant:
    """The same prediction for every request: what each candidate did on average."""

    quality: Floats
    """(m,)"""
    output_tokens: Floats
    latency_ms: Floats

    def predict(self, encoding: Encoding, input_tokens: Floats) -> Predicted:
        n = len(encoding)
        return Predicted(*(np.tile(row, (n, 1)) for row in (self.quality, self.output_tokens, self.latency_ms)))

    def contributions(self, encoding: Encoding) -> Mapping[str, Any]:
        return {"mean": self.quality.tolist()}

    def parts(self) -> Parts:
        arrays = {"quality": self.quality, "output_tokens": self.output_tokens, "latency_ms": self.latency_ms}
        return Parts({"kind": "constant"}, arrays, {})

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        return cls(parts.arrays["quality"], parts.arrays["output_tokens"], parts.arrays["latency_ms"])


SCORERS: dict[str, type[Scorer]] = {"constant": Constant, "neighbours": Neighbours, "blend": Blend}


def scorer_from_parts(parts: Parts) -> Scorer:
    """Return the scorer that its parts describe; raises ValueError naming an unknown kind."""
    kind = parts.known.get("kind")
    if kind not in SCORERS:
        raise ValueError(f"unknown scorer {kind!r}; known: {', '.join(SCORERS)}; install a newer beastmode")
    return SCORERS[kind].from_parts(parts)
