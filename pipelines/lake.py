"""The lake: append-only Parquet tables of interactions and feedback, and the quarantine beside them."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from beastmode.candidates import Price
from beastmode.interactions import Attempt, Feedback, Interaction
from features.costs import cost
from features.formats.events import Refusal

MOMENT = pa.timestamp("us", tz="UTC")
_KINDS = {"at": MOMENT, "candidates": pa.list_(pa.string()), "probabilities": pa.map_(pa.string(), pa.float64())}
_NUMBERS = (
    "propensity",
    "arm_probability",
    "latency_ms",
    "ttft_ms",
    "cost_logged_usd",
    "cost_usd",
    "utility",
    "quality",
)
_PREDICTION = ("candidate", "quality", "cost_usd", "latency_ms", "utility", "output_tokens")


def _kind(name: str) -> pa.DataType:
    if name in _NUMBERS:
        return pa.float64()
    return pa.int64() if name.endswith("_tokens") or name == "prompt_chars" else pa.string()


_ATTEMPT = tuple(f.name for f in fields(Attempt))
_KINDS["attempts"] = pa.list_(pa.struct([(name, _kind(name)) for name in _ATTEMPT]))
_KINDS["predictions"] = pa.list_(
    pa.struct([(name, pa.string() if name == "candidate" else pa.float64()) for name in _PREDICTION])
)
JSON = ("messages", "context", "needs")
"""Columns that hold JSON as text."""

INTERACTIONS = pa.schema([(f.name, _KINDS.get(f.name, _kind(f.name))) for f in fields(Interaction)])
FEEDBACK = pa.schema(
    [("feedback_id", pa.string())]
    + [
        (f.name, MOMENT if f.name in ("at", "received_at") else pa.float64() if f.name == "value" else pa.string())
        for f in fields(Feedback)
    ]
)
QUARANTINE = pa.schema(
    [(n, pa.string()) for n in ("quarantine_id", "deployment", "format", "reason", "raw")]
    + [("line", pa.int64()), ("quarantined_at", MOMENT)]
)
SCHEMAS = {"interactions": INTERACTIONS, "feedback": FEEDBACK, "quarantine": QUARANTINE}
KEYS = {"interactions": "event_id", "feedback": "feedback_id", "quarantine": "quarantine_id"}
WHEN = {"interactions": "at", "feedback": "received_at", "quarantine": "quarantined_at"}


class LakeBusyError(RuntimeError):
    """Another process writes to the lake, and did not finish in the time given."""


@dataclass(frozen=True, slots=True)
class Lake:
    """The tables below one folder; readers need no lock, since files appear whole and never change."""

    root: Path

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
        folder = self.root / table
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return tuple(sorted(date.fromisoformat(n.removeprefix("date=")) for n in names if n.startswith("date=")))

    def files(self, table: str, day: date) -> tuple[Path, ...]:
        """Return a partition's files."""
        return tuple(sorted((self.root / table / f"date={day.isoformat()}").glob("*.parquet")))

    def read(self, table: str, days: Sequence[date], columns: Sequence[str] | None = None) -> pa.Table:
        """Return some partitions of a table as they lie on disk."""
        schema = SCHEMAS[table]
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        paths = [path for day in days for path in self.files(table, day)]
        parts = [pq.ParquetFile(path).read(columns=schema.names).cast(schema) for path in paths]
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
        """Hold the lake's lock; the kernel releases it when the process ends, however it ends.

        What a killed writer left half written is removed. Raises LakeBusyError after `wait_seconds`.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle, self.root, wait_seconds)
            os.truncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            shutil.rmtree(self.root / ".staging", ignore_errors=True)
            (self.root / ".staging").mkdir()
            yield
        finally:
            os.close(handle)

    def append(self, table: str, day: date, rows: pa.Table) -> None:
        """Add rows to a partition: all of them or none, whatever happens. The lock must be held.

        A file is named by the identities in it, so writing the same rows twice leaves one file.
        """
        digest = hashlib.sha256("\0".join(rows[KEYS[table]].to_pylist()).encode()).hexdigest()
        folder = self.root / table / f"date={day.isoformat()}"
        folder.mkdir(parents=True, exist_ok=True)
        staged = self.root / ".staging" / f"{uuid4().hex}.parquet"
        with staged.open("wb") as stream:
            pq.write_table(rows, stream, compression="zstd")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staged, folder / f"part-{digest[:24]}.parquet")
        # The rename is only durable once the folder is.
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _lock(handle: int, root: Path, wait_seconds: float) -> None:
    until = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                holder = os.pread(handle, 32, 0).decode() or "unknown"
                raise LakeBusyError(
                    f"lake {root}: process {holder} still writes after {wait_seconds:g} s; "
                    "wait for it to end, or give a longer wait_seconds"
                ) from None
            time.sleep(0.05)


def interactions_table(rows: Sequence[Interaction], prices: Mapping[str, Price]) -> pa.Table:
    """Return interactions as the lake's columns, their cost computed."""
    costs = [cost(row, prices) for row in rows]
    arrays = []
    for field in INTERACTIONS:
        name = field.name
        if name in ("cost_usd", "cost_source"):
            values: list[Any] = [pair[name == "cost_source"] for pair in costs]
        else:
            values = [getattr(row, name) for row in rows]
        if name in JSON:
            values = [v if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in values]
        elif name == "probabilities":
            values = [v if v is None else list(v.items()) for v in values]
        elif name == "attempts":
            values = [[{n: getattr(attempt, n) for n in _ATTEMPT} for attempt in v] for v in values]
        arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=INTERACTIONS)


def feedback_table(ratings: Sequence[Feedback]) -> pa.Table:
    """Return ratings as the lake's columns, each with the identity of its content."""
    identities = [
        hashlib.sha256(
            f"{r.request_id}\0{r.signal}\0{r.value!r}\0{r.at.isoformat()}\0{r.received_at.isoformat()}\0{r.source}".encode()
        ).hexdigest()
        for r in ratings
    ]
    arrays = [pa.array(identities, pa.string())]
    arrays += [pa.array([getattr(r, field.name) for r in ratings], field.type) for field in list(FEEDBACK)[1:]]
    return pa.Table.from_arrays(arrays, schema=FEEDBACK)


def quarantine_table(refusals: Sequence[Refusal], deployment: str, log_format: str, at: datetime) -> pa.Table:
    """Return refused records as the lake's columns."""
    known = [
        {
            "quarantine_id": hashlib.sha256(f"{log_format}\0{deployment}\0{r.digest}".encode()).hexdigest(),
            "deployment": deployment,
            "format": log_format,
            "reason": r.reason,
            "raw": r.raw,
            "line": r.line,
            "quarantined_at": at.astimezone(UTC),
        }
        for r in refusals
    ]
    return pa.Table.from_pylist(known, schema=QUARANTINE)
