"""What a log holds, a bounded number of records at a time, as tables of the lake that are ready to be written."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from beastmode.interactions import Feedback
from features.formats.events import Event, Note, Rating, Refusal, Row, Skipped, Waiting
from features.prices import PriceBook
from pipelines.columns import feedback_table, interactions_table, quarantine_table
from pipelines.keeping import Keeping

CHARS = 64_000_000
"""A chunk is closed early when its prompts are longer than this, so that memory stays bounded."""
PACK = 200
"""Rows that become columns together."""


@dataclass(slots=True)
class Told:
    """What a reading has to tell, beside its rows."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    secrets: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    waiting: int | None = None
    """The first record that waits for the next reading."""

    def add(self, other: "Told") -> None:
        """Take what another reading told."""
        for name in ("counts", "reasons", "others", "secrets"):
            getattr(self, name).update(getattr(other, name))
        self.notes += other.notes
        lines = [line for line in (self.waiting, other.waiting) if line is not None]
        self.waiting = min(lines, default=None)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records of one log."""

    interactions: pa.Table
    truncated: NDArray[np.int64]
    """Characters that the log's writer left out, for each interaction."""
    feedback: pa.Table
    quarantine: pa.Table
    told: Told
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How events become chunks."""

    deployment: str
    log_format: str
    place: str
    """Where the log lies, for notes."""
    at: datetime
    """The moment of reading."""
    rows: int
    """Records in a chunk."""
    prices: PriceBook
    keeping: Keeping = field(default_factory=Keeping)

    def chunks(self, events: Iterable[Event], lines: int = 0) -> Iterator[Chunk]:
        """Yield the chunks of a log, of which `lines` lines were read before."""
        open_ = _Open(self, lines)
        for event in events:
            open_.take(event)
            if open_.records >= self.rows or open_.chars >= CHARS:
                yield open_.closed()
                open_ = _Open(self, lines)
        if open_.records:
            yield open_.closed()

    def noted(self, text: str) -> Chunk:
        """Return a chunk that has nothing but a note on its log."""
        open_ = _Open(self, 0)
        open_.told.notes.append(f"{self.place} {text}")
        return open_.closed()


class _Open:
    """Records that have been read and are no chunk yet."""

    def __init__(self, making: Making, lines: int) -> None:
        self.making, self.lines = making, lines
        # In a log that holds feedback alone, what is refused was feedback.
        self.words = making.log_format == "feedback"
        self.rows: list[Row] = []
        self.packed: list[pa.Table] = []
        self.truncated: list[int] = []
        self.ratings: list[Feedback] = []
        self.refusals: list[Refusal] = []
        self.told = Told()
        self.records = 0
        self.chars = 0

    def closed(self) -> Chunk:
        """Return all that was taken as a chunk."""
        self._pack()
        told, making = self.told, self.making
        rows = pa.concat_tables(self.packed) if self.packed else interactions_table((), making.prices)
        refusals = making.keeping.refusals(self.refusals)
        refused = quarantine_table(refusals, making.deployment, making.log_format, making.at)
        return Chunk(
            making.keeping.interactions(rows, told.secrets),
            np.array(self.truncated, dtype=np.int64),
            making.keeping.feedback(feedback_table(self.ratings), told.secrets),
            making.keeping.quarantine(refused, told.secrets),
            told,
            self.records,
        )

    def take(self, event: Event) -> None:
        """Take one event and count it."""
        self.records += 1
        if isinstance(event, Row):
            self.rows.append(event)
            self.chars += event.interaction.prompt_chars or 0
            self.told.counts["read"] += 1 + event.joined
            self.told.counts["joined"] += event.joined
            if len(self.rows) >= PACK:
                self._pack()
        else:
            self._take_other(event)

    def _pack(self) -> None:
        """Turn the rows into columns, a few hundred at a time: while a processor has them at hand."""
        if self.rows:
            self.packed.append(interactions_table([row.interaction for row in self.rows], self.making.prices))
            self.truncated += [row.truncated_chars for row in self.rows]
            self.rows.clear()

    def _take_other(self, event: Event) -> None:
        told = self.told
        match event:
            case Rating():
                told.counts["feedback_read"] += 1
                self.ratings.append(event.feedback)
            case Refusal():
                # A refusal that takes no record stands beside a good row: only its rating was refused.
                of_feedback = self.words or (event.lines == 0 and not event.of_call)
                told.counts["feedback_read" if of_feedback else "read"] += 1
                told.counts["feedback_quarantined" if of_feedback else "quarantined"] += 1
                told.reasons[event.kind or event.reason] += 1
                self.refusals.append(replace(event, line=self.lines + event.line))
            case Skipped():
                told.counts.update(read=1, other=1)
                told.others[event.reason] += 1
            case Waiting():
                told.counts.update(read=1, waiting=1)
                told.notes.append(f"{self.making.place}, record {self.lines + event.line}: {event.reason}")
                told.waiting = event.line if told.waiting is None else min(told.waiting, event.line)
            case Note():
                told.notes.append(f"{self.making.place}: {event.text}")
