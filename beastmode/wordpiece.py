"""Cut a prompt into the word pieces of an uncased BERT vocabulary, and add up a vector for each piece."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.vectors import Vectors

UNKNOWN = "[UNK]"
LIMIT = 254
"""Pieces that are looked at: what a sentence-transformer of 256 positions sees beside its two markers."""
HEAD = 6
"""Characters a piece in which so many words are looked for first."""
LONGEST_WORD = 100
"""Characters beyond which a word is one unknown piece."""
REMEMBERED = 1 << 14
"""Words whose pieces are kept."""

_ASCII_WORD = re.compile(r"[a-z0-9]+|\S")
_MARKS = "".join(chr(code) for code in range(33, 127) if not chr(code).isalnum() and chr(code) != "_")
_ASCII_CONTROL = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


@dataclass(frozen=True, slots=True, eq=False)
class WordPiece:
    """A vocabulary of word pieces; a piece that continues a word begins with "##"."""

    index: Mapping[str, int]
    longest: int
    """Characters of the longest piece: no longer one need be tried."""
    memory: dict[str, list[int]] = field(default_factory=dict)
    """The pieces of words that were cut before; it stops growing when it is full."""

    @classmethod
    def of(cls, index: Mapping[str, int]) -> Self:
        """Make it of the id of each piece; raises ValueError where the unknown piece is missing."""
        if UNKNOWN not in index:
            raise ValueError(f"word pieces: {UNKNOWN!r} is not among the {len(index)} pieces of the vocabulary")
        return cls(index, max(map(len, index)))

    def ids(self, text: str, limit: int = LIMIT) -> list[int]:
        """Return the ids of the first `limit` pieces of a text, as Hugging Face's BERT tokenizer gives them.

        The markers [CLS] and [SEP] are not added, and their names in a text are plain text.
        """
        # Mostly this much holds more than enough words; the last of them may be cut.
        words = _words(text[: limit * HEAD])
        if len(words) <= limit and len(text) > limit * HEAD:
            words = _words(text)
        words = words[:limit]
        whole: list[Any] = list(map(self.index.get, words))
        ids: list[int] = []
        done = 0
        for at in [i for i, known in enumerate(whole) if known is None]:
            ids += whole[done:at]
            ids += self._cut(words[at])
            done = at + 1
            if len(ids) >= limit:
                break
        return (ids + whole[done:])[:limit]

    def counts(self, text: str, tally: Mapping[str, int], limit: int = LIMIT) -> Mapping[int, int]:
        """Return how often each of the first `limit` pieces stands in a text; `tally` counts its `lexical.words`.

        They are also the words to cut where the text is ASCII without controls and underscores, and it takes no time
        to count the marks between them; unless there are too many pieces, nothing hangs on their order.
        """
        plain = text.isascii() and "_" not in text and len(text.translate(_ASCII_CONTROL)) == len(text)
        if not plain:
            return Counter(self.ids(text, limit))
        known = {**tally, **{mark: text.count(mark) for mark in _MARKS if mark in text}}
        if sum(known.values()) > limit:
            return Counter(self.ids(text, limit))
        whole = list(map(self.index.get, known))
        found: dict[Any, int] = dict(zip(whole, known.values(), strict=True))
        if found.pop(None, None) is not None:
            for word, times in [(w, n) for (w, n), piece in zip(known.items(), whole, strict=True) if piece is None]:
                for piece in self._cut(word):
                    found[piece] = found.get(piece, 0) + times
        return found if sum(found.values()) <= limit else Counter(self.ids(text, limit))

    def _cut(self, word: str) -> list[int]:
        known = self.memory.get(word)
        if known is None:
            known = self._longest_first(word)
            if len(self.memory) < REMEMBERED:
                self.memory[word] = known
        return known

    def _longest_first(self, word: str) -> list[int]:
        """Take the longest piece from the left, again and again; a word with a rest that has none is unknown."""
        index = self.index
        if len(word) > LONGEST_WORD:
            return [index[UNKNOWN]]
        ids: list[int] = []
        start, prefix = 0, ""
        while start < len(word):
            for end in range(min(len(word), start + self.longest), start, -1):
                piece = index.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return [index[UNKNOWN]]
            ids.append(piece)
            start, prefix = end, "##"
        return ids


@dataclass(frozen=True, slots=True, eq=False)
class TokenVectors:
    """A vector for each word piece, distilled from a sentence-transformer."""

    pieces: WordPiece
    vectors: Vectors

    def embed(self, text: str, tally: Mapping[str, int]) -> NDArray[np.float64]:
        """Return the vector of a text of so many words, not normalised, shape (columns,); zero without a piece."""
        return self.vectors.added(self.pieces.counts(text, tally))


def _words(text: str) -> Sequence[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text.translate(_ASCII_CONTROL).lower())
    return "".join(map(_folded, text)).split()


@lru_cache(maxsize=1 << 16)
def _folded(character: str) -> str:
    """Return a character in lower case without accents; white space around it where it is a word of its own."""
    if character in "\t\n\r":
        return " "
    if character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs"):
        return ""
    if character.isspace():
        return " "
    plain = [c for c in unicodedata.normalize("NFD", character) if unicodedata.category(c) != "Mn"]
    if any(low <= ord(character) <= high for low, high in _IDEOGRAPHS):
        plain = [" ", *plain, " "]
    return "".join(f" {c} " if _is_punctuation(c) else c.lower() for c in plain)


def _is_punctuation(character: str) -> bool:
    if character.isascii():
        return not character.isalnum() and not character.isspace()
    return unicodedata.category(character)[0] == "P"
