"""Weigh the known words and word pairs of a prompt by tf-idf, seen through a truncated SVD."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    _after: dict[str, dict[str, int]] = field(init=False, repr=False)
    """The pairs, by their first word."""

    def __post_init__(self) -> None:
        after: dict[str, dict[str, int]] = {}
        for term, place in self.index.items():
            first, space, second = term.partition(" ")
            if space:
                after.setdefault(first, {})[second] = place
        object.__setattr__(self, "_after", after)

    def counts(self, words: Sequence[str]) -> Counter[int]:
        """Return how often each known term stands in a text of these words."""
        found: Counter[int | None] = Counter(map(self.index.get, words))
        # No pair is written out to be looked up: most are unknown, and a new string must be hashed.
        seconds = zip(map(self._after.get, words), words[1:], strict=False)
        found.update([known[word] for known, word in seconds if known is not None and word in known])
        del found[None]
        return found  # type: ignore[return-value]

    def embed(self, words: Sequence[str]) -> NDArray[np.float64]:
        """Return the vector of a text of these words, not normalised, shape (columns,); zero where none is known."""
        return self.vectors.added(self.counts(words))
