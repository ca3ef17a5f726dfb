"""What tells two questions apart: the features of a pair, the same in training and in serving."""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from beastmode.cache.lexicon import JOINING, OPPOSITE, PREFIXES, SMALL
from beastmode.cache.reading import Rarity, Reading, read, stem

NAMES = (
    "cosine",
    "word_overlap",
    "rare_overlap",
    "rare_held_least",
    "rare_held_most",
    "gram_overlap",
    "soft_overlap",
    "left_rarest",
    "left_rare_sum",
    "left_words",
    "only_here",
    "only_there",
    "length_ratio",
    "words",
    "same_asking",
    "first_asking",
    "begins_alike",
    "ends_alike",
    "numbers_apart",
    "numbers_shared",
    "names_apart",
    "names_shared",
    "negations_apart",
    "opposites",
    "order_apart",
    "exchanged",
    "small_changes",
    "changes",
    "lone_change",
)
"""The columns of `features`."""

RISING = {"cosine", "word_overlap", "rare_overlap", "gram_overlap", "soft_overlap"}
"""Columns of which more never makes two questions less alike."""
FALLING = {
    "left_rarest",
    "numbers_apart",
    "negations_apart",
    "opposites",
    "order_apart",
    "exchanged",
    "changes",
    "lone_change",
}
"""Columns of which more never makes them more alike."""

TYPO = 0.5
"""The least share of letter pairs in common at which two words pass for one word mistyped."""
MOST_LEFT = 8
"""Words of one question that are looked for in the other."""


def features(question: str, stored: str, cosine: float, rarity: Rarity) -> tuple[float, ...]:
    """Return the features of a pair, in the order of `NAMES`; some tens of microseconds for two short questions."""
    a, b = read(question), read(stored)
    common = a.bag & b.bag
    here, there = a.bag - common, b.bag - common
    if len(a.bag) < len(a.words) or len(b.bag) < len(b.words):
        # A word that stands twice here and once there is one that only this side has.
        here |= {word for word in common if a.words.count(word) > b.words.count(word)}
        there |= {word for word in common if b.words.count(word) > a.words.count(word)}
    shared, mine, its = rarity.total(common), rarity.total(here), rarity.total(there)
    left = _left(a, b, here, there)
    apart = [*left.here, *left.there]
    rare = [rarity(word) for word in apart]
    order, turned = _order(a, b)
    exchanged = turned and _exchanged(a.words, b.words)
    numbers = _apart(a.numbers, b.numbers)
    names = _names_apart(a, b)
    negations = abs(a.negations - b.negations)
    grams = len(a.grams & b.grams)
    matched = shared + left.matched_rarity(rarity)
    whole = max(shared + mine + its, 1e-9)
    small = sum(word in SMALL for word in here) + sum(word in SMALL for word in there)
    # Signs of one kind stand for all: what is learned of the kinds that were seen holds for the others.
    changes = (numbers > 0) + (negations > 0) + (left.opposites > 0) + exchanged + (names > 0 and bool(apart))
    counts = sorted((len(a.words), len(b.words)))
    return (
        cosine,
        len(common) / max(len(a.bag | b.bag), 1),
        shared / whole,
        shared / max(shared + max(mine, its), 1e-9),
        shared / max(shared + min(mine, its), 1e-9),
        2 * grams / max(len(a.grams) + len(b.grams), 1),
        matched / max(matched + sum(rare), 1e-9),
        max(rare, default=0.0),
        sum(rare),
        float(len(apart)),
        float(len(left.here)),
        float(len(left.there)),
        counts[0] / max(counts[1], 1),
        math.log1p(counts[1]),
        float(set(a.asks) == set(b.asks)),
        float(a.asks[:1] == b.asks[:1]),
        _alike(a.words, b.words) / max(counts[1], 1),
        _alike(a.words[::-1], b.words[::-1]) / max(counts[1], 1),
        float(numbers),
        float(bool(a.numbers) and a.numbers == b.numbers),
        float(names),
        float(len(a.names & b.bag)),
        float(negations),
        float(left.opposites),
        order,
        float(exchanged),
        float(small),
        float(changes),
        # All else equal, one sign is enough; two questions that differ in everything may well have a number apart.
        float(changes > 0 and small <= 2 and max(len(left.here), len(left.there)) <= 1),
    )


