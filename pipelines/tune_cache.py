"""Tune the cache on a replay of logged demand: what the past chooses is kept only where the later part agrees."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beastmode.objective import Objective
from models.cache_tuning import Choice, Demand, Outcome, Prices, best, replay
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
    def sizes(self) -> dict[str, int]:
        """Bytes of the tier that was chosen."""
        return {self.kept.tier: self.kept.max_bytes}

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        chosen, kept = self.choice, "kept" if self.better else "not better on later requests, so nothing changes"
        yield (
            f"cache: ttl {chosen.ttl_seconds:.0f} s, {chosen.tier} of {chosen.max_bytes:,} bytes: net "
            f"${self.chosen.net_usd:.4f} on later requests against ${self.before.net_usd:.4f} of the configured "
            f"settings ({self.chosen.hits} and {self.before.hits} hits of {self.chosen.requests}); {kept}"
        )

    def metrics(self) -> dict[str, float]:
        """Return what a tracked run shows."""
        known = {"chosen": self.chosen, "configured": self.before}
        return {
            f"cache/{name}/{metric}": float(value)
            for name, each in known.items()
            for metric, value in (
                ("net_usd", each.net_usd), ("hit_rate", each.hits / max(each.requests, 1)), ("wrong", each.wrong),
                ("held_usd", each.held_usd),
            )
        }  # fmt: skip


def tuned(known: Logged, settings: WarmSettings, objective: Objective, seed: int) -> Tuned | None:
    """Tune on the earlier part of demand and judge on the later; None where no answer has a known price."""
    value = np.nan_to_num(known.miss_usd) + hit_usd(known, settings, objective)
    if not (value > 0).any():
        return None
    demand = Demand(known.key[-MOST:], known.at[-MOST:], value, known.answer_bytes)
    past, later = demand.split(settings.test_share)
    half_life = None if settings.half_life_hours is None else settings.half_life_hours * 3600
    prices = Prices(
        half_life_seconds=half_life, wrong_usd=settings.wrong_usd, workers=settings.workers,
        memory_gigabyte_month_usd=settings.memory_gigabyte_month_usd,
        disk_gigabyte_month_usd=settings.disk_gigabyte_month_usd,
    )  # fmt: skip
    default = Choice(settings.ttl_seconds, "sqlite", 1 << 30)
    choice, trials = best(past, prices, default, settings.trials, seed)
    chosen, before = (replay(later, each, prices, seed) for each in (choice, default))
    return Tuned(choice, default, chosen, before, half_life, tuple(trials))
