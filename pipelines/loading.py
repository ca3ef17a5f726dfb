"""One batch of read records into the lake: what it holds already is left out, the rest is written by day."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beastmode.candidates import Price
from beastmode.interactions import Feedback, Interaction
from features.formats.events import Refusal, Row
from pipelines.identities import Seen, hashed, keys
from pipelines.lake import KEYS, WHEN, Lake, feedback_table, interactions_table, quarantine_table


@dataclass(slots=True)
class Batch:
    """Records that have been read and not written yet."""

    rows: list[Row] = field(default_factory=list)
    ratings: list[Feedback] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    records: int = 0
    chars: int = 0

    def add_row(self, row: Row) -> None:
        """Take a row, and count what its prompt weighs."""
        self.rows.append(row)
        self.chars += row.interaction.prompt_chars or 0


class Loader:
    """Writes batches into a lake whose lock is held, each record once."""

    def __init__(self, lake: Lake, prices: Mapping[str, Price], at: datetime) -> None:
        self.lake, self.prices, self.at = lake, prices, at
        self.seen = {table: Seen(lake, table) for table in KEYS}
        self.journalled = Seen(lake, "interactions", "request_id", ("format", "journal"))

    def load(self, batch: Batch, deployment: str, log_format: str) -> Counter[str]:
        """Write a batch and return the counts that the loss report names."""
        told: Counter[str] = Counter()
        days: dict[date, list[Row]] = defaultdict(list)
        for row in batch.rows:
            days[row.interaction.at.date()].append(row)
        for day, rows in sorted(days.items()):
            told.update(self._rows(day, rows, log_format))
        if batch.ratings:
            written = self._append("feedback", feedback_table(batch.ratings))
            told["feedback_written"] += written
            told["feedback_duplicate"] += len(batch.ratings) - written
        if batch.refusals:
            self._append("quarantine", quarantine_table(batch.refusals, deployment, log_format, self.at))
        return told

    def _rows(self, day: date, rows: list[Row], log_format: str) -> Counter[str]:
        told: Counter[str] = Counter()
        identities = keys([row.interaction.event_id for row in rows])
        fresh = ~self.seen["interactions"].has(day, identities)
        fresh &= _first(identities)
        told["duplicate"] += int((~fresh).sum())
        calls = hashed([row.interaction.request_id for row in rows])
        if log_format != "journal":
            merged = fresh & self.journalled.has(day, calls)
            told["merged"] += int(merged.sum())
            fresh &= ~merged
        new = [row for row, keep in zip(rows, fresh, strict=True) if keep]
        if not new:
            return told
        table = interactions_table([row.interaction for row in new], self.prices)
        self.lake.append("interactions", day, table)
        self.seen["interactions"].add(day, identities[fresh])
        if log_format == "journal":
            self.journalled.add(day, calls[fresh])
        told.update(_counts(new, table))
        return told

    def _append(self, table: str, rows: pa.Table) -> int:
        """Write what a table does not hold yet, by day, and return how many rows that is."""
        written = 0
        days = pc.cast(rows[WHEN[table]], pa.date32())
        for day in sorted(pc.unique(days).to_pylist()):
            part = rows.filter(pc.equal(days, pa.scalar(day, pa.date32())))
            identities = keys(part[KEYS[table]].to_pylist())
            fresh = ~self.seen[table].has(day, identities) & _first(identities)
            if fresh.any():
                self.lake.append(table, day, part.filter(pa.array(fresh)))
                self.seen[table].add(day, identities[fresh])
                written += int(fresh.sum())
        return written


def _first(identities: "np.ndarray") -> "np.ndarray":
    """Return where each identity stands for the first time."""
    first = np.zeros(len(identities), dtype=bool)
    first[np.unique(identities, return_index=True)[1]] = True
    return first


def _counts(new: list[Row], table: pa.Table) -> Counter[str]:
    def known(row: Interaction) -> bool:
        return row.messages is not None or row.prompt_sha256 is not None

    rows = [row.interaction for row in new]
    return Counter(
        written=len(new),
        unpriced=table["cost_usd"].null_count,
        without_prompt=sum(not known(row) for row in rows),
        truncated=sum(row.truncated_chars > 0 for row in new),
        truncated_chars=sum(row.truncated_chars for row in new),
        without_propensity=sum(row.propensity is None for row in rows),
        failures=sum(row.status != "success" for row in rows),
    )