class _Left(NamedTuple):
    """What remains of each side when words have found their likes on the other."""

    here: list[str]
    there: list[str]
    pairs: list[tuple[str, str]]
    opposites: int

    def matched_rarity(self, rarity: Rarity) -> float:
        return sum(rarity(a) + rarity(b) for a, b in self.pairs)


def _left(a: Reading, b: Reading, here: frozenset[str], there: frozenset[str]) -> _Left:
    """Match the words that only one side has: inflected, mistyped, or opposite."""
    mine = [word for word in dict.fromkeys(a.words) if word in here][:MOST_LEFT]
    its = [word for word in dict.fromkeys(b.words) if word in there][:MOST_LEFT]
    opposites = sum((word, other) in OPPOSITE or _turned_round(word, other) for word in mine for other in its)
    mine, its = [word for word in mine if word not in SMALL], [word for word in its if word not in SMALL]
    pairs = []
    for word in list(mine):
        for other in its:
            if _one_word(word, other):
                pairs.append((word, other))
                mine.remove(word)
                its.remove(other)
                break
    return _Left(mine, its, pairs, opposites)


def _turned_round(a: str, b: str) -> bool:
    short, long = (a, b) if len(a) < len(b) else (b, a)
    if len(short) < 4:
        return False
    if long.endswith(short):
        return long.removesuffix(short) in PREFIXES
    return (short.endswith("ful") and long == short[:-3] + "less") or (
        short.endswith("ful") and a[:-4] == b[:-4] and long.endswith("less")
    )


def _one_word(a: str, b: str) -> bool:
    """Return whether two words are one, inflected or mistyped; numbers never are."""
    if a[0] != b[0] and a[-1] != b[-1]:
        return False
    if a.isdigit() or b.isdigit() or (a, b) in OPPOSITE or _turned_round(a, b):
        return False
    if stem(a) == stem(b):
        return True
    if min(len(a), len(b)) < 4 or abs(len(a) - len(b)) > 2:
        return False
    if sorted(a) == sorted(b):
        return True
    one, two = set(pairwise(a)), set(pairwise(b))
    return 2 * len(one & two) / (len(one) + len(two)) > TYPO and _begin_or_end(a, b)


def _begin_or_end(a: str, b: str) -> bool:
    """Return whether all but about two letters lie in what two words begin or end with alike."""
    return _alike(a, b) + _alike(a[::-1], b[::-1]) >= max(len(a), len(b)) - 2


def _alike(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many first items are the same."""
    count = 0
    for one, two in zip(a, b, strict=False):
        if one != two:
            break
        count += 1
    return count


def _apart(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many items, counted as often as they stand there, only one side has."""
    if a == b:
        return 0
    return sum(abs(a.count(item) - b.count(item)) for item in {*a, *b})


def _names_apart(a: Reading, b: Reading) -> int:
    """Return how many names of each side the other does not mention, in whatever case."""
    mine = {stem(word) for word in a.names - b.bag}
    its = {stem(word) for word in b.names - a.bag}
    return len(mine ^ its) if mine or its else 0


def _order(a: Reading, b: Reading) -> tuple[float, bool]:
    """Return the share of pairs of common words in another order, and whether only the order differs."""
    if a.words == b.words:
        return 0.0, False
    where = {word: i for i, word in reversed(list(enumerate(b.words)))}
    places = [where[word] for word in dict.fromkeys(a.words) if word in where]
    wrong = sum(one > two for one, two in combinations(places, 2))
    share = 2 * wrong / max(len(places) * (len(places) - 1), 1)
    return share, a.bag == b.bag and sorted(a.words) == sorted(b.words)


def _exchanged(a: Sequence[str], b: Sequence[str]) -> bool:
    """Return whether two words, one of weight at least, have changed places, as in `from A to B`.

    Neighbours that change places (`fast online`) and both sides of `and` or `or` ask the same in nearly every pair.
    """
    places = [i for i, (one, two) in enumerate(zip(a, b, strict=False)) if one != two]
    if len(a) != len(b) or len(places) != 2:
        return False
    first, last = places
    weighty = a[first] not in SMALL or a[last] not in SMALL
    # Every article is read as `an`.
    between = set(a[first + 1 : last]) - {"an"}
    symmetric = bool(between) and between <= JOINING
    return weighty and a[first] == b[last] and last - first > 1 and not symmetric
