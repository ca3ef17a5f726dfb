"""Where logs lie: files behind paths, patterns and URLs, each with its format and how far it was read."""

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO, cast

import fsspec
from fsspec.utils import infer_compression

from features.formats import FORMATS, HEAD, FormatError, Source, detect, expect
from features.formats.tabular import kind


class IngestError(ValueError):
    """Logs that cannot be ingested: names the source, the file and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Where logs of one deployment lie, and how to read them."""

    path: str
    """A file, a pattern such as `logs/**/*.jsonl`, or the URL of either; `.gz` and the like are unpacked."""
    format: str = "auto"
    deployment: str = "default"
    """Part of every event's identity: the same log under another name is another log."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our column name -> the log's, for tables."""
    start: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    """The moment of the first record of a log that has none, such as a benchmark's."""

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            object.__setattr__(self, "start", self.start.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One file of a source: the partition that a reading is cut into."""

    url: str
    format: str | None
    """None where the file is empty."""
    sure: float
    """How sure the format is, in [0, 1]."""
    lines: bool
    """Whether it can be read from the middle on."""
    source: SourceSettings

    @property
    def way(self) -> str:
        """How it is read, in words that a change of the source's settings changes."""
        known = (self.format, self.source.deployment, sorted(self.source.columns.items()), str(self.source.start))
        return hashlib.sha256(json.dumps(known, default=list).encode()).hexdigest()

    def open(self) -> BinaryIO:
        """Open it to be read, unpacked where its name says that it is packed."""
        if "://" not in self.url and infer_compression(self.url) is None:
            # fsspec's own wrapper of a file on a disk would only pass each call on.
            return open(self.url, "rb")
        return cast(BinaryIO, fsspec.open(self.url, "rb", compression="infer").open())

    def said(self, at: datetime) -> Source:
        """Return what its reader needs to know."""
        shape = "lines" if self.lines else None
        return Source(self.source.deployment, at, self.source.columns, self.source.start, shape)


def logs(sources: Sequence[SourceSettings]) -> tuple[Log, ...]:
    """Return the files of sources in the order to read them: journals first, so that what a gateway saw is merged.

    Raises IngestError where there is none, and where a file is of no readable format.
    """
    found = [log for source in sources for log in _of(source)]
    if not found:
        raise IngestError("ingest: no sources; name at least one in [[ingest.sources]] with its path")
    return tuple(sorted(found, key=lambda log: log.format != "journal"))


def _of(source: SourceSettings) -> Iterator[Log]:
    found = urls(source)
    if not found:
        raise IngestError(f"source {source.deployment!r}: no file matches {source.path!r}; check the path")
    for url in found:
        try:
            with fsspec.open(url, "rb", compression="infer") as stream:
                head = stream.read(HEAD)
        except (OSError, EOFError) as error:
            raise IngestError(f"{url}: cannot be read: {error}; check its rights, or copy it again") from error
        yield _log(url, head, source)


def urls(source: SourceSettings) -> list[str]:
    """Return the files of a source, sorted; raises IngestError for a scheme that fsspec does not know."""
    try:
        fs, path = fsspec.core.url_to_fs(source.path)
    except (ValueError, ImportError) as error:
        raise IngestError(
            f"source {source.deployment!r}: {source.path}: {error}; install the fsspec package of that scheme"
        ) from error
    known: Mapping[str, Mapping[str, object]] = fs.glob(path, detail=True)
    local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
    files = sorted(name for name, facts in known.items() if facts["type"] == "file")
    return [name if local else str(fs.unstrip_protocol(name)) for name in files]


def _log(url: str, head: bytes, source: SourceSettings) -> Log:
    if not head.strip():
        return Log(url=url, format=None, sure=1.0, lines=False, source=source)
    try:
        if source.format == "auto":
            name, sure = detect(head)
        else:
            expect(source.format, head)
            name, sure = source.format, 1.0
    except FormatError as error:
        raise IngestError(f"{url}: {error}") from error
    return Log(url=url, format=name, sure=sure, lines=FORMATS[name].resumes and kind(head) == "lines", source=source)


class Rest:
    """A log from an offset on, as a stream that begins there and remembers where its lines begin."""

    def __init__(self, stream: BinaryIO, offset: int = 0) -> None:
        self._stream, self._offset = stream, offset
        self._begins = array("Q", [offset])
        self._ended = True
        stream.seek(offset)

    def read(self, size: int = -1) -> bytes:
        """Return bytes as a stream does."""
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        """Go to a place, counted from the offset."""
        return self._stream.seek(self._offset + place) - self._offset

    def readline(self, size: int = -1) -> bytes:
        """Return a line, or as much of it as is asked for."""
        line = self._stream.readline(size)
        if not line:
            return line
        if self._ended:
            self._begins.append(self._begins[-1] + len(line))
        else:
            self._begins[-1] += len(line)
        self._ended = line.endswith(b"\n")
        return line

    def before(self, line: int | None) -> tuple[int, int]:
        """Return the offset at which a line begins, the first being 1, and the lines before it; None for the end."""
        index = len(self._begins) - 1 if line is None else min(line - 1, len(self._begins) - 1)
        return self._begins[index], index
