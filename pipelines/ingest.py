"""Logs into the lake: read, checked, de-duplicated, written whole, and every record accounted for."""

import glob
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt

from beastmode.candidates import Candidate
from features.costs import prices
from features.formats import FORMATS, HEAD, FormatError, detect, expect
from features.formats.events import Event, Note, Rating, Refusal, Row, Source, Waiting
from pipelines.lake import Lake
from pipelines.loading import Batch, Loader

CHARS = 64_000_000
"""A chunk is written early when its prompts are longer than this, so that memory stays bounded."""


class IngestError(ValueError):
    """Logs that cannot be ingested: names the source, the file and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Where logs of one deployment lie, and how to read them."""

    path: str
    """A file or a pattern such as `logs/*.jsonl`."""
    format: str = "auto"
    deployment: str = "default"
    """Part of every event's identity: the same log under another name is another log."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our column name -> the log's, for tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """What to read, and how much of it to hold in memory at a time."""

    sources: tuple[SourceSettings, ...] = ()
    chunk_rows: Annotated[int, Ge(1)] = 20_000
    wait_seconds: Annotated[float, Gt(0)] = 60.0
    """How long to wait for another ingest to finish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossReport:
    """What became of every record that was read."""

    files: int = 0
    read: int = 0
    """Records of interactions, and refused or torn ones; words of feedback are counted apart."""
    written: int = 0
    duplicate: int = 0
    merged: int = 0
    """Gateway records of calls that the journal holds."""
    quarantined: int = 0
    waiting: int = 0
    unpriced: int = 0
    """Among the written, as the following are."""
    without_prompt: int = 0
    truncated: int = 0
    truncated_chars: int = 0
    without_propensity: int = 0
    failures: int = 0
    feedback_read: int = 0
    feedback_written: int = 0
    feedback_duplicate: int = 0
    feedback_quarantined: int = 0
    reasons: tuple[tuple[str, int], ...] = ()
    """Why records were refused, the most frequent first."""
    notes: tuple[str, ...] = ()
    """What the readers assumed."""

    @property
    def adds_up(self) -> bool:
        """Whether every record is accounted for."""
        here = self.written + self.duplicate + self.merged + self.quarantined + self.waiting
        words = self.feedback_written + self.feedback_duplicate + self.feedback_quarantined
        return self.read == here and self.feedback_read == words

    def lines(self) -> tuple[str, ...]:
        """Return the report as lines to print."""
        told = [
            f"read {self.read:,} records of {self.files} files = {self.written:,} written "
            f"+ {self.duplicate:,} duplicate + {self.merged:,} merged + {self.quarantined:,} quarantined "
            f"+ {self.waiting:,} waiting",
            f"of the written: {self.unpriced:,} unpriced, {self.without_prompt:,} without prompt, "
            f"{self.truncated:,} truncated ({self.truncated_chars:,} characters lost), "
            f"{self.without_propensity:,} without propensity, {self.failures:,} failed",
            f"feedback: read {self.feedback_read:,} = {self.feedback_written:,} written "
            f"+ {self.feedback_duplicate:,} duplicate + {self.feedback_quarantined:,} quarantined",
        ]
        told += [f"refused {count:,} times: {reason}" for reason, count in self.reasons]
        told += [f"note: {note}" for note in self.notes]
        return tuple(told)


