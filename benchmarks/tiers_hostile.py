"""Look-alikes that ask for what belongs to another partition."""

import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from beastmode.cache import Cache, CacheSettings, Memory, Partition, Question, Semantic, Sqlite

Asked = dict[str, Any]
"""The fields of a partition, and `text`."""

_LETTERS = {"a": "а", "e": "е", "o": "о", "c": "с", "i": "і"}  # Latin, Cyrillic
_PIECES = (
    "",
    " ",
    "\x00",
    '"',
    "\\",
    "\u200b",
    "\ufeff",
    '","tenant":"',
    "]",
    "}",
    "\n",
    "|",
    ":",
    "/",
    "None",
    "null",
)
_KINDS: tuple[Any, ...] = (0, 0.0, -0.0, False, "0", None, "", [], {}, [[]], [None], "None", "null", 1, 1.0, True, "1")


class Accepting:
    """A verifier that is fooled by everything, so that the partition alone protects."""

    threshold = 0.0

    def accepts(self, question: str, stored_question: str, cosine: float) -> float:
        """Return that it is the same."""
        return 1.0


class Constant:
    """An encoder for which all texts are one."""

    embedding = slice(0, 2)

    def encode(self, texts: Any) -> Any:
        """Return the same vector for each."""
        return np.ones((len(texts), 2), dtype=np.float32)


def hostile(tries: int, scratch: Path, seed: int) -> dict[str, Any]:
    """Return how many of so many look-alikes were served what belongs to another partition.

    The semantic tier takes all texts for one, so that whatever is found in a partition is served. Whether two
    partitions are one is decided here by comparing their parts, kinds included, and by no digest.
    """
    rng = random.Random(seed)
    semantic = Semantic(Constant(), Accepting(), quarantine_seconds=0, canary_share=0, floor=-1.0)
    victims = [_victim(rng, number) for number in range(300)]
    crossed = served = 0
    with Cache(
        [Memory(1 << 28), Sqlite(scratch / "hostile.sqlite"), semantic], CacheSettings(ttl_seconds=1e9)
    ) as cache:
        known = {}
        for number, victim in enumerate(victims):
            cache.put(_question(victim), number)
            known[number] = _frozen(victim)
        made = 0
        while made < tries:
            asked = rng.choice(victims)
            for _ in range(rng.randint(1, 3)):
                asked = rng.choice(_TRICKS)(rng, asked)
            same = _frozen(asked)
            made += 1
            answer = cache.get(_question(asked))
            if answer is not None:
                served += 1
                crossed += known[answer.value] != same
    return {"tries": made, "crossed": crossed, "served_in_its_own_partition": served}


def _question(asked: Asked) -> Question:
    return Question(Partition(**{name: value for name, value in asked.items() if name != "text"}), asked["text"])


def _victim(rng: random.Random, number: int) -> Asked:
    def word() -> str:
        return "".join(rng.choice("aeiocx\u00e9 ") for _ in range(rng.randint(1, 6)))

    return {
        "model": rng.choice(("m", "m-1", word())),
        "tenant": rng.choice((None, "", word(), f"t{number}")),
        "parameters": {"temperature": rng.choice(_KINDS), word(): {word(): rng.choice(_KINDS)}},
        "system": tuple({"role": "system", "content": word()} for _ in range(rng.randint(0, 2))),
        "conversation": tuple(
            {"role": rng.choice(("user", "assistant", "tool")), "content": word()} for _ in range(rng.randint(0, 3))
        ),
        "tools": tuple({"name": word()} for _ in range(rng.randint(0, 2))),
        "context": {word(): word()},
        "needs": {},
        "epochs": {word(): rng.choice((1, "1", 2))},
        "text": word(),
    }


def _frozen(value: Any) -> Any:
    """Return plain data as something that is equal where data and kinds are; of a request, all but the text."""
    if isinstance(value, dict):
        return ("map", tuple(sorted((name, _frozen(inner)) for name, inner in value.items() if name != "text")))
    if isinstance(value, list | tuple):
        return ("list", tuple(_frozen(inner) for inner in value))
    # repr, because -0.0 == 0.0.
    return (type(value).__name__, repr(value))


def _on_text(change: Callable[[random.Random, str], str]) -> Callable[[random.Random, Asked], Asked]:
    def trick(rng: random.Random, asked: Asked) -> Asked:
        name = rng.choice(("model", "tenant", "text", "system", "conversation", "tools", "context", "epochs"))
        return {**asked, name: _somewhere(rng, asked[name], change)}

    return trick


def _somewhere(rng: random.Random, value: Any, change: Callable[[random.Random, str], str]) -> Any:
    """Change one text inside a value."""
    if isinstance(value, str):
        return change(rng, value)
    if isinstance(value, dict) and value:
        name = rng.choice(sorted(value))
        return {**value, name: _somewhere(rng, value[name], change)}
    if isinstance(value, tuple) and value:
        at = rng.randrange(len(value))
        return (*value[:at], _somewhere(rng, value[at], change), *value[at + 1 :])
    return value


def _insert(rng: random.Random, text: str) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + rng.choice(_PIECES) + text[at:]


def _confuse(rng: random.Random, text: str) -> str:
    return "".join(_LETTERS.get(letter, letter) if rng.random() < 0.5 else letter for letter in text)


def _normal(rng: random.Random, text: str) -> str:
    return unicodedata.normalize(rng.choice(("NFC", "NFD", "NFKC", "NFKD")), text)


def _case(rng: random.Random, text: str) -> str:
    return rng.choice((text.upper(), text.strip(), text.casefold(), text + " "))


def _slide(rng: random.Random, asked: Asked) -> Asked:
    """Move the border between two neighbouring texts."""
    names = rng.sample(("model", "tenant", "text"), 2)
    joined = "".join(str(asked[name]) if asked[name] is not None else "" for name in names)
    at = rng.randint(0, len(joined))
    return {**asked, names[0]: joined[:at], names[1]: joined[at:]}


def _kind(rng: random.Random, asked: Asked) -> Asked:
    """Replace a parameter's value by another that looks like it."""
    name = rng.choice(sorted(asked["parameters"]) or ["temperature"])
    return {**asked, "parameters": {**asked["parameters"], name: rng.choice(_KINDS)}}


def _shift(rng: random.Random, asked: Asked) -> Asked:
    """Move an element from one list to another, or change the order."""
    source, target = rng.choice(("system", "conversation", "tools")), rng.choice(("system", "conversation", "tools"))
    if not asked[source]:
        return asked
    moved = asked[source][-1]
    taken = {**asked, source: asked[source][:-1]}
    return {**taken, target: (moved, *taken[target])}


def _swap(rng: random.Random, asked: Asked) -> Asked:
    """Exchange two maps, or fold one into text."""
    one, other = rng.sample(("parameters", "context", "epochs", "needs"), 2)
    return {**asked, one: asked[other], other: asked[one]}


_TRICKS = (*map(_on_text, (_insert, _confuse, _normal, _case)), _slide, _kind, _shift, _swap)
