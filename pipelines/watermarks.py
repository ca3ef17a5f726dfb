"""How far each log was read, known by its content and not by its path: rotation and copies read nothing twice."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from pipelines.storage import Storage

NAME = "watermarks.json"
HEAD = 2**16
TAIL = 2**12
BLOCK = 2**20
DIGITS = 32


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to where one file was read."""

    offset: int
    """Bytes."""
    lines: int
    """Lines before it."""
    head_bytes: int
    tail_bytes: int
    tail: str
    """sha256 of so many bytes just before the offset: a file that was rewritten is read anew."""
    complete: bool = True
    """Whether nothing was left waiting behind the offset."""


@dataclass(slots=True)
class Watermarks:
    """The watermarks of a lake, one a file and way of reading it."""

    known: dict[str, Watermark] = field(default_factory=dict)

    @classmethod
    def read(cls, storage: Storage) -> "Watermarks":
        """Return the watermarks of a lake. What cannot be read is forgotten: that costs a second reading and no row."""
        content = storage.get(NAME)
        try:
            known: Mapping[str, Any] = json.loads(content) if content else {}
            return cls({key: Watermark(**mark) for key, mark in known.items()})
        except (ValueError, TypeError, AttributeError):
            return cls()

    def write(self, storage: Storage) -> None:
        """Write them whole. The lake's lock must be held."""
        storage.put(NAME, json.dumps({key: asdict(mark) for key, mark in self.known.items()}).encode())

    def of(self, way: str, stream: BinaryIO) -> Watermark | None:
        """Return the watermark of a file, by its beginning and what stands before the mark; `way` is how it is read."""
        stream.seek(0)
        head, digest, read = stream.read(HEAD), hashlib.sha256(way.encode() + b"\0"), 0
        found = []
        for size in sorted({mark.head_bytes for mark in self.known.values()}):
            if size <= len(head):
                digest.update(head[read:size])
                read = size
                found.append(self.known.get(digest.hexdigest()[:DIGITS]))
        marks = [mark for mark in found if mark is not None]
        return next((m for m in reversed(marks) if _tail(stream, m.offset, m.tail_bytes) == m.tail), None)

    @staticmethod
    def mark(
        way: str, stream: BinaryIO, offset: int, lines: int = 0, *, complete: bool = True, whole: bool = False
    ) -> "Marked | None":
        """Return the watermark of a file that was read up to an offset, with its key; None for an empty beginning.

        `whole` says that any part of it may change, so that all of it is compared the next time.
        """
        stream.seek(0)
        head = stream.read(min(HEAD, offset))
        if not head:
            return None
        size = offset if whole else min(TAIL, offset)
        key = hashlib.sha256(way.encode() + b"\0" + head).hexdigest()[:DIGITS]
        return key, Watermark(offset, lines, len(head), size, _tail(stream, offset, size), complete)


Marked = tuple[str, Watermark]
"""A watermark with its key."""


def _tail(stream: BinaryIO, offset: int, size: int) -> str:
    digest = hashlib.sha256()
    stream.seek(offset - size)
    while size > 0 and (block := stream.read(min(size, BLOCK))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()
