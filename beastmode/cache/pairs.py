"""What tells two questions apart: the features of a pair, the same in training and in serving."""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from beastmode.cache.lexicon import JOINING, PARTNERS, PREFIXES, SMALL
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
    """Return the features of a pair, in the order of `NAMES`; some twenty microseconds for two short questions."""
    a, b = read(question), read(stored)
    common = a.bag & b.bag
    here, there = a.bag - common, b.bag - common
    if a.repeats or b.repeats:
        # A word that stands twice here and once there is one that only this side has.
        here |= {word for word in common if a.words.count(word) > b.words.count(word)}
        there |= {word for word in common if b.words.count(word) > a.words.count(word)}
    shared, mine, its = rarity.total(common), rarity.total(here), rarity.total(there)
    left = _left(a, b, here, there)
    apart = [*left.here, *left.there]
    rare = rarity.each(apart)
    order, turned = _order(a, b)
    exchanged = turned and _exchanged(a.words, b.words)
    numbers = _apart(a.numbers, b.numbers)
    names = _names_apart(a, b)
    negations = abs(a.negations - b.negations)
    matched = shared + sum(rarity.each(left.matched))
    whole = max(shared + mine + its, 1e-9)
    small = len(here & SMALL) + len(there & SMALL)
    # Signs of one kind stand for all: what is learned of the kinds that were seen holds for the others.
    changes = (numbers > 0) + (negations > 0) + (left.opposites > 0) + exchanged + (names > 0 and bool(apart))
    short, long = len(a.words), len(b.words)
    if short > long:
        short, long = long, short
    longest = max(long, 1)
    return (
        cosine,
        len(common) / max(len(a.bag) + len(b.bag) - len(common), 1),
        shared / whole,
        shared / max(shared + max(mine, its), 1e-9),
        shared / max(shared + min(mine, its), 1e-9),
        2 * len(a.grams & b.grams) / max(len(a.grams) + len(b.grams), 1),
        matched / max(matched + sum(rare), 1e-9),
        max(rare, default=0.0),
        sum(rare),
        float(len(apart)),
        float(len(left.here)),
        float(len(left.there)),
        short / longest,
        math.log1p(long),
        float(a.asks == b.asks or set(a.asks) == set(b.asks)),
        float(a.asks[:1] == b.asks[:1]),
        _begun_alike(a.words, b.words) / longest,
        _ended_alike(a.words, b.words) / longest,
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
    matched: list[str]
    """The words of both sides that found one."""
    opposites: int


def _left(a: Reading, b: Reading, here: frozenset[str], there: frozenset[str]) -> _Left:
    """Match the words that only one side has: inflected, mistyped, or opposite."""
    mine, its = _first(a, here), _first(b, there)
    if not mine or not its:
        return _Left([w for w in mine if w not in SMALL], [w for w in its if w not in SMALL], [], 0)
    opposites = _opposites(mine, its)
    mine, its = [word for word in mine if word not in SMALL], [word for word in its if word not in SMALL]
    matched: list[str] = []
    for word in [*mine]:
        first, last = word[0], word[-1]
        for other in its:
            if (first == other[0] or last == other[-1]) and _one_word(word, other):
                matched += (word, other)
                mine.remove(word)
                its.remove(other)
                break
    return _Left(mine, its, matched, opposites)


def _first(read: Reading, among: frozenset[str]) -> list[str]:
    """Return the first distinct words of a question that lie in a set."""
    if not among:
        return []
    words = dict.fromkeys(read.words) if read.repeats else read.words
    return [word for word in words if word in among][:MOST_LEFT]


def _opposites(mine: Sequence[str], its: Sequence[str]) -> int:
    """Return how many words of one side turn one of the other round: by the lexicon, by a prefix or by an ending."""
    count = 0
    for word in mine:
        partners = PARTNERS.get(word)
        if partners:
            count += len(partners.intersection(its))
    # What a prefix or an ending turns round ends in the same four letters, or one of both in `less`.
    tails, others = {word[-4:] for word in mine}, {word[-4:] for word in its}
    if not tails.isdisjoint(others) or "less" in tails or "less" in others:
        count += sum([_turned(a, b) and b not in PARTNERS.get(a, ()) for a in mine for b in its])
    return count


def _turned(a: str, b: str) -> bool:
    """Return whether a prefix or an ending turns one word into the other.

    >>> _turned("useful", "useless"), _turned("possible", "impossible"), _turned("possible", "possibly")
    (True, True, False)
    """
    short, long = (a, b) if len(a) < len(b) else (b, a)
    if len(short) < 4:
        return False
    if long.endswith(short):
        return long.removesuffix(short) in PREFIXES
    return short.endswith("ful") and long == short[:-3] + "less"


def _one_word(a: str, b: str) -> bool:
    """Return whether two words that begin or end alike are one, inflected or mistyped; numbers never are."""
    if a.isdigit() or b.isdigit() or b in PARTNERS.get(a, ()) or _turned(a, b):
        return False
    if stem(a) == stem(b):
        return True
    longer = max(len(a), len(b))
    if min(len(a), len(b)) < 4 or abs(len(a) - len(b)) > 2:
        return False
    # All but about two letters must lie in what both begin or end with.
    if _begun_alike(a, b) + _ended_alike(a, b) >= longer - 2:
        one, two = set(pairwise(a)), set(pairwise(b))
        if 2 * len(one & two) / (len(one) + len(two)) > TYPO:
            return True
    return sorted(a) == sorted(b)


def _begun_alike(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many first items are the same."""
    count = 0
    for one, two in zip(a, b, strict=False):
        if one != two:
            break
        count += 1
    return count


def _ended_alike(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many last items are the same."""
    count = 0
    for one, two in zip(reversed(a), reversed(b), strict=False):
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
    theirs = {word: i for i, word in reversed([*enumerate(b.words)])}
    places = [theirs[word] for word in (dict.fromkeys(a.words) if a.repeats else a.words) if word in theirs]
    share = 0.0
    if places != sorted(places):
        wrong = sum([one > two for one, two in combinations(places, 2)])
        share = 2 * wrong / (len(places) * (len(places) - 1))
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
