"""One log on its way into the lake: read from where it was left, here or in a task of its own."""

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast
from uuid import uuid4

import numpy as np
import pyarrow as pa

from features.formats import FormatError, read
from pipelines.chunks import Chunk, Making, Told
from pipelines.sources import IngestError, Log, Rest
from pipelines.storage import Storage
from pipelines.watermarks import Marked, Watermark, Watermarks

BROKEN = 0
"""In place of the number of a line: the file breaks off, and how far it was read is not remembered."""
BEGINNING = Watermark(offset=0, lines=0, head_bytes=0, tail_bytes=0, tail="")


@dataclass(slots=True)
class Reading:
    """The reading of one log."""

    log: Log
    making: Making
    marks: Watermarks
    marked: Marked | None = None
    """How far it came, once its chunks have been taken; None where that is not remembered."""
    unchanged: bool = False
    """Whether nothing has come since the last reading."""
    resumed: bool = False
    """Whether it was read before."""

    def chunks(self) -> Iterator[Chunk]:
        """Yield the log's chunks from where it was left; raises IngestError where it is no such log after all."""
        if self.log.format is None:
            yield self.making.noted("is empty")
            return
        with self.log.open() as stream:
            mark = self.marks.of(self.log.way, stream)
            self.resumed = mark is not None
            if mark is not None and mark.complete:
                stream.seek(mark.offset)
                self.unchanged = not stream.read(1)
            if self.unchanged:
                return
            if self.log.lines:
                yield from self._rest(stream, mark or BEGINNING)
            else:
                # Before the reading: what is written meanwhile is not read.
                size = stream.seek(0, 2)
                stream.seek(0)
                waiting = yield from self._read(stream, 0)
                if waiting is None:
                    self.marked = Watermarks.mark(self.log.way, stream, size, 0, whole=True)

    def _rest(self, stream: BinaryIO, mark: Watermark) -> Iterator[Chunk]:
        rest = Rest(stream, mark.offset)
        waiting = yield from self._read(cast(BinaryIO, rest), mark.lines)
        if waiting == BROKEN:
            return
        offset, lines = rest.before(waiting)
        self.marked = Watermarks.mark(self.log.way, stream, offset, mark.lines + lines, complete=waiting is None)

    def _read(self, stream: BinaryIO, lines: int) -> Generator[Chunk, None, int | None]:
        """Yield what a stream holds, of which some lines were read before; return the first that waits, or BROKEN."""
        waiting: int | None = None
        try:
            for chunk in self.making.chunks(read(self.log.format or "", stream, self.log.said(self.making.at)), lines):
                waiting = min((line for line in (waiting, chunk.told.waiting) if line is not None), default=None)
                yield chunk
        except FormatError as error:
            raise IngestError(f"{self.log.url}: {error}") from error
        except (OSError, EOFError, zlib.error) as error:
            # The other logs are read all the same, and this one again next time.
            yield self.making.noted(f"cannot be read to its end: {error}; copy it again")
            return BROKEN
        return waiting


@dataclass(frozen=True, slots=True)
class Staged:
    """What a task read of a log and left in the lake's staging folder."""

    log: Log
    files: tuple[str, ...]
    told: tuple[Told, ...]
    records: tuple[int, ...]
    marked: Marked | None
    unchanged: bool
    resumed: bool

    def chunks(self, storage: Storage) -> Iterator[Chunk]:
        """Yield the chunks that were left."""
        for name, told, records in zip(self.files, self.told, self.records, strict=True):
            with storage.open(name) as stream:
                rows, cut, words, refused = (pa.ipc.open_stream(stream).read_all() for _ in range(4))
            yield Chunk(rows, cut["chars"].to_numpy(), words, refused, told, records)


Spread = Callable[[Sequence[Reading], Storage], Iterable[Staged]]
"""Runs `stage` for each reading, in any processes, and returns what each left in the order of the readings."""


def stage(reading: Reading, storage: Storage) -> Staged:
    """Read a log into the staging folder of a lake whose lock the caller holds."""
    files: list[str] = []
    told: list[Told] = []
    records: list[int] = []
    # A name of its own: a task of a run that was killed may still be writing.
    folder = f".staging/{uuid4().hex}"
    for chunk in reading.chunks():
        name = f"{folder}/{len(files):06d}.arrow"
        cut = pa.table({"chars": np.asarray(chunk.truncated)})
        sink = pa.BufferOutputStream()
        for table in (chunk.interactions, cut, chunk.feedback, chunk.quarantine):
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        storage.put(name, memoryview(sink.getvalue()))
        files.append(name)
        told.append(chunk.told)
        records.append(chunk.records)
    known = (tuple(files), tuple(told), tuple(records))
    return Staged(reading.log, *known, reading.marked, reading.unchanged, reading.resumed)


def here(readings: Sequence[Reading]) -> Iterator[tuple[Reading | Staged, Iterator[Chunk]]]:
    """Yield each reading with its chunks, read in this process."""
    for reading in readings:
        yield reading, reading.chunks()


def spread_over(
    spread: Spread, readings: Sequence[Reading], storage: Storage
) -> Iterator[tuple[Reading | Staged, Iterator[Chunk]]]:
    """Yield what tasks have read of each log."""
    for staged in spread(readings, storage):
        yield staged, staged.chunks(storage)
