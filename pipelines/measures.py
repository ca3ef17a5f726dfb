"""What the lake says of the served requests of some days: hits, waits, failures, uptime, and how old all of it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.canaries import TIER as SEMANTIC
from features.joins import SERVING, calls
from models.attainment import Measured, quantile, share
from pipelines import warm_demand
from pipelines.context import Context
from pipelines.target_settings import TargetSettings
from pipelines.usual import COLUMNS
from pipelines.wording import percent

SHORTEST = timedelta(minutes=15)
"""A silence that is as short as the rhythm of `ingest` says nothing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A measure as it was found; where it is None, `about` says what is missing."""

    measured: Measured | None
    about: str
    ceiling: float | None = None
    """What it could be at most, where that is known."""
    missing: str = ""
    """What makes an unknown figure known, or a missed one better."""


@dataclass(frozen=True)
class Served:
    """The served requests of the days that end with the newest one, a row each, the cache's answers among them."""

    rows: pd.DataFrame
    """Columns of the lake, and `cluster`: the session, else the trace, else the request."""
    since: datetime
    until: datetime
    """The moment of the newest request."""

    @cached_property
    def clusters(self) -> NDArray[np.str_]:
        """What is no independent observation, (n,)."""
        return np.asarray(self.rows["cluster"], dtype=str)

    @cached_property
    def answered(self) -> NDArray[np.bool_]:
        """Which requests had an answer in the end, (n,)."""
        return np.asarray(self.rows["status"] == "success", dtype=bool)


def served(context: Context, at: datetime) -> Served | None:
    """Return what was served in the configured days up to the newest request that the lake knows at a moment."""
    days, lake = context.settings.targets.days, context.lake
    for day in reversed([day for day in lake.days("interactions") if day <= at.astimezone(UTC).date()]):
        rows = lake.interactions(day, day, ("at", "purpose"))
        rows = rows[(rows["purpose"].isin(SERVING) & (rows["at"] <= pd.Timestamp(at))).to_numpy(dtype=bool)]
        if len(rows):
            until = rows["at"].max().to_pydatetime()
            since = until - timedelta(days=days)
            return Served(_rows(lake.interactions(since.date(), day, COLUMNS), since, at), since, until)
    return None


def _rows(frame: pd.DataFrame, since: datetime, at: datetime) -> pd.DataFrame:
    frame = frame[(frame["at"] > pd.Timestamp(since)).to_numpy(dtype=bool)]
    hit = frame["cache_tier"].notna() & frame["purpose"].isin(SERVING) & (frame["at"] <= pd.Timestamp(at))
    hits = frame[hit.to_numpy(dtype=bool)].sort_values(["format", "at"], key=_journal_first, kind="stable")
    hits = hits.drop_duplicates("request_id")
    asked = calls(frame, at)
    # Where a gateway behind the router answered from its own cache, the journal's row knows nothing of it.
    asked = asked[~asked["request_id"].isin(hits["request_id"]).to_numpy(dtype=bool)]
    rows = pd.concat([part for part in (asked, hits) if len(part)] or [asked])
    cluster = rows["session_id"].combine_first(rows["trace_id"]).combine_first(rows["request_id"])
    return rows.assign(cluster=cluster.astype(str)).sort_values(["at", "request_id"], kind="stable")


def _journal_first(column: pd.Series) -> pd.Series:
    return column != "journal" if column.name == "format" else column


def hit_rate(context: Context, known: Served) -> Reading:
    """Return the share of the served requests that a tier of the cache answered, under the ceiling of repetitions."""
    tiers = known.rows["cache_tier"].fillna("").astype(str)
    hit = (tiers != "").to_numpy(dtype=bool)
    ceiling, ever = _history(context, known)
    said = "the lake holds no prompts to count repetitions of" if ceiling is None else f"ceiling {percent(ceiling)}"
    if not ever:
        return Reading(
            None, f"no request was answered by a cache; {said}", ceiling,
            "answer through beastmode.Cache, or ingest a gateway's log that tells its hits (docs/cache.md)",
        )  # fmt: skip
    semantic = (tiers == SEMANTIC).to_numpy(dtype=bool)
    by = f"exact {percent(float((hit & ~semantic).mean()))}, semantic {percent(float(semantic.mean()))}"
    return Reading(share(hit.astype(float), known.clusters, context.settings.gate.level), f"{by}; {said}", ceiling)


