"""Logs into the lake: read, checked, de-duplicated, written whole, and every record accounted for."""

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from features.prices import PriceBook
from pipelines.chunks import Making, Told
from pipelines.keeping import Keeping, StorePrompts
from pipelines.lake import Lake
from pipelines.loading import Loader
from pipelines.loss import LossReport
from pipelines.readings import Reading, Spread, here, spread_over
from pipelines.sources import IngestError, Log, SourceSettings, logs
from pipelines.watermarks import Watermarks

__all__ = ["IngestError", "IngestSettings", "LossReport", "SourceSettings", "ingest"]

MARK_SECONDS = 10.0
"""How often, at most, watermarks are written between two files; the last ones always are."""
MOST_REASONS = 10
SELDOM = (200_000, 50, 50)
"""Allocations between two searches for cycles, and how many of those between two longer ones."""
FEW = 10
"""Refused records that are no alarm, whatever their share."""
LEAST_KEY = 16
"""Characters of the key of the hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """What to read, what of it to keep, and how much to hold in memory at a time."""

    sources: tuple[SourceSettings, ...] = ()
    chunk_rows: Annotated[int, Ge(1)] = 20_000
    wait_seconds: Annotated[float, Gt(0)] = 60.0
    """How long to wait for another ingest to finish."""
    store_prompts: StorePrompts = "redacted"
    """Prompts as they are (full), without secrets (redacted), or their hashes alone (hashed)."""
    hash_key_env: str | None = None
    """The environment variable with the key of the hashes; without a key the hash of a short prompt can be guessed."""
    runner: Literal["here", "threads", "processes", "dask"] = "here"
    """Where files are read: in the process that writes the lake, or as Prefect tasks, a file each."""
    dask_address: str | None = None
    """Of a Dask scheduler; a cluster of local processes is started where there is none."""
    reread: bool = False
    """Read every file from its beginning, whatever was read before: rows that the lake has are duplicates."""
    most_refused: Annotated[float, Gt(0), Le(1)] = 0.5
    """A flow ends as failed, after the lake was written, where a larger share of what is new was refused."""

    def keeping(self) -> Keeping:
        """Return what may be kept of prompts; raises IngestError where the key's variable is not set."""
        if self.store_prompts != "hashed" or self.hash_key_env is None:
            return Keeping(self.store_prompts)
        key = os.environ.get(self.hash_key_env)
        if not key:
            raise IngestError(f"ingest.hash_key_env = {self.hash_key_env!r}: no such variable; set it to a secret")
        if len(key) < LEAST_KEY:
            raise IngestError(f"ingest.hash_key_env = {self.hash_key_env!r}: shorter than {LEAST_KEY} characters")
        return Keeping(self.store_prompts, key.encode())


def ingest(
    settings: IngestSettings,
    lake_root: Path | str,
    at: datetime,
    *,
    prices: PriceBook | None = None,
    progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    spread: Spread | None = None,
) -> LossReport:
    """Read every source into the lake and return what became of each record.

    `at` is the moment of reading; `prices` are the catalogue's and the public list's, and without them costs are as
    the log has them; `progress` is called with the number of records
    since its last call. `dry_run` writes nothing. `spread` reads the files in tasks, a file each; the lake is the
    same. Running it again, after success or a kill, adds only what is missing. Raises IngestError where there is
    nothing to read or a file is of no readable format (as far as its first bytes tell, before anything is written),
    and LakeBusyError where another ingest keeps the lake too long.
    """
    if at.tzinfo is None:
        raise IngestError(f"at = {at.isoformat()} has no time zone; give the moment of reading in UTC")
    found = logs(settings.sources)
    lake = Lake(lake_root)
    keeping = settings.keeping()
    priced = PriceBook(listed=False) if prices is None else prices
    storage = lake.storage
    with contextlib.nullcontext() if dry_run else lake.writing(settings.wait_seconds), _seldom_collected():
        marks = Watermarks() if settings.reread else Watermarks.read(storage)
        readings = [Reading(log, _making(log, settings.chunk_rows, at, priced, keeping), marks) for log in found]
        loader = Loader(lake, dry=dry_run)
        told, unchanged, resumed, marked = Told(), 0, False, time.monotonic()
        walk = here(readings) if spread is None or dry_run else spread_over(spread, readings, storage)
        for reading, chunks in walk:
            for chunk in chunks:
                chunk.told.counts.update(loader.load(chunk, reading.log.format or ""))
                told.add(chunk.told)
                if progress is not None and chunk.records:
                    progress(chunk.records)
            unchanged += reading.unchanged
            resumed |= reading.resumed
            if reading.marked is not None:
                marks.known.update([reading.marked])
                if not dry_run and time.monotonic() - marked > MARK_SECONDS:
                    marks.write(storage)
                    marked = time.monotonic()
        if not dry_run:
            marks.write(storage)
    if not told.counts["read"] and not told.counts["feedback_read"] and not resumed:
        listed = ", ".join(log.url for log in found[:3])
        raise IngestError(f"nothing to read: {listed} hold no record; check that the application writes its log there")
    return _report(told, found, unchanged, dry_run, keeping)


def check(report: LossReport, settings: IngestSettings) -> None:
    """Raise IngestError where so much was refused that the log must have changed: nobody reads a report every night."""
    new = report.read - report.duplicate - report.other
    if report.quarantined > FEW and report.quarantined > settings.most_refused * new:
        why, count = report.reasons[0]
        raise IngestError(
            f"{report.quarantined:,} of {new:,} new records were refused, {count:,} of them for: {why}; the lake has "
            "the others. Mend the log or its source's settings and run ingest with --set ingest.reread=true; or raise "
            f"ingest.most_refused = {settings.most_refused:g}"
        )


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let Python look for cycles seldom: records hold none, and the search takes an eighth of the time of a reading."""
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _making(log: Log, rows: int, at: datetime, priced: PriceBook, keeping: Keeping) -> Making:
    return Making(
        deployment=log.source.deployment,
        log_format=log.format or "",
        place=log.url,
        at=at,
        rows=rows,
        prices=priced,
        keeping=keeping,
    )


def _report(told: Told, found: Sequence[Log], unchanged: int, dry_run: bool, keeping: Keeping) -> LossReport:
    known = {f.name for f in fields(LossReport)}
    counts = {name: count for name, count in told.counts.items() if name in known}
    return LossReport(
        **counts,
        files=len(found),
        unchanged=unchanged,
        redacted=sum(told.secrets.values()),
        dry_run=dry_run,
        formats=_formats(found),
        reasons=tuple((keeping.text(said), count) for said, count in told.reasons.most_common(MOST_REASONS)),
        others=tuple(told.others.most_common(MOST_REASONS)),
        secrets=tuple(told.secrets.most_common()),
        notes=tuple(keeping.text(note) for note in dict.fromkeys(told.notes)),
    )


def _formats(found: Sequence[Log]) -> tuple[str, ...]:
    """Return a line for each format that was found, with the doubt that is left."""
    groups: dict[str, list[Log]] = {}
    for log in found:
        if log.format is not None:
            groups.setdefault(log.format, []).append(log)
    lines = []
    for name, group in groups.items():
        least = min(group, key=lambda log: log.sure)
        files = "1 file" if len(group) == 1 else f"{len(group)} files"
        set_by = "" if least.source.format == "auto" else ", as configured"
        lines.append(f"{files} read as {name}{set_by or f', {least.sure:.0%} sure'}: {least.url}")
    return tuple(lines)
