"""The hard partition key: everything that must be equal before two requests may share an answer."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Self

from beastmode.errors import CacheError
from beastmode.records import Message, Needs, Request

VERSION = "beastmode cache 1"
"""The first thing that is hashed: another way to make keys never meets the keys of this one."""

_NEEDS = Needs()
_SHAPING = tuple(name for name in Needs.__slots__ if name not in ("budget_usd", "deadline_ms"))
"""Needs that an answer has to meet. What one may cost and how long it may take is no property of the answer: a held
one costs nothing and is there at once."""

Epochs = Mapping[str, str | int]


def canonical(value: Any) -> bytes:
    """Return plain data as the one JSON text that equal data, and only equal data, have.

    Kinds are kept apart (1, 1.0, true and "1" differ), keys are sorted, text is neither normalised nor escaped.
    Raises CacheError on what JSON does not know, and on keys that are no text: JSON would make 1 and "1" one key.

    >>> canonical({"b": 1, "a": ["x", None]})
    b'{"a":["x",null],"b":1}'
    """
    _require_plain(value)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict)
    return text.encode("utf-8", "surrogatepass")


def _require_plain(value: Any) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise CacheError(f"cache key: {name!r} is no text, as a key of {value!r:.80}; spell it as a string")
            _require_plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _require_plain(inner)
    elif value is not None and not isinstance(value, str | int | float | bool):
        raise CacheError(f"cache key: {value!r:.80} is a {type(value).__name__}; pass plain JSON data")


@dataclass(frozen=True)
class Partition:
    """Within one partition an answer may serve another request; nothing ever crosses from one to another.

    `digest` (32 bytes) comes before every lookup, exact or by vector.
    """

    model: str
    """The model that answers, or the policy that chooses one."""
    tenant: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Temperature, seed, response format: whatever shapes the answer."""
    system: Sequence[Message] = ()
    """The system and developer messages that come first; where others follow later matters, so they stay below."""
    conversation: Sequence[Message] = ()
    """Every other message but the question, in order, and what the question's own message holds beside its text."""
    tools: Sequence[Mapping[str, Any]] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, Any] = field(default_factory=dict)
    """What the answer has to meet: tools, JSON, vision, length, regions; neither budget nor deadline."""
    epochs: Epochs = field(default_factory=dict)
    """The version of each source of knowledge, by its name: a new one leaves every answer from the old one behind."""
    digest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Two names that look alike or hold each other's separators stay apart: JSON quotes, and nothing is folded.
        names = [name for name in self.__dataclass_fields__ if name != "digest"]
        told = canonical([VERSION, *(getattr(self, name) for name in names)])
        object.__setattr__(self, "digest", hashlib.sha256(told).digest())

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked up: a text inside a partition."""

    partition: Partition
    text: str
    asker: str | None = None
    """Who asks, for the quarantine of new entries; no part of the key."""
    whole: bool = field(default=False, compare=False, repr=False)
    """Whether the partition's conversation holds the text already."""
    key: bytes = field(init=False, repr=False)
    """32 bytes: the exact text within its partition."""

    def __post_init__(self) -> None:
        # The partition's digest has one length, so no text can pretend to be the end of another partition.
        data = self.partition.digest + self.text.encode("utf-8", "surrogatepass")
        object.__setattr__(self, "key", hashlib.sha256(data).digest())

    @property
    def messages(self) -> tuple[Message, ...]:
        """The chat messages that it was taken from."""
        told = (*self.partition.system, *self.partition.conversation)
        if self.whole:
            return told
        last = self.partition.conversation[-1] if self.partition.conversation else {"role": "system"}
        if last.get("role") == "user" and "content" not in last:
            return (*told[:-1], {**last, "content": self.text})
        # Where a user or a tool spoke last the whole conversation is there already.
        return told if last.get("role") in ("user", "tool") else (*told, {"role": "user", "content": self.text})

    @classmethod
    def of(
        cls,
        request: Request,
        model: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        epochs: Epochs | None = None,
        normalise: Callable[[str], str] | None = None,
    ) -> Self:
        """Take a request apart: the text of its last message is the question where a user spoke last.

        Else (a tool's result came last, an image or several pieces of text) the whole conversation is partition, and
        only the same conversation finds the answer.
        """
        messages = request.messages
        system = tuple(takewhile(lambda message: message.get("role") in ("system", "developer"), messages))
        rest = list(messages[len(system) :])
        whole = not (rest and rest[-1].get("role") == "user" and isinstance(rest[-1].get("content"), str))
        if not whole:
            rest[-1] = {name: value for name, value in rest[-1].items() if name != "content"}
        needs = {name: value for name in _SHAPING if (value := getattr(request.needs, name)) != getattr(_NEEDS, name)}
        partition = Partition(
            model, request.tenant, parameters or {}, system, tuple(rest), tuple(tools), request.context, needs,
            epochs or {},
        )  # fmt: skip
        text = request.text
        said = text if normalise is None else normalise(text)
        return cls(partition, said, request.unit or request.session_id, whole)