def _history(context: Context, known: Served) -> tuple[float | None, bool]:
    """Return the share of the requests whose key was asked for before, and whether any cache answered before.

    Both within the history of the warming settings: a cache that answers no more has a hit rate, of zero.
    """
    settings = context.settings.warming
    back = min(known.since, known.until - timedelta(days=settings.history_days))
    rows = context.lake.interactions(back.date(), known.until.date(), warm_demand.COLUMNS)
    inside = (rows["at"] >= pd.Timestamp(back)) & (rows["at"] <= pd.Timestamp(known.until))
    rows = rows[inside.to_numpy(dtype=bool)]
    ever = bool((rows["cache_tier"].notna() & rows["purpose"].isin(SERVING)).any())
    demand = warm_demand.demand(rows, settings)
    again = pd.Series(demand.key).duplicated().to_numpy(dtype=bool)[demand.at > known.since.timestamp()]
    return (float(again.mean()) if len(again) else None), ever


def p95(known: Served, level: float) -> Reading:
    """Return the 95th percentile of what answered requests took, retries and fallbacks included, in milliseconds."""
    waited = known.rows["latency_ms"].to_numpy(dtype=float, na_value=np.nan)
    timed = known.answered & np.isfinite(waited)
    if not timed.any():
        return Reading(None, "no answered request says how long it took", missing="log durations (docs/logs.md)")
    untold = int(known.answered.sum() - timed.sum())
    about = f"of {int(timed.sum()):,} answered requests" + (f"; {untold:,} more do not say" if untold else "")
    return Reading(quantile(waited[timed], known.clusters[timed], 0.95, level), about)


def error_rate(known: Served, level: float) -> Reading:
    """Return the share of requests that failed in the end, with the classes of their errors."""
    failed = (known.rows["status"] == "failure").to_numpy(dtype=bool)
    kinds = (
        known.rows["error_type"].fillna("unknown").astype("string")[failed].str.split("_", n=1).str[0].value_counts()
    )
    about = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items()) or "none failed"
    ended = int(((known.rows["status"] != "success").to_numpy(dtype=bool) & ~failed).sum())
    about += f"; {ended:,} cancelled or of unknown end" if ended else ""
    return Reading(share(failed.astype(float), known.clusters, level), about)


def uptime(known: Served, level: float) -> Reading:
    """Return the share of the minutes with traffic in which a request was answered; an hour's minutes are a cluster."""
    minute = known.rows["at"].dt.floor("min").to_numpy()
    up = pd.Series(known.answered).groupby(minute).any()
    hours = up.index.floor("h").astype(str).to_numpy(dtype=str)
    whole = (known.until - known.since) / timedelta(minutes=1)
    about = f"of {len(up):,} minutes with traffic; the other {max(round(whole) - len(up), 0):,} are unknown"
    return Reading(share(up.to_numpy(dtype=float), hours, level), about)


@dataclass(frozen=True, slots=True)
class Source:
    """A log by its format, and how long nothing has come from it."""

    name: str
    silence: timedelta
    allowed: timedelta

    @property
    def dead(self) -> bool:
        """Whether that is too long."""
        return self.silence > self.allowed


def sources(known: Served, at: datetime, settings: TargetSettings) -> tuple[Source, ...]:
    """Return the formats of the rows with their silence: the longest first, by what is allowed."""
    found = list(_sources(known.rows, at, settings))
    return tuple(sorted(found, key=lambda source: -(source.silence / source.allowed)))


def _sources(rows: pd.DataFrame, at: datetime, settings: TargetSettings) -> Iterator[Source]:
    for name, some in rows.groupby("format")["at"]:
        longest = some.sort_values().diff().max()
        most = timedelta(hours=settings.stale_hours)
        usual = most if pd.isna(longest) else settings.gaps * longest.to_pytimedelta()
        yield Source(str(name), at - some.max().to_pydatetime(), min(most, max(usual, SHORTEST)))
