"""What a reader says of each record of a log: a row, a rating, a refusal, one to skip or to wait for, or a note."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from beastmode.interactions import Feedback, Interaction


@dataclass(frozen=True, slots=True)
class Source:
    """Where a log comes from, as its reader needs to know it."""

    deployment: str
    """Name of the deployment in the configuration: part of every event's identity, where a path is not."""
    at: datetime
    """The moment of reading, with its time zone: what lies after it cannot have happened."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our column name -> the log's, for formats that take a map."""
    start: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    """The moment of the first record of a log that has none, such as a benchmark's."""
    shape: str | None = None
    """How the records lie in the file, as `tabular.kind` names it; told by the first bytes where it is None."""


@dataclass(frozen=True, slots=True)
class Row:
    """An interaction that was read."""

    interaction: Interaction
    lines: int = 1
    """How many of the log's records it took."""
    truncated_chars: int = 0
    """Characters of the prompt that the log's writer left out."""
    line: int = 0
    """Where in the log it began."""
    joined: int = 0
    """How many more records became part of it."""


@dataclass(frozen=True, slots=True)
class Rating:
    """A word on the quality of an interaction that was read."""

    feedback: Feedback
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that cannot be true or cannot be read, with the reason and the remedy."""

    line: int
    reason: str
    raw: str
    """The record, or as much of it as the quarantine keeps."""
    digest: str
    """sha256 of the whole record: its identity in the quarantine."""
    lines: int = 1
    of_call: bool = False
    """Whether it was a call although `lines` is 0, because its line holds several."""
    kind: str = ""
    """The reason without the value that was wrong."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that belongs in such a log but answers no prompt: a tool's span, an embedding."""

    line: int
    reason: str
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that is not complete yet: a torn last line, or a call that may still be running."""

    line: int
    reason: str
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader assumed, such as a unit, for the loss report."""

    text: str


Event = Row | Rating | Refusal | Skipped | Waiting | Note
Reader = Callable[[BinaryIO, Source], Iterator[Event]]
Writer = Callable[[BinaryIO, Iterable[Interaction]], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of log: how it is read, written, and recognised from its first bytes."""

    read: Reader
    sniff: Callable[[bytes], float]
    """How sure it is, in [0, 1], that a log which begins with these bytes is of this format."""
    write: Writer | None = None
    cannot_carry: frozenset[str] = frozenset()
    """Fields of an interaction that are lost when it is written and read again."""
    resumes: bool = False
    """Whether its records, one a line, can be read from the middle of a file on."""


class FormatError(ValueError):
    """A log that is not of the format it is said to be, or of no format that is known."""


GRACE = timedelta(hours=1)
"""What began longer ago and was never ended has no end to come."""
RAW_CHARS = 4096
"""How much of a refused record the quarantine keeps."""


def event_id(log_format: str, deployment: str, native: str) -> str:
    """Return the identity of an event: the same for every copy of a log, whatever its path.

    >>> event_id("journal", "shop", "d1")[:8]
    '166af0bf'
    """
    return hashlib.sha256(f"{log_format}\0{deployment}\0{native}".encode("utf-8", "replace")).hexdigest()
