"""Walk the records of a table, whether it is CSV, JSON lines, a JSON array or Parquet."""

import codecs
import csv
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from features.formats.events import Event, FormatError, Waiting
from features.formats.rows import LONGEST_LINE, lines, refusal
from features.formats.values import record

BLOCK = 2**16
LONGEST_FIELD = 4 * 2**20
TORN = "the last record is torn; it is read when its end has been written"
TORN_CSV = "the last line has no end; it is read when the file ends with a newline"


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a table, as values by column name, or the reason why it cannot be read."""

    line: int
    raw: bytes
    values: dict[str, Any] | None
    problem: str = ""
    torn: bool = False
    lines: int = 1

    def event(self) -> Event:
        """Return what to say of a record without values."""
        if self.torn:
            return Waiting(self.line, self.problem, self.lines)
        return refusal(self.line, self.problem, self.raw, self.lines)


def kind(head: bytes) -> str:
    """Return csv, lines, spread (an object over many lines), array or parquet from a table's first bytes.

    Raises FormatError for what is no table.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise FormatError(
            "this is a Python pickle, which can run code when it is read, so it is refused; "
            "export the table as Parquet, CSV or JSON lines"
        )
    if head.startswith((b"\x1f\x8b", b"PK\x03\x04", b"(\xb5/\xfd")):
        raise FormatError("this file is compressed; unpack it first")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"{":
        return "spread" if b"\n" in start and start.split(b"\n", 1)[0].strip() == b"{" else "lines"
    return "array" if start[:1] == b"[" else "csv"


def records(stream: BinaryIO, shape: str | None = None) -> Iterator[Record]:
    """Yield the records of a table of any kind; the stream must be seekable."""
    head = stream.read(4096)
    stream.seek(0)
    walk = {"parquet": _parquet, "csv": _csv, "lines": _lines, "spread": _spread, "array": _array}[shape or kind(head)]
    yield from walk(stream)


def _lines(stream: BinaryIO) -> Iterator[Record]:
    for at, raw, ended in lines(stream):
        try:
            yield Record(at, raw, record(raw))
        except ValueError as error:
            yield Record(at, raw, None, str(error) if ended else TORN, torn=not ended)


def _parquet(stream: BinaryIO) -> Iterator[Record]:
    try:
        table = pq.ParquetFile(stream)
        at = 0
        for batch in table.iter_batches(batch_size=4096):
            for values in batch.to_pylist():
                at += 1
                yield Record(at, b"", values)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"broken Parquet file: {error}; it may be cut off, copy it again") from error


class _Feed:
    """The lines of a CSV file as its parser takes them, remembered until a record is complete, and given back."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = lines(stream, blank=True)
        self._again: deque[tuple[int, bytes, bool]] = deque()
        self.taken: list[tuple[int, bytes, bool]] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        item = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(item)
        number, raw, _ = item
        # What is no UTF-8 is refused when the record is complete; the parser knows no NUL.
        return raw.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape").replace("\0", "\ufffd")

    def give_back(self) -> None:
        """Keep the first line that was taken; the others are read again."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _header(feed: _Feed) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader(feed), [])]
    except csv.Error as error:
        raise FormatError(f"CSV header: {error}; the first line must name the columns") from error
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"CSV header: column {twice!r} stands twice; rename one")
    return names


def _csv(stream: BinaryIO) -> Iterator[Record]:
    # The module's limit of 128 KiB a field is global; long prompts need more, and a runaway quote is still caught.
    csv.field_size_limit(LONGEST_FIELD)
    feed = _Feed(stream)
    names = _header(feed)
    if feed.taken and not feed.taken[-1][2]:
        yield _csv_record(feed.taken, {}, TORN_CSV)
    while True:
        feed.taken.clear()
        problem = ""
        try:
            # A reader for each record, so that a broken one cannot disturb the state of the next.
            fields = next(csv.reader(feed, strict=True), None)
        except csv.Error as error:
            fields, problem = [], f"not CSV: {error}"
        if fields is None:
            return
        if not problem and not fields:
            continue
        if not feed.taken[-1][2]:
            problem = TORN_CSV
        elif not problem and len(fields) != len(names):
            problem = f"{len(fields)} fields where the header has {len(names)}"
        if problem and problem is not TORN_CSV:
            # A stray quote must not take the records after it along.
            feed.give_back()
        yield _csv_record(feed.taken, dict(zip(names, fields, strict=False)), problem)


def _csv_record(taken: list[tuple[int, bytes, bool]], values: dict[str, Any], problem: str) -> Record:
    raw = b"".join(part for _, part, _ in taken)
    if not problem:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            problem = f"byte {error.start} is not UTF-8; export the log as UTF-8"
    used = sum(bool(part.strip()) for _, part, _ in taken)
    known = None if problem else values
    return Record(taken[0][0], raw, known, problem, torn=problem is TORN_CSV, lines=used)


def _spread(stream: BinaryIO) -> Iterator[Record]:
    """Yield the objects of a file that holds them one after another, each spread over lines for people to read."""
    for item in _array(stream, inside=False):
        yield replace(item, lines=sum(bool(line.strip()) for line in item.raw.split(b"\n")))


def _array(stream: BinaryIO, inside: bool = True) -> Iterator[Record]:
    """Yield the elements of a JSON array, or objects that stand in none, holding one and a block at a time."""
    decoder, at, number = json.JSONDecoder(), 0, 0
    # A block may end in the middle of a character.
    feed = codecs.getreader("utf-8-sig")(stream, "replace")
    held = feed.read(BLOCK).lstrip()[int(inside) :]
    step = BLOCK
    while True:
        held = held[at:].lstrip()
        if inside:
            held = held.removeprefix(",").lstrip()
            if held.startswith("]"):
                return
        at = 0
        try:
            _, at = decoder.raw_decode(held)
        except (json.JSONDecodeError, RecursionError):
            at = 0
        # A number or word at the very end of what is held may go on in the next block; an object may not.
        if at and (at < len(held) or not inside):
            number += 1
            raw = held[:at].encode("utf-8", "replace")
            try:
                yield Record(number, raw, record(raw))
            except ValueError as error:
                yield Record(number, raw, None, str(error))
            step = BLOCK
            continue
        at = 0
        more = feed.read(step)
        if not more:
            if held or inside:
                yield Record(number + 1, held.encode("utf-8", "replace"), None, TORN, torn=True)
            return
        step *= 2
        held += more
        if len(held) > LONGEST_LINE:
            number += 1
            problem = f"element {number} of the array is broken, and what follows it cannot be found; use JSON lines"
            yield Record(number, held.encode("utf-8", "replace"), None, problem)
            return
