"""The lake: append-only Parquet tables of interactions and feedback, and the quarantine beside them."""

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.columns import KEYS, SCHEMAS, WHEN, as_schema
from pipelines.storage import BusyError, Storage


class LakeBusyError(BusyError):
    """Another process writes to the lake, and did not finish in the time given."""


class LakeError(RuntimeError):
    """A file of the lake that cannot be read; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Lake:
    """The tables below one root; readers need no lock, since files appear whole and never change."""

    root: str | Path
    """A folder, or any URL that fsspec knows."""

    @property
    def storage(self) -> Storage:
        """Where its files lie."""
        return Storage.of(self.root)

    def interactions(
        self, since: date | None = None, until: date | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the interactions of some days (both included), ordered by moment and identity."""
        return self._frame("interactions", since, until, columns)

    def feedback(self) -> pd.DataFrame:
        """Return all feedback, ordered by the moment it was received."""
        return self._frame("feedback", None, None, None)

    def quarantine(self) -> pd.DataFrame:
        """Return the refused records with their reasons."""
        return self._frame("quarantine", None, None, None)

    def days(self, table: str) -> tuple[date, ...]:
        """Return the days that a table has partitions of."""
        names = self.storage.names(table)
        return tuple(sorted(date.fromisoformat(n.removeprefix("date=")) for n in names if n.startswith("date=")))

    def files(self, table: str, day: date) -> tuple[str, ...]:
        """Return the names of a partition's files."""
        folder = f"{table}/date={day.isoformat()}"
        return tuple(f"{folder}/{name}" for name in self.storage.names(folder) if name.endswith(".parquet"))

    def read(self, table: str, days: Sequence[date], columns: Sequence[str] | None = None) -> pa.Table:
        """Return some partitions of a table as they lie on disk; what an older file lacks is null."""
        schema = SCHEMAS[table]
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        storage = self.storage
        parts = [_read(storage, name, schema) for day in days for name in self.files(table, day)]
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def _frame(self, table: str, since: date | None, until: date | None, columns: Sequence[str] | None) -> pd.DataFrame:
        days = [day for day in self.days(table) if (since is None or day >= since) and (until is None or day <= until)]
        order = [WHEN[table], KEYS[table]]
        wanted = None if columns is None else list(dict.fromkeys([*columns, *order]))
        whole = self.read(table, days, wanted).sort_by([(name, "ascending") for name in order])
        frame: pd.DataFrame = (whole if columns is None else whole.select(list(columns))).to_pandas()
        return frame

    @contextlib.contextmanager
    def writing(self, wait_seconds: float = 60.0) -> Iterator[None]:
        """Be the lake's only writer; raises LakeBusyError after `wait_seconds`."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.storage.writing(wait_seconds))
            except BusyError as error:
                raise LakeBusyError(f"lake {error}") from None
            yield

    def append(self, table: str, day: date, rows: pa.Table) -> None:
        """Add rows to a partition: all of them or none, whatever happens. The lock must be held.

        A file is named by the identities in it, so writing the same rows twice leaves one file.
        """
        digest = hashlib.sha256("\0".join(rows[KEYS[table]].to_pylist()).encode()).hexdigest()
        content = io.BytesIO()
        # With checksums: two of three flipped bits would be read as other numbers.
        pq.write_table(rows, content, compression="zstd", write_page_checksum=True)
        self.storage.put(f"{table}/date={day.isoformat()}/part-{digest[:24]}.parquet", content.getbuffer())


def _read(storage: Storage, name: str, schema: pa.Schema) -> pa.Table:
    with storage.open(name) as stream:
        try:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            there = set(file.schema_arrow.names)
            return as_schema(file.read(columns=[name for name in schema.names if name in there]), schema)
        except (pa.ArrowException, OSError) as error:
            raise LakeError(
                f"{storage.path(name)}: {error}; put back a copy of the file, or move it away and run "
                "`python -m pipelines ingest --set ingest.reread=true`, which adds what your logs still hold"
            ) from error
