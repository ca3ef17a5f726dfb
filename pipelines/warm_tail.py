"""The requests that an application journals while a run goes on: the new lines of its journals, as they come."""

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

import pandas as pd
from fsspec.utils import infer_compression

from beastmode.interactions import Interaction
from features.formats import FORMATS, HEAD, FormatError, Row, Source, detect
from features.formats.events import GRACE
from features.joins import SERVING
from features.prices import PriceBook
from pipelines.columns import interactions_table
from pipelines.keeping import Keeping
from pipelines.sources import SourceSettings, urls
from pipelines.warm_demand import COLUMNS

BLOCK = 2**26
"""Bytes of one file that are read in one look; a line that is longer is passed over."""


@dataclass(slots=True)
class _File:
    """One journal, known by its inode: a new name is no new file."""

    source: SourceSettings
    offset: int
    """Bytes before it were read."""
    stream: BinaryIO | None = None
    """Kept open from its first new line on, so that what is written after a rotation is read."""


class Tail:
    """Reads what is appended to journals on this machine's disks; what lies in a store, or is packed, is not read.

    A request is told when its call begins, so that nobody waits for the answer. Files may come, go, be renamed, copied
    or truncated: each request is told once.
    """

    def __init__(self, sources: Sequence[SourceSettings], keeping: Keeping) -> None:
        """Begin at the ends of the files; `keeping` is how the lake keeps prompts, so that keys are the lake's."""
        self._sources = [
            source for source in sources if source.format in ("journal", "auto") and "://" not in source.path
        ]
        self._keeping = keeping
        self._begun = datetime.now(UTC)
        self._told: set[str] = set()
        self._files: dict[tuple[int, int], _File] = {}
        self._others: set[str] = set()
        for source, path in self._paths():
            with suppress(OSError):
                facts = os.stat(path)
                if facts.st_size and self._is_journal(source, path):
                    self._files[facts.st_dev, facts.st_ino] = _File(source, facts.st_size)

    @property
    def lacking(self) -> str | None:
        """Why there is nothing to read, with the remedy; None where there is a journal, or where one may come."""
        if not self._sources:
            return "no source of ingest is a journal on a disk of this machine"
        named = any(source.format == "journal" for source in self._sources)
        if self._others and not self._files and not named:
            return "no source of ingest holds a journal"
        return None

    def requests(self) -> pd.DataFrame:
        """Return the requests since the last look, as rows of the lake with the columns `COLUMNS`, in any order."""
        found = []
        for source, data in self._new():
            # A call that has just begun is read as one that will never end: its request is all that is wanted.
            said = Source(source.deployment, datetime.now(UTC) + 2 * GRACE)
            for event in FORMATS["journal"].read(io.BytesIO(data), said):
                if isinstance(event, Row) and self._wanted(event.interaction):
                    found.append(event.interaction)
        rows = self._keeping.interactions(interactions_table(found, PriceBook(listed=False)), Counter())
        frame: pd.DataFrame = rows.select(list(COLUMNS)).to_pandas()
        return frame

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            if file.stream is not None:
                file.stream.close()

    def _wanted(self, row: Interaction) -> bool:
        """Whether it is a request of this time, and new; prefills and probes are none."""
        if row.purpose not in SERVING or row.at < self._begun or row.request_id in self._told:
            return False
        self._told.add(row.request_id)
        return True

    def _new(self) -> Iterator[tuple[SourceSettings, bytes]]:
        """Yield the new whole lines of each file."""
        for source, path in self._paths():
            try:
                facts = os.stat(path)
                file = self._files.get((facts.st_dev, facts.st_ino))
                if facts.st_size and file is None and self._is_journal(source, path):
                    file = self._files[facts.st_dev, facts.st_ino] = _File(source, 0)
                if file is not None and file.stream is None and facts.st_size != file.offset:
                    file.stream = open(path, "rb")  # noqa: SIM115 - it stays open
            except OSError:
                # It was there a moment ago.
                continue
        for place, file in list(self._files.items()):
            if file.stream is None:
                continue
            while data := _lines(file):
                yield file.source, data
            if not os.fstat(file.stream.fileno()).st_nlink:
                file.stream.close()
                del self._files[place]

    def _paths(self) -> Iterator[tuple[SourceSettings, str]]:
        for source in self._sources:
            # A file that vanishes while its folder is read ends this look alone.
            with suppress(OSError):
                yield from ((source, path) for path in urls(source) if infer_compression(path) is None)

    def _is_journal(self, source: SourceSettings, path: str) -> bool:
        """Whether a file is a journal, by its first bytes where the source does not say so."""
        if source.format == "journal":
            return True
        if path in self._others:
            return False
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
        with suppress(FormatError):
            if detect(head)[0] == "journal":
                return True
        if b"\n" in head:
            self._others.add(path)
        return False


def _lines(file: _File) -> bytes:
    """Return the whole lines behind a file's offset and go on behind them; nothing where there is none."""
    assert file.stream is not None
    if os.fstat(file.stream.fileno()).st_size < file.offset:
        # It was truncated, and is written anew.
        file.offset = 0
    file.stream.seek(file.offset)
    data = file.stream.read(BLOCK)
    end = data.rfind(b"\n") + 1
    if not end and len(data) == BLOCK:
        end = BLOCK
    file.offset += end
    return data[:end]
