"""Edit questions by rule: changes that turn what is asked, and changes that leave it as it is."""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from beastmode.cache.lexicon import JOINING, NUMBERS, OPPOSITES, SMALL

Rule = Callable[[list[str], random.Random, Sequence[str]], list[str] | None]
"""Takes a question's words, a source of chance and names from other questions; None where it does not apply."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A question and its edited form."""

    text: str
    edited: str
    family: str
    same: bool
    """Whether both ask the same."""
    place: int
    """Of the question among those that were given."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBER = re.compile(r"\d+")
_AUXILIARY = _set("is are was were do does did can could should would will has have may must")
_PARTNER: dict[str, list[str]] = {}
for _pair in OPPOSITES:
    _a, _b = _pair.split()
    _PARTNER.setdefault(_a, []).append(_b)
    _PARTNER.setdefault(_b, []).append(_a)


def _number(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    spots = [i for i, word in enumerate(words) if _NUMBER.search(word) or word.lower() in NUMBERS]
    if not spots:
        return None
    at = rng.choice(spots)
    if not _NUMBER.search(words[at]):
        return _put(words, at, rng.choice([name for name in NUMBERS if name != words[at].lower()]))
    step = rng.choice((-2, -1, 1, 2, 3, 10))
    changed = _NUMBER.sub(lambda found: str(abs(int(found[0]) + step)), words[at], count=1)
    return None if changed == words[at] else _put(words, at, changed)


def _negation(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    spots = [i for i, word in enumerate(words) if word.lower() in ("not", "never", "without")]
    if spots:
        at = spots[0]
        return [*words[:at], *(["with"] if words[at].lower() == "without" else []), *words[at + 1 :]]
    spots = [i for i, word in enumerate(words[:-1]) if word.lower() in _AUXILIARY]
    if not spots:
        return None
    at = rng.choice(spots) + 1
    # After the subject where it is one short word, as people write.
    at += words[at].lower() in ("i", "you", "we", "they", "he", "she", "it") and at < len(words) - 1
    return [*words[:at], rng.choice(("not", "not", "never")), *words[at:]]


def _antonym(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    spots = [i for i, word in enumerate(words) if _bare(word).lower() in _PARTNER]
    if not spots:
        return None
    at = rng.choice(spots)
    return _swap_core(words, at, rng.choice(_PARTNER[_bare(words[at]).lower()]))


def _entity(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    spots = [i for i, word in enumerate(words) if i and is_name(word)]
    if not spots or not names:
        return None
    at = rng.choice(spots)
    other = rng.choice(names)
    return None if other == _bare(words[at]) else _swap_core(words, at, other)


def _swap(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    """Exchange two words of weight with others between them, as `from A to B` becomes `from B to A`."""
    return _exchange(words, rng, lambda between: bool(between) and not JOINING.issuperset(between))


def _exchange(words: list[str], rng: random.Random, fits: Callable[[list[str]], bool]) -> list[str] | None:
    spots = [i for i, word in enumerate(words) if i and _bare(word) and word.lower() not in SMALL]
    found = [
        (a, b)
        for a, b in [*pairwise(spots), *zip(spots, spots[2:], strict=False)]
        if _bare(words[a]).lower() != _bare(words[b]).lower() and fits([w.lower() for w in words[a + 1 : b]])
    ]
    if not found:
        return None
    one, two = rng.choice(found)
    return _swap_core(_swap_core(words, one, _bare(words[two])), two, _bare(words[one]))


HARMFUL: Mapping[str, Rule] = {
    "number": _number, "negation": _negation, "antonym": _antonym, "entity": _entity, "swap": _swap
}  # fmt: skip
"""Edits that turn the question, by family."""


def _case(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    return [word.lower() for word in words] if rng.random() < 0.7 else [word.upper() for word in words]


def _punctuation(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    last = words[-1].rstrip("?.!")
    return [*words[:-1], last + rng.choice(("", ".", "??", " ?", "?!"))] if last else None


def _typo(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    """Misspell one long word that is no name and no number: two letters exchanged, one lost or doubled."""
    spots = [i for i, word in enumerate(words) if len(word) > 5 and word.isalpha() and not (i and is_name(word))]
    if not spots:
        return None
    at = rng.choice(spots)
    word, cut = words[at], rng.randrange(1, len(words[at]) - 2)
    forms = (
        word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :],
        word[:cut] + word[cut + 1 :],
        word[:cut] + word[cut] + word[cut:],
    )
    return _put(words, at, rng.choice(forms))


def _article(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    spots = [i for i, word in enumerate(words) if word.lower() in ("a", "an", "the")]
    if not spots:
        return None
    at = rng.choice(spots)
    return (
        _put(words, at, "the" if words[at].lower() != "the" else "a")
        if rng.random() < 0.4
        else words[:at] + words[at + 1 :]
    )


_SYNONYMS = {
    "can": ("could",), "could": ("can",), "should": ("must", "ought to"), "i": ("we", "one", "you"),
    "my": ("our", "your"),
    "is": ("would be",), "how": ("in what way",), "which": ("what",), "get": ("obtain",), "buy": ("purchase",),
    "big": ("large",), "start": ("begin",), "best": ("top", "greatest"), "about": ("regarding",), "make": ("create",),
    "someone": ("somebody",), "really": ("actually",), "many": ("lots of",), "between": ("among",), "use": ("utilize",),
}  # fmt: skip


def _synonym(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    spots = [i for i, word in enumerate(words) if word.lower() in _SYNONYMS]
    if not spots:
        return None
    at = rng.choice(spots)
    return _put(words, at, rng.choice(_SYNONYMS[words[at].lower()]))


_SHORT = {"what is": "what's", "how is": "how's", "do not": "don't", "does not": "doesn't", "is not": "isn't",
          "can not": "can't", "it is": "it's", "i am": "I'm", "who is": "who's", "where is": "where's",
          "will not": "won't", "i have": "I've", "are not": "aren't", "that is": "that's"}  # fmt: skip


def _contraction(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    for at, (one, two) in enumerate(pairwise(words)):
        short = _SHORT.get(f"{one} {two}".lower())
        if short:
            return [*words[:at], short, *words[at + 2 :]]
    long = {short.lower(): both for both, short in _SHORT.items()}
    for at, word in enumerate(words):
        if word.lower() in long:
            return _put(words, at, long[word.lower()])
    return None


def _politeness(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    before = ("Please tell me:", "Hi,", "Quick question:", "Hello, ", "Just wondering,", "Can you tell me:")
    return (
        [rng.choice(before), *words] if rng.random() < 0.6 else [*words, rng.choice(("Thanks!", "please", "Thank you"))]
    )


def _plural(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    """Add or take the ending of one plain word, the small change that nearly every paraphrase holds."""
    spots = [i for i, word in enumerate(words) if len(word) > 4 and word.isalpha() and word.islower()]
    if not spots:
        return None
    at = rng.choice(spots)
    return _put(words, at, words[at][:-1] if words[at].endswith("s") else words[at] + "s")


def _reorder(words: list[str], rng: random.Random, names: Sequence[str]) -> list[str] | None:
    """Exchange both sides of `and` or `or`."""
    return _exchange(words, rng, lambda between: between in (["and"], ["or"]))


HARMLESS: Mapping[str, Rule] = {
    "case": _case, "punctuation": _punctuation, "typo": _typo, "article": _article, "synonym": _synonym,
    "contraction": _contraction, "politeness": _politeness, "plural": _plural, "reorder": _reorder,
}  # fmt: skip
"""Edits that leave the question as it is, by family."""


def edits(texts: Sequence[str], families: Iterable[str], seed: int, each: int = 1) -> Iterator[Edit]:
    """Yield edited questions: for every text up to `each` of the families that apply to it, drawn at random.

    Raises ValueError on a family that is in neither table.
    """
    known = {**HARMFUL, **HARMLESS}
    wanted = list(families)
    for family in wanted:
        if family not in known:
            raise ValueError(f"edits: unknown family {family!r}; there are {', '.join(known)}")
    rng = random.Random(seed)
    names = names_in(texts)
    for place, text in enumerate(texts):
        done = 0
        for family in rng.sample(wanted, len(wanted)):
            words = text.split()
            if done == each or len(words) < 3:
                break
            changed = known[family](words, rng, names)
            if changed is None or changed == words:
                continue
            done += 1
            yield Edit(text, " ".join(changed), family, family in HARMLESS, place)


def names_in(texts: Iterable[str]) -> list[str]:
    """Return the words with a capital that do not begin a question, in order."""
    return sorted({_bare(word) for text in texts for word in text.split()[1:] if is_name(word)})


def is_name(word: str) -> bool:
    """Return whether a word is spelt as a name, or as initials."""
    bare = _bare(word)
    return len(bare) > 1 and bare[0].isupper() and bare.isalpha()


def _bare(word: str) -> str:
    return word.strip("\"'()[]{}.,;:!?*`").removesuffix("'s").removesuffix("’s")


def _put(words: list[str], at: int, word: str) -> list[str]:
    shaped = word[:1].upper() + word[1:] if at == 0 and words[0][:1].isupper() else word
    return [*words[:at], shaped, *words[at + 1 :]]


def _swap_core(words: list[str], at: int, core: str) -> list[str]:
    """Put a word in the place of another, between the same marks."""
    bare = _bare(words[at])
    return _put(words, at, words[at].replace(bare, core, 1))
