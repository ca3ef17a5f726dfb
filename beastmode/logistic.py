"""Quality by one logistic line a candidate over the encoding: the simplest selector that looks at a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from beastmode.scoring import Encoding, Floats, Parts, Predicted, Usage

REACH = 4.0
"""Where a column of the encoding is clipped, so that a strange request is not predicted far outside what was seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Logistic:
    """quality = 1 / (1 + exp(-(offset + encoding @ weight)))."""

    offset: Floats
    """(m,)"""
    weight: Floats
    """(columns, m)"""
    usage: Usage

    def predict(self, encoding: Encoding, input_tokens: Floats) -> Predicted:
        quality = sigmoid(self.offset + clipped(encoding) @ self.weight)
        return Predicted(quality, *self.usage.predict(np.zeros((len(encoding), 0)), input_tokens))

    def contributions(self, encoding: Encoding) -> Mapping[str, Any]:
        return {
            "mean": sigmoid(self.offset).tolist(),
            "log_odds": (clipped(encoding) @ self.weight)[0].tolist(),
        }

    def parts(self) -> Parts:
        arrays = {"offset": self.offset, "weight": self.weight, **self.usage.arrays()}
        return Parts({"kind": "logistic"}, arrays, {})

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        return cls(parts.arrays["offset"], parts.arrays["weight"], Usage.from_arrays(parts.arrays))


def clipped(encoding: Encoding) -> Floats:
    """Return the encoding as the lines see it, float64."""
    return np.minimum(np.maximum(encoding.astype(np.float64), -REACH), REACH)


def sigmoid(logit: Floats) -> Floats:
    """Return 1 / (1 + exp(-logit)), without overflow.

    >>> sigmoid(np.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))
