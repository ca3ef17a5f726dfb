"""What a question says, in plain parts that two questions can be compared by."""

import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from beastmode.cache.lexicon import ASKING, NEGATIONS, NUMBERS, SAME

BUCKETS = 1 << 14
"""Places of the table of rarities: words are hashed, so that it holds no logged text."""
MOST_WORDS = 48
"""Words of a question that are compared; of a longer one no more than its beginning is read."""
MOST_CHARACTERS = 1024
"""Characters that are read, likewise."""

_WORD = re.compile(r"[^\W_]+(?:\+\+|#)?")
_SHORT = (("can't", "can not"), ("cannot", "can not"), ("won't", "will not"), ("n't", " not"), ("'re", " are"),
          ("'ll", " will"), ("'ve", " have"), ("'m", " am"), ("'s", ""), ("'d", " would"))  # fmt: skip
_WHATS = re.compile(r"\b(what|where|who|how|when|that|there|it|he|she)'?s\b")
_STANDING = SAME | NUMBERS
_COMMA = re.compile(r"(?<=\d)[,.](?=\d)")
_DIGIT = re.compile(r"\d")
_SIGN = re.compile(
    r"(?<!\d)\d+(?:\.\d+)+|(?<!\d)\d+,\d{1,2}(?!\d)|(?<![^\W\d_])[-−/]\s*(?=\d)"
    r"|[^\w\s.,;:!?'\"()\[\]{}\-−/–—…`´‘’“”«»¿¡]"
)
"""What words leave out and what may turn a question round: fractions, a minus or a slash at a number, and every mark
that is no punctuation (operators, currencies, percents, emoji)."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A question, read."""

    words: tuple[str, ...]
    """In lower case, contractions written out, words that ask the same by one of them."""
    bag: frozenset[str]
    numbers: tuple[str, ...]
    names: frozenset[str]
    """Words with a capital inside a sentence, in lower case."""
    negations: int
    grams: frozenset[str]
    asks: tuple[str, ...]
    """The question words, in order."""
    repeats: bool
    """Whether a word stands there more than once."""
    cut: bool
    """Whether there is more than was read."""
    signs: tuple[str, ...]
    """In order, what is said beside words."""


def read(text: str) -> Reading:
    """Read a question; what was read lately is remembered."""
    # Of the rest no more is kept than that there is one: prompts may be long, and many are remembered.
    return _read(text[: MOST_CHARACTERS + 1])


@lru_cache(maxsize=1 << 14)
def _read(text: str) -> Reading:
    seen = text[:MOST_CHARACTERS].replace("’", "'").replace("‘", "'")
    names = frozenset(_names(seen))
    lower = seen.lower()
    lower = _WHATS.sub(r"\1 is", lower)
    if "'" in lower or "cannot" in lower:
        for short, long in _SHORT:
            lower = lower.replace(short, long)
    every = _WORD.findall(_COMMA.sub("", lower))
    raw = every[:MOST_WORDS]
    words = tuple([_STANDING.get(word, word) for word in raw])
    bag = frozenset(words)
    numbers = [NUMBERS.get(word, word) for word in raw if word in NUMBERS or _DIGIT.search(word)]
    flat = " " + " ".join(words) + " "
    return Reading(
        words=words,
        bag=bag,
        numbers=tuple(sorted(numbers)),
        names=names,
        negations=sum([word in NEGATIONS for word in words]),
        grams=frozenset(map("".join, zip(flat, flat[1:], flat[2:], strict=False))),
        asks=tuple([word for word in raw if word in ASKING]),
        repeats=len(bag) < len(words),
        cut=len(text) > MOST_CHARACTERS or len(every) > MOST_WORDS,
        signs=tuple([sign.rstrip() for sign in _SIGN.findall(seen)]),
    )


def _names(text: str) -> list[str]:
    """Return words with a capital that do not begin a sentence."""
    found, begins = [], True
    for word in text.split():
        if not begins and not word.islower():
            bare = word.strip("\"'()[]{}.,;:!?*`")
            if bare[:1].isupper() and len(bare) > 1:
                found.append(bare.lower().removesuffix("'s"))
        begins = word[-1] in ".?!:"
    return found


@lru_cache(maxsize=1 << 14)
def stem(word: str) -> str:
    """Return a word without the endings that seldom change what is asked.

    >>> stem("studies"), stem("running"), stem("is")
    ('study', 'run', 'is')
    """
    if len(word) < 4 or word.isdigit():
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "ly", "er"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            root = word[: -len(ending)]
            return root[:-1] if len(root) > 3 and root[-1] == root[-2] and root[-1] not in "ls" else root.rstrip("e")
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word.rstrip("e")


@dataclass(frozen=True, slots=True, eq=False)
class Rarity:
    """How rare words are: log((1 + questions) / (1 + questions with the word)), by the word's hash."""

    table: NDArray[np.float32]
    """(BUCKETS,)"""
    known: "_Known"

    @classmethod
    def of(cls, table: NDArray[np.float32]) -> Self:
        """Make it of a table; raises ValueError where that is no table of rarities."""
        if table.shape != (BUCKETS,) or table.dtype != np.float32 or not np.isfinite(table).all():
            raise ValueError(f"rarity: {table.dtype} of shape {table.shape}, expected finite float32 ({BUCKETS},)")
        return cls(table, _Known(table))

    def __call__(self, word: str) -> float:
        """Return the rarity of a word."""
        return self.known[word]

    def each(self, words: Iterable[str]) -> list[float]:
        """Return the rarity of every word."""
        return [*map(self.known.__getitem__, words)]

    def total(self, words: Iterable[str]) -> float:
        """Return the sum over some words."""
        return math.fsum(map(self.known.__getitem__, words))


class _Known(dict[str, float]):
    """Words met before, so that a word is hashed once; it stops growing at BUCKETS."""

    def __init__(self, table: NDArray[np.float32]) -> None:
        self._table = table

    def __missing__(self, word: str) -> float:
        found = float(self._table[bucket(word)])
        if len(self) < BUCKETS:
            self[word] = found
        return found


def bucket(word: str) -> int:
    """Return a word's place in the table of rarities."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % BUCKETS
