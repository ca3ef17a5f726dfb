"""Chunks into the lake: what it holds already is left out, the rest is written by day."""

from collections import Counter
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.chunks import Chunk
from pipelines.columns import KEYS, WHEN
from pipelines.identities import Keys, Seen, hashed
from pipelines.lake import Lake


class Loader:
    """Writes chunks into a lake whose lock is held, each record once."""

    def __init__(self, lake: Lake, *, dry: bool = False) -> None:
        """`dry` goes through all the motions and writes nothing."""
        self.lake, self.dry = lake, dry
        self.seen = {table: Seen(lake, table) for table in KEYS}
        self.journalled = Seen(lake, "interactions", "request_id", ("format", "journal"))

    def load(self, chunk: Chunk, log_format: str) -> Counter[str]:
        """Write a chunk and return the counts that the loss report names."""
        told: Counter[str] = Counter()
        for day, rows in _days(chunk.interactions, "interactions"):
            told.update(self._interactions(day, chunk.interactions.take(rows), chunk.truncated[rows], log_format))
        for day, rows in _days(chunk.feedback, "feedback"):
            written = self._new("feedback", day, chunk.feedback.take(rows))
            told.update(feedback_written=written, feedback_duplicate=len(rows) - written)
        for day, rows in _days(chunk.quarantine, "quarantine"):
            self._new("quarantine", day, chunk.quarantine.take(rows))
        return told

    def _interactions(self, day: date, rows: pa.Table, truncated: NDArray[np.int64], log_format: str) -> Counter[str]:
        identities = Keys.of(rows["event_id"])
        fresh = ~self.seen["interactions"].has(day, identities) & identities.first()
        told = Counter(duplicate=int((~fresh).sum()))
        if not fresh.any():
            return told
        new, cut = (rows, truncated) if fresh.all() else (rows.filter(pa.array(fresh)), truncated[fresh])
        if log_format == "journal":
            self._append("interactions", day, new, identities.take(fresh))
            self.journalled.add(day, hashed(new["request_id"].to_pylist()))
        elif self.journalled.any(day):
            merged = self.journalled.has(day, hashed(new["request_id"].to_pylist()))
            self._append("interactions", day, _prompts_once(new, merged), identities.take(fresh))
            told["merged"] = int(merged.sum())
            new, cut = new.filter(pa.array(~merged)), cut[~merged]
        else:
            self._append("interactions", day, new, identities.take(fresh))
        told.update(_counts(new, cut))
        return told

    def _new(self, table: str, day: date, rows: pa.Table) -> int:
        """Write what a table does not hold yet, and return how many rows that is."""
        identities = Keys.of(rows[KEYS[table]])
        fresh = identities.first()
        # A record is refused again on every day on which it is read again.
        for held in {day, *self.lake.days(table)} if table == "quarantine" else {day}:
            fresh &= ~self.seen[table].has(held, identities)
        if fresh.any():
            self._append(table, day, rows.filter(pa.array(fresh)), identities.take(fresh))
        return int(fresh.sum())

    def _append(self, table: str, day: date, new: pa.Table, identities: Keys) -> None:
        if not self.dry:
            self.lake.append(table, day, new)
        self.seen[table].add(day, identities)


def _prompts_once(rows: pa.Table, merged: NDArray[np.bool_]) -> pa.Table:
    """Return rows without the prompts of calls that the journal holds: it has them, and is what tables are made of.

    The rows themselves are kept: a tool's feedback may speak of them by its own id.
    """
    column = rows.schema.get_field_index("messages")
    said = pc.if_else(pa.array(~merged), rows["messages"].combine_chunks(), pa.scalar(None, pa.string()))
    return rows.set_column(column, rows.schema.field(column), said)


def _days(rows: pa.Table, table: str) -> list[tuple[date, NDArray[np.int64]]]:
    """Return the days of a table's rows, in order, and which rows are theirs."""
    if not len(rows):
        return []
    days = pc.cast(rows[WHEN[table]], pa.date32()).cast(pa.int32()).to_numpy()
    found, codes = np.unique(days, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    epoch = date(1970, 1, 1).toordinal()
    return [(date.fromordinal(epoch + int(day)), part) for day, part in zip(found, parts, strict=True)]


def _counts(new: pa.Table, truncated: NDArray[np.int64]) -> Counter[str]:
    unknown = pc.and_(pc.is_null(new["messages"]), pc.is_null(new["prompt_sha256"]))
    return Counter(
        written=len(new),
        unpriced=new["cost_usd"].null_count,
        without_prompt=pc.sum(unknown).as_py() or 0,
        truncated=int((truncated > 0).sum()),
        truncated_chars=int(truncated.sum()),
        without_propensity=new["propensity"].null_count,
        failures=len(new) - (pc.sum(pc.equal(new["status"], "success")).as_py() or 0),
    )
