"""Weigh the known words and word pairs of a prompt by tf-idf, seen through a truncated SVD."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

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

    def counts(self, words: Sequence[str], tally: Mapping[str, int]) -> Mapping[int, int]:
        """Return how often each known term stands in a text; `tally` says how often each of its words does."""
        found: dict[Any, int] = dict(zip(map(self.index.get, tally), tally.values(), strict=True))
        found.pop(None, None)
        # No pair is written out to be looked up: most are unknown, and a new string must be hashed.
        seconds = zip(map(self._after.get, words), words[1:], strict=False)
        # A term is a word or a pair, never both.
        found.update(Counter([known[word] for known, word in seconds if known and word in known]))
        return found

    def embed(self, words: Sequence[str], tally: Mapping[str, int]) -> NDArray[np.float64]:
        """Return the vector of a text, not normalised, shape (columns,); zero where no term is known."""
        return self.vectors.added(self.counts(words, tally))
