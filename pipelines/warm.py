"""Warm: fetch the answers that will be asked for, before they are, where that saves more than it costs."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from beastmode.cache import Cache, CacheSettings, Redis, Sqlite
from beastmode.candidates import Candidate
from beastmode.journal import Journal
from beastmode.router import Router
from pipelines import logs, warm_keepalive
from pipelines.context import Context
from pipelines.probe_calls import Caller
from pipelines.probe_purse import Purse
from pipelines.progress import counts
from pipelines.settings import SettingsError
from pipelines.storage import Storage
from pipelines.warm_bundle import WarmerBundle, load_warmer
from pipelines.warm_clusters import CLUSTERS, EXACT, Keyed, keyed
from pipelines.warm_demand import Logged, logged
from pipelines.warm_filling import Filled, Filling, Prefill
from pipelines.warm_following import Followed, follow, following, tailed
from pipelines.warm_ledger import Ledger
from pipelines.warm_pace import Pace
from pipelines.warm_plan import Following, WarmPlan, held, make_plan, ordered
from pipelines.warm_tail import Tail

SHOWN = 12
"""Cells of a plan that are printed."""


@dataclass(frozen=True, slots=True)
class Warmed:
    """A plan, and what came of it."""

    plan: WarmPlan
    resumed: bool
    filled: Filled | None
    """None where only the plan was wanted."""
    spent_usd: float
    budget_usd: float | None
    notes: tuple[str, ...] = ()
    prefixes: int = 0
    """Prefixes that were kept alive."""
    followed: Followed | None = None
    """What came of following the window's requests; None where that was not done."""

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        plan = self.plan
        yield (
            f"plan {plan.name}{' (resumed)' if self.resumed else ''} until {plan.until} by {plan.warmer}: "
            f"{len(plan.cells)} prefills, expected to cost ${plan.usd:.4f} and to save ${plan.saving_usd:.4f}"
        )
        yield (
            f"of {plan.keys} keys: {plan.held} held for longer than the window, {plan.without} without a prompt in the "
            f"log, {plan.worthless} would cost more than they save, {plan.beyond} are beyond the budget"
        )
        if plan.price > 0:
            yield f"planned from a worth of {plan.price:.2f} on: what is left of the budget is for follow-ups"
        if self.filled is None:
            yield from (
                f"  {cell.key[:16]}: P {cell.p:.2f}, saves ${cell.saving_usd:.6f}, costs ${cell.usd:.6f}"
                for cell in plan.cells[:SHOWN]
            )
        else:
            told = self.filled
            yield f"filled {told.filled}, done before {told.recalled}, rescued {told.rescued}"
            yield from (f"not filled, {keys} keys: {why}" for why, keys in told.skipped.most_common())
            if self.prefixes:
                yield f"kept {self.prefixes} prefixes alive in their providers' caches"
            if self.followed is not None:
                yield from self.followed.lines()
            yield f"spent ${self.spent_usd:.6f} of ${self.budget_usd:g} in this window"
            if told.stopped:
                yield f"stopped: {told.stopped}"
        yield from self.notes


def warm(context: Context, at: datetime, *, dry_run: bool = False) -> Warmed:
    """Plan and fill; a plan of this window that was killed or stopped is gone on with, and nothing is paid twice.

    Raises SettingsError where no cache or no budget is configured, StoreError where no router or no warmer is in
    service, NotEnough where the lake is empty, and BusyError where another run is filling.
    """
    settings = context.settings.warming
    if settings.cache is None:
        raise SettingsError("warming.cache is not set: name the file or the redis:// URL of your application's cache")
    if settings.budget_usd is None and not dry_run:
        raise SettingsError("warming.budget_usd is not set: say how many US dollars a window may spend")
    warmer = load_warmer(context)
    router = Router(
        context.store.load_champion(), context.settings.seed,
        quality_ratio=settings.quality_ratio, guaranteed=settings.guaranteed,
    )  # fmt: skip
    place = context.workspace.root / "warming"
    place.mkdir(parents=True, exist_ok=True)
    with (
        Storage.of(place).writing(0.0),
        Journal(context.workspace.logs) as journal,
        opened(context, warmer, router, journal) as cache,
    ):
        tail = tailed(context, warmer)
        known = logged(context, at)
        shares = following(warmer, known, at) if isinstance(tail, Tail) else None
        plan, resumed, notes = _plan(context, known, cache, warmer, at, place, shares)
        notes += (tail,) if isinstance(tail, str) else ()
        ledger = Ledger.open(place / f"{plan.name}.ledger.jsonl")
        before = _spent(place, at, plan)
        if dry_run:
            return Warmed(plan, resumed, None, before + ledger.spent, settings.budget_usd, notes)
        assert settings.budget_usd is not None
        plan.write(place / f"{plan.name}.open.json")
        filling = Filling(
            cache=cache, scope=scope(context), catalogue=catalogue(context, router),
            caller=Caller(os.environ, settings.max_output_tokens, settings.timeout_seconds),
            pace=Pace(settings.requests_per_minute, settings.providers),
            purse=Purse(settings.budget_usd, before + ledger.spent), ledger=ledger, settings=settings,
        )  # fmt: skip
        prefills = [Prefill(cell.key, request) for cell, row in ordered(plan, known)
                    if (request := known.requests[row]) is not None]  # fmt: skip
        with counts("warm", "prefills") as show:
            told = filling.run(prefills, show)
        ended = told.ended
        # A run that a hand or a provider stopped asks for nothing more.
        prefixes = _keep_alive(context, filling, journal, place, at) if settings.keepalive and ended else 0
        followed = None
        if told.stopped is None and shares is not None and isinstance(tail, Tail):
            with counts("follow", "prefills") as show:
                followed = follow(tail, known, shares, plan, filling, context.settings.objective, show)
            ended = followed.ended
        if ended:
            (place / f"{plan.name}.open.json").rename(place / f"{plan.name}.closed.json")
    if told.stopped is not None or not ended:
        notes += (f"to go on: python -m pipelines warm --config {context.settings.name}",)
    return Warmed(plan, resumed, told, before + ledger.spent, settings.budget_usd, notes, prefixes, followed)


