"""Tune the cache on a replay of logged demand: what the past chooses is kept only where the later part agrees."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beastmode.eviction import DEFAULT, RULES
from beastmode.objective import Objective
from models.cache_tuning import Alike, Choice, Demand, Outcome, Prices, best
from models.cache_tuning import replay as replayed
from models.evictors.next_use import train
from models.evictors.settings import EvictorSettings, Past
from pipelines.warm_demand import Logged
from pipelines.warm_plan import hit_usd
from pipelines.warm_settings import WarmSettings

MOST = 100_000
"""The latest requests that are replayed: each trial replays them all."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The settings that serve from now on, and what both did on the later part."""

    choice: Choice
    default: Choice
    chosen: Outcome
    """On the later part, from an empty cache."""
    before: Outcome
    """What the configured settings do there."""
    half_life_seconds: float | None
    trials: tuple[Mapping[str, Any], ...]
    pace: float = 1.0
    """How many answers the memory holds: what the learned rule of eviction tells times in."""
    evictor: str | None = None
    """LightGBM's text of that rule, one more voter beside those that were replayed; None where none votes."""

    @property
    def better(self) -> bool:
        """Whether the later part agrees with the past."""
        return self.chosen.net_usd > self.before.net_usd

    @property
    def kept(self) -> Choice:
        """What the bundle says."""
        return self.choice if self.better else self.default

    @property
    def cache(self) -> dict[str, Any]:
        """Fields of `CacheSettings`."""
        known: dict[str, Any] = {"ttl_seconds": self.kept.ttl_seconds}
        return known if self.half_life_seconds is None else {**known, "half_life_seconds": self.half_life_seconds}

    @property
    def tiers(self) -> dict[str, Any]:
        """How the tiers are set up beside their sizes; the threshold is None where nothing is served by meaning."""
        threshold = self.kept.threshold
        known = {"eviction": self.kept.eviction, "semantic_threshold": threshold if math.isfinite(threshold) else None}
        return known if self.evictor is None else {**known, "pace": self.pace}

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the tier that was chosen."""
        return {self.kept.tier: self.kept.max_bytes}

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        chosen, kept = self.choice, "kept" if self.better else "not better on later requests, so nothing changes"
        meaning = f", other questions' answers from score {chosen.threshold:.3f}" * math.isfinite(chosen.threshold)
        yield (
            f"cache: ttl {chosen.ttl_seconds:.0f} s, {chosen.tier} of {chosen.max_bytes:,} bytes, eviction "
            f"{chosen.eviction}{meaning}: net ${self.chosen.net_usd:.4f} on later requests against "
            f"${self.before.net_usd:.4f} of the configured settings ({self.chosen.hits} and {self.before.hits} hits of "
            f"{self.chosen.requests}, {self.chosen.meant} and {self.before.meant} by meaning); {kept}"
        )

    def metrics(self) -> dict[str, float]:
        """Return what a tracked run shows."""
        known = {"chosen": self.chosen, "configured": self.before}
        return {
            f"cache/{name}/{metric}": float(value)
            for name, each in known.items()
            for metric, value in (
                ("net_usd", each.net_usd), ("hit_rate", each.hits / max(each.requests, 1)), ("wrong", each.wrong),
                ("semantic_hit_rate", each.meant / max(each.requests, 1)), ("held_usd", each.held_usd),
            )
        }  # fmt: skip


def tuned(
    known: Logged, settings: WarmSettings, objective: Objective, seed: int, alike: Alike | None = None
) -> Tuned | None:
    """Tune on the earlier part of demand and judge on the later; None where no answer has a known price.

    `alike` says which other questions' answers may serve a key; nothing is tuned to be served by meaning without it.
    """
    value = np.nan_to_num(known.miss_usd) + hit_usd(known, settings, objective)
    if not (value > 0).any():
        return None
    demand = Demand(known.key[-MOST:], known.at[-MOST:], value, known.answer_bytes, alike)
    past, later = demand.split(settings.test_share)
    half_life = None if settings.half_life_hours is None else settings.half_life_hours * 3600
    prices = Prices(
        half_life_seconds=half_life, wrong_usd=settings.wrong_usd, workers=settings.workers,
        memory_gigabyte_month_usd=settings.memory_gigabyte_month_usd,
        disk_gigabyte_month_usd=settings.disk_gigabyte_month_usd,
    )  # fmt: skip
    threshold = math.inf if alike is None else alike.threshold
    default = Choice(settings.ttl_seconds, "sqlite", 1 << 30, DEFAULT, threshold)
    choice, trials = best(past, prices, default, settings.trials, seed)
    chosen, before = (replayed(later, each, prices, seed) for each in (choice, default))
    found = Tuned(choice, default, chosen, before, half_life, tuple(trials))
    if (found.kept.tier, found.kept.eviction) != ("memory", "adaptive"):
        return found
    pace = max(1, int(found.kept.max_bytes / (known.answer_bytes.mean() + RULES["adaptive"]().overhead)))
    return replace(found, pace=float(pace), evictor=train(Past(demand.key, pace), EvictorSettings(), seed))
