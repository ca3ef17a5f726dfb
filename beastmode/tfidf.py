"""Weigh the known words and word pairs of a prompt by tf-idf, seen through a truncated SVD."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from beastmode.vectors import Vectors


def terms(words: Sequence[str]) -> list[str]:
    """Return the terms of a text: its words, then its pairs of neighbouring words.

    >>> terms(["to", "be", "or"])
    ['to', 'be', 'or', 'to be', 'be or']
    """
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """The vocabulary, and for each term its idf times its row of the singular vectors."""

    index: Mapping[str, int]
    vectors: Vectors

    def counts(self, words: Sequence[str]) -> Counter[int]:
        """Return how often each known term stands in a text of these words."""
        found = Counter(map(self.index.get, terms(words)))
        del found[None]
        return found  # type: ignore[return-value]

    def embed(self, words: Sequence[str]) -> NDArray[np.float64]:
        """Return the vector of a text of these words, not normalised, shape (columns,); zero where none is known."""
        return self.vectors.added(self.counts(words))