def ingest(
    settings: IngestSettings,
    lake_root: Path | str,
    at: datetime,
    *,
    candidates: Sequence[Candidate] = (),
    progress: Callable[[int], None] | None = None,
) -> LossReport:
    """Read every source into the lake and return what became of each record.

    `at` is the moment of reading; `candidates` bring the prices; `progress` is called with the number of records
    since its last call. Running it again, after success or a kill, adds only what is missing. Raises IngestError
    where there is nothing to read or a file is of no readable format (found before anything is written), and
    LakeBusyError where another ingest keeps the lake too long.
    """
    if at.tzinfo is None:
        raise IngestError(f"at = {at.isoformat()} has no time zone; give the moment of reading in UTC")
    files = list(_files(settings.sources))
    if not files:
        raise IngestError("ingest: no sources; name at least one in [[ingest.sources]] with its path")
    lake = Lake(Path(lake_root))
    tally: Counter[str] = Counter(files=len(files))
    reasons: Counter[str] = Counter()
    notes: list[str] = []
    with lake.writing(settings.wait_seconds):
        loader = Loader(lake, prices(candidates), at)
        # The journal comes first, so that what a gateway saw of the same calls is merged into it.
        for path, source, name in sorted(files, key=lambda f: f[2] != "journal"):
            if name is None:
                notes.append(f"{path} is empty")
                continue
            said = Source(source.deployment, at, source.columns)
            batch = Batch()
            with path.open("rb") as stream:
                try:
                    for event in FORMATS[name].read(stream, said):
                        _take(event, name, batch, tally, reasons, notes, path)
                        if batch.records >= settings.chunk_rows or batch.chars >= CHARS:
                            batch = _flush(loader, batch, source.deployment, name, tally, progress)
                except FormatError as error:
                    raise IngestError(f"{path}: {error}") from error
            _flush(loader, batch, source.deployment, name, tally, progress)
    if not tally["read"] and not tally["feedback_read"]:
        listed = ", ".join(str(path) for path, _, _ in files[:3])
        raise IngestError(f"nothing to read: {listed} hold no record; check that the application writes its log there")
    known = {f.name for f in fields(LossReport)}
    counts = {name: count for name, count in tally.items() if name in known}
    return LossReport(**counts, reasons=tuple(reasons.most_common(10)), notes=tuple(dict.fromkeys(notes)))


def _files(sources: Sequence[SourceSettings]) -> Iterator[tuple[Path, SourceSettings, str | None]]:
    """Yield each file with its source and format; the format of an empty file is None."""
    for source in sources:
        found = [Path(path) for path in sorted(glob.glob(source.path, recursive=True)) if Path(path).is_file()]
        if not found:
            raise IngestError(f"source {source.deployment!r}: no file matches {source.path!r}; check the path")
        for path in found:
            with path.open("rb") as stream:
                head = stream.read(HEAD)
            try:
                if source.format != "auto":
                    expect(source.format, head or b"{}") if head.strip() else None
                    name = source.format if head.strip() else None
                else:
                    name = detect(head)[0] if head.strip() else None
            except FormatError as error:
                raise IngestError(f"{path}: {error}") from error
            yield path, source, name


def _take(
    event: Event,
    log_format: str,
    batch: Batch,
    tally: Counter[str],
    reasons: Counter[str],
    notes: list[str],
    path: Path,
) -> None:
    match event:
        case Row():
            tally["read"] += 1
            batch.add_row(event)
        case Rating():
            tally["feedback_read"] += 1
            batch.ratings.append(event.feedback)
        case Refusal():
            # A refusal that takes no record stands beside a good row: only its rating was refused.
            of_feedback = log_format == "feedback" or event.lines == 0
            tally["feedback_read" if of_feedback else "read"] += 1
            tally["feedback_quarantined" if of_feedback else "quarantined"] += 1
            reasons[_without_value(event.reason)] += 1
            batch.refusals.append(event)
        case Waiting():
            tally["read"] += 1
            tally["waiting"] += 1
            notes.append(f"{path}, record {event.line}: {event.reason}")
        case Note():
            notes.append(f"{path}: {event.text}")
    batch.records += 1


def _without_value(reason: str) -> str:
    """Return a reason without the value in it, so that like refusals are counted together."""
    head, _, remedy = reason.partition(": ")
    return f"{head.partition(' = ')[0]}: {remedy}" if " = " in head else reason


def _flush(
    loader: Loader,
    batch: Batch,
    deployment: str,
    log_format: str,
    tally: Counter[str],
    progress: Callable[[int], None] | None,
) -> Batch:
    """Write a batch, count what became of it, and return an empty one."""
    tally.update(loader.load(batch, deployment, log_format))
    if progress is not None and batch.records:
        progress(batch.records)
    return Batch()
