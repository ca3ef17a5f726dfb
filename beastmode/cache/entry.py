"""One cached answer, and the bytes that it travels as: checked on arrival, never code."""

import hashlib
import json
import math
import struct
from typing import Any, NamedTuple

from beastmode.errors import CacheError

_MAGIC = b"BMC1"
_HEAD = struct.Struct(">32s4dBIII")
"""After magic and digest: partition, three moments, cost, kind, and the bytes of model, text, tags with snapshot."""
_START = 20 + _HEAD.size
_NONE = b"\xff"
"""What is not known; no text is encoded so."""
KINDS = ("text", "bytes", "json", "chunks", "error")
OVERHEAD = 400
"""Bytes that an entry takes in memory beside what it holds."""
SKEW = 5.0
"""Seconds by which clocks of two machines may differ; an answer from further in the future has no known age."""


class Damaged(Exception):
    """Bytes that are not the entry that was written under this key."""


class Snapshot(NamedTuple):
    """How many invalidations a tier had seen, and which life of the tier counted them."""

    incarnation: str
    seen: int


def encode(value: Any) -> tuple[str, bytes]:
    """Return the kind of a value and its bytes; raises CacheError on what JSON does not know.

    >>> encode({"answer": 4})
    ('json', b'{"answer":4}')
    """
    if isinstance(value, str):
        return "text", value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return "bytes", value
    try:
        return "json", json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError) as error:
        raise CacheError(f"an answer cannot be cached: {error}; return text, bytes or plain JSON data") from error


def encode_chunks(parts: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return the kind and the bytes of a stream, of its chunks' kinds and bytes."""
    head = json.dumps([[kind, len(body)] for kind, body in parts]).encode()
    return "chunks", b"".join([len(head).to_bytes(4, "big"), head, *(body for _, body in parts)])


def _decode(kind: str, body: bytes) -> Any:
    if kind == "text":
        return body.decode("utf-8", "surrogatepass")
    if kind == "bytes":
        return body
    if kind == "chunks":
        start = 4 + int.from_bytes(body[:4], "big")
        chunks = []
        for inner, length in json.loads(body[4:start]):
            chunks.append(_decode(inner, body[start : start + length]))
            start += length
        return chunks
    return json.loads(body.decode("utf-8", "surrogatepass"))


class Entry(NamedTuple):
    """An answer with what decides whether it may be served; moments are seconds since 1970.

    A tuple, because one is made at each look into a lower tier, and a frozen dataclass takes five times as long.
    """

    key: bytes
    partition: bytes
    """The digest of the partition that it belongs to."""
    kind: str
    """text, bytes, json, chunks (of a stream) or error."""
    body: bytes
    made: float
    fresh_until: float
    stale_until: float
    """From `fresh_until` to here it may be served while a new answer is fetched."""
    model: str | None = None
    """Who answered."""
    cost_usd: float | None = None
    """What the answer cost, and a hit saves."""
    text: str | None = None
    """The question, where a semantic tier compares."""
    tags: tuple[str, ...] = ()
    snapshot: Snapshot | None = None
    """Taken before the answer was asked for; an invalidation of a tag that came later forbids the entry."""

    @property
    def size(self) -> int:
        """Bytes, roughly as they weigh in memory."""
        return OVERHEAD + len(self.body) + 4 * len(self.text or "") + sum(60 + len(tag) for tag in self.tags)

    @property
    def value(self) -> Any:
        """The answer, made anew at each look, so that no caller can change another's."""
        return _decode(self.kind, self.body)

    def fresh(self, now: float) -> bool:
        """Return whether it may be served without a second thought."""
        return self.made - SKEW <= now < self.fresh_until

    def usable(self, now: float) -> bool:
        """Return whether it may be served, while a new one is fetched if need be."""
        return self.made - SKEW <= now < self.stale_until

    def to_bytes(self) -> bytes:
        """Return the entry as bytes, with a digest over its key, so that it is known under no other key."""
        model, text = (
            _NONE if each is None else each.encode("utf-8", "surrogatepass") for each in (self.model, self.text)
        )
        more = json.dumps([self.tags, self.snapshot]).encode() if self.tags or self.snapshot else b""
        cost = math.nan if self.cost_usd is None else self.cost_usd
        moments = self.made, self.fresh_until, self.stale_until
        head = _HEAD.pack(self.partition, *moments, cost, KINDS.index(self.kind), len(model), len(text), len(more))
        data = b"".join((head, model, text, more, self.body))
        return b"".join((_MAGIC, _digest(self.key, data), data))

    @classmethod
    def from_bytes(cls, key: bytes, data: bytes) -> "Entry":
        """Return the entry that was written under `key`; raises Damaged on any other bytes."""
        if data[:4] != _MAGIC or data[4:20] != _digest(key, data[20:]):
            raise Damaged(f"the bytes under key {key.hex()[:12]} are not those that were written there")
        partition, made, fresh, stale, cost, kind, of_model, of_text, of_more = _HEAD.unpack_from(data, 20)
        model = data[_START : (text_from := _START + of_model)]
        text = data[text_from : (more_from := text_from + of_text)]
        more = data[more_from : (body_from := more_from + of_more)]
        tags, snapshot = json.loads(more) if more else ((), None)
        return cls(
            key=key, partition=partition, kind=KINDS[kind], body=data[body_from:], made=made, fresh_until=fresh,
            stale_until=stale, model=None if model == _NONE else model.decode("utf-8", "surrogatepass"),
            cost_usd=None if cost != cost else cost,
            text=None if text == _NONE else text.decode("utf-8", "surrogatepass"), tags=tuple(tags),
            snapshot=None if snapshot is None else Snapshot(*snapshot),
        )  # fmt: skip


def _digest(key: bytes, data: bytes) -> bytes:
    return hashlib.sha256(key + data).digest()[:16]
