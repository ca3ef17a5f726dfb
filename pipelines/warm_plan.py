"""A plan of prefills for one window: a file without a word of any prompt, so that a killed run goes on with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.cache import Cache
from beastmode.objective import Objective
from beastmode.records import new_id
from models.prefills import choose, useful
from models.warmers.following import Follower
from pipelines.files import write_whole
from pipelines.warm_demand import Logged
from pipelines.warm_settings import WarmSettings

Floats = NDArray[np.float64]

LEEWAY = timedelta(minutes=1)
"""How much earlier than a window after the last run the next one may start."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One key to fill."""

    key: str
    """In hex, as in `Logged.keys`."""
    p: float
    """P(a request comes within its time to live that no held answer could serve)."""
    saving_usd: float
    """Expected, before the cost."""
    usd: float
    """Expected cost."""


@dataclass(frozen=True, slots=True)
class WarmPlan:
    """Prefills in the order in which they are asked."""

    name: str
    warmer: str
    """The bundle that predicted."""
    at: str
    until: str
    """The end of the window; a plan that is open when it `closes` is not gone on with."""
    cells: tuple[Cell, ...]
    keys: int
    """Keys that were looked at."""
    held: int
    """Keys whose answer lives longer than the window."""
    without: int
    """Keys whose prompt the log does not hold."""
    worthless: int
    """Keys that would cost more than they save."""
    beyond: int
    """Keys that are worth it, and not in the budget."""
    price: float = 0.0
    """What a prefill must be worth in this window, planned or a follow-up, where both share the budget."""

    @property
    def closes(self) -> datetime:
        """When the plan is over: a little before `until`, since the next run may start early by as much."""
        at, until = datetime.fromisoformat(self.at), datetime.fromisoformat(self.until)
        return until - min(LEEWAY, (until - at) / 20)

    @property
    def usd(self) -> float:
        """What all of it should cost."""
        return sum(cell.usd for cell in self.cells)

    @property
    def saving_usd(self) -> float:
        """What it is expected to save, before its cost."""
        return sum(cell.saving_usd for cell in self.cells)

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> "WarmPlan":
        """Return the plan that `write` wrote."""
        known = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**known, "cells": tuple(Cell(**cell) for cell in known["cells"])})


@dataclass(frozen=True, slots=True)
class Following:
    """The follow-ups with which a plan shares its window's budget."""

    follower: Follower
    planned: Floats
    """(k,) What planned prefills are worth, on the follower's scale."""

    def price(
        self, worth: Floats, logged: Logged, hits: Floats, requests: int, settings: WarmSettings
    ) -> tuple[float, int]:
        """Return the worth from which this window's prefills are made, planned or not, and how many are planned.

        `worth` are the planned prefills that save more than they cost, `requests` as many as the window should bring;
        `hits`, (k,), what a hit is worth beside. Costs are taken to be the mean request's.
        """
        asked = logged.key if len(logged) else np.arange(len(logged.keys))
        miss, hit = float(np.nanmean(logged.miss_usd[asked])), float(hits[asked].mean())
        least = settings.price_share * miss / max(miss + hit, 1e-12)
        expected = tuple(each for each in self.follower.expected if each[0] > least)
        allowed = float(settings.prefills)
        if settings.budget_usd is not None and miss > 0:
            allowed = min(allowed, settings.budget_usd / (settings.price_share * miss))
        return self.follower.price(worth, requests, allowed, expected)


def make_plan(
    logged: Logged,
    p: Floats,
    fresh_until: Floats,
    at: datetime,
    until: datetime,
    settings: WarmSettings,
    objective: Objective,
    warmer: str,
    ttl_seconds: float,
    following: Following | None = None,
) -> WarmPlan:
    """Plan the prefills of the window from `at` to `until`.

    `p` is P(a key is asked for within the time to live from `at`), `fresh_until` when its held answer dies (seconds
    since 1970, 0 where none is held), both (k,). An answer that is fetched at `at` adds what is left of its time to
    live once the held one is dead. What is held for the whole window is left to the next one's plan, and to
    follow-ups what they should spend of the budget, where they share it.
    """
    left = np.clip(fresh_until - at.timestamp(), 0.0, ttl_seconds)
    uncovered = np.where(fresh_until >= until.timestamp(), 0.0, 1 - left / ttl_seconds)
    there = np.array([request is not None for request in logged.requests], dtype=bool)
    chance = np.where(there, useful(p, uncovered), 0.0)
    budget = np.inf if settings.budget_usd is None else settings.budget_usd
    costs, hits = settings.price_share * logged.miss_usd, hit_usd(logged, settings, objective)
    found = choose(chance, logged.miss_usd, costs, hits, budget_usd=budget, most=settings.prefills)
    worth_it = len(found.rows) + found.beyond
    price = 0.0
    if following is not None:
        worth = following.planned * uncovered
        saves = chance * (logged.miss_usd + hits) > costs
        requests = int((logged.at > at.timestamp() - (until - at).total_seconds()).sum())
        price, most = following.price(worth[saves], logged, hits, requests, settings)
        dear = np.where(worth >= price, chance, 0.0)
        found = choose(dear, logged.miss_usd, costs, hits, budget_usd=budget, most=min(most, settings.prefills))
    cells = tuple(
        Cell(logged.keys[row].hex(), float(chance[row]), float(saving), float(cost))
        for row, saving, cost in zip(found.rows.tolist(), found.saving_usd, found.cost_usd, strict=True)
    )
    held, without = int((there & (uncovered <= 0)).sum()), int((~there).sum())
    return WarmPlan(
        new_id(), warmer, at.isoformat(), until.isoformat(), cells, len(there), held, without,
        len(there) - worth_it - held - without, worth_it - len(cells), price,
    )  # fmt: skip


def hit_usd(logged: Logged, settings: WarmSettings, objective: Objective) -> Floats:
    """Return what a hit is worth beside the money that it saves, in US dollars, (k,): the wait that it spares."""
    if settings.hit_usd is not None:
        return np.full(len(logged.keys), settings.hit_usd)
    if objective.per_dollar <= 0:
        return np.zeros(len(logged.keys))
    return np.nan_to_num(objective.per_second / objective.per_dollar * logged.miss_ms / 1000)


def held(
    cache: Cache, logged: Logged, p: Floats, scope: Mapping[str, Any], settings: WarmSettings, objective: Objective
) -> Floats:
    """Return when the held answer of each key dies, in seconds since 1970, 0 where none is held, (k,).

    Only keys that would be worth it are looked up: a look counts as a use, and keeps an answer from being evicted.
    """
    worth = p * (logged.miss_usd + hit_usd(logged, settings, objective)) > settings.price_share * logged.miss_usd
    dies = np.zeros(len(logged.keys))
    for row in np.flatnonzero(worth).tolist():
        request = logged.requests[row]
        found = None if request is None else cache.get(request, **scope)
        if found is not None and found.entry is not None:
            dies[row] = found.entry.fresh_until
    return dies


def ordered(plan: WarmPlan, logged: Logged) -> Sequence[tuple[Cell, int]]:
    """Return the cells whose keys are still known, each with its place in `logged`."""
    place = {key.hex(): row for row, key in enumerate(logged.keys)}
    return [(cell, place[cell.key]) for cell in plan.cells if cell.key in place]