def _keep_alive(context: Context, filling: Filling, journal: Journal, place: Path, at: datetime) -> int:
    """Read the prefixes that are due, from what the prefills left of the budget."""
    settings, kept = context.settings.warming, place / "keepalive.json"
    since = (at - timedelta(days=settings.history_days)).date()
    rows = context.lake.interactions(since=since, until=at.date(), columns=warm_keepalive.COLUMNS)
    found = warm_keepalive.due(rows, filling.catalogue, warm_keepalive.recalled(kept), at, settings)
    return warm_keepalive.read_prefixes(found, filling.caller, filling.purse, filling.ledger, journal, kept, at)


def _spent(place: Path, at: datetime, plan: WarmPlan) -> float:
    """Return what other plans spent whose windows are not over: a window has one budget, however often it is run."""
    total = 0.0
    for path in place.glob("*.closed.json"):
        other = WarmPlan.read(path)
        if other.name != plan.name and at < other.closes:
            total += Ledger.open(place / f"{other.name}.ledger.jsonl").spent
    return total


def opened(context: Context, warmer: WarmerBundle, router: Router, journal: Journal) -> Cache:
    """Return the configured cache, under the settings that the warmer bundle was tuned to."""
    where = str(context.settings.warming.cache).replace("{root}", str(context.workspace.root))
    size = warmer.sizes.get("sqlite", 1 << 30)
    tier = Redis(where) if where.startswith(("redis://", "rediss://")) else Sqlite(Path(where), size)
    return Cache([tier], cache_settings(context, warmer), router=router, journal=journal)


def cache_settings(context: Context, warmer: WarmerBundle) -> CacheSettings:
    """Return the tuned settings of the bundle, else the configured time to live."""
    known: Mapping[str, Any] = warmer.cache
    return CacheSettings(**{"ttl_seconds": context.settings.warming.ttl_seconds, **known})


def scope(context: Context) -> dict[str, Any]:
    """Return what the application names in the key beside the request."""
    settings = context.settings.warming
    known: dict[str, Any] = {"parameters": dict(settings.parameters)} if settings.parameters else {}
    return known if settings.model is None else {"model": settings.model, **known}


def catalogue(context: Context, router: Router) -> dict[str, Candidate]:
    """Return the candidates of the bundle in service by name, as the catalogue knows them today."""
    today = {candidate.name: candidate for candidate in logs.candidates(context)}
    return {candidate.name: today.get(candidate.name, candidate) for candidate in router.bundle.candidates}


def _plan(
    context: Context, known: Logged, cache: Cache, warmer: WarmerBundle, at: datetime, place: Path,
    shares: Following | None,
) -> tuple[WarmPlan, bool, tuple[str, ...]]:  # fmt: skip
    """Return the open plan of this window, or a new one with what is to say; a plan whose window is over is closed."""
    for path in sorted(place.glob("*.open.json")):
        plan = WarmPlan.read(path)
        if at < plan.closes:
            return plan, True, ()
        path.rename(path.with_name(path.name.replace(".open.", ".closed.")))
    settings, objective = context.settings.warming, context.settings.objective
    ttl = cache_settings(context, warmer).ttl_seconds
    life = settings.life_seconds(at.timestamp(), ttl)
    until, notes = at + timedelta(hours=settings.window_hours), []
    if life < min(ttl, settings.window_hours * 3600):
        notes.append(
            f"the cache is flushed in {life:.0f} s: what is due after it is for a run after it, so schedule one then"
        )
    clustered = settings.keys != EXACT and warmer.training.get("keys") == CLUSTERS
    found = keyed(context, known, warmer.tiers.get("semantic_threshold")) if clustered else None
    if isinstance(found, str):
        notes.append(f"the warmer foresees clusters, but {found}")
    elif found is not None:
        notes.append(str(found))
    keys = found.logged if isinstance(found, Keyed) else known
    p = warmer.chances(keys, at, life)
    if isinstance(found, Keyed):
        # The tier serves a cluster while the answer to any of its questions is held.
        of = found.clusters.of
        dies = np.zeros(len(keys.keys))
        np.maximum.at(dies, of, held(cache, known, p[of], scope(context), settings, objective))
    else:
        dies = held(cache, known, p, scope(context), settings, objective)
    made = make_plan(keys, p, dies, at, until, settings, objective, warmer.name, life, shares)
    return made, False, tuple(notes)
