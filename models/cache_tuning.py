"""Settings of a cache by replay: time to live, tier and size are chosen on the past and judged on what came later."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray

from models.tuning import tune

Floats = NDArray[np.float64]

MONTH = 30 * 86_400.0
GIGABYTE = float(1 << 30)
TTLS = (60.0, 30 * 86_400.0)
"""Seconds between which the time to live is sought, by its logarithm."""
SHARES = (0.01, 2.0)
"""Of the bytes of all answers: the sizes between which is sought."""
SMALLEST = 16 << 20
"""Bytes under which no size is chosen: the tables of an empty SQLite file take some, and what an answer weighs is a
guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What hits save and holding answers costs."""

    half_life_seconds: float | None = None
    """The age at which half of the answers are no longer true; None where they stay true."""
    wrong_usd: float = 0.0
    """What it costs to serve one that is not."""
    memory_gigabyte_month_usd: float = 3.0
    """Of each process."""
    disk_gigabyte_month_usd: float = 0.1
    workers: int = 1
    """Processes, each with a memory of its own; requests are dealt to them by lot."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to set a cache up."""

    ttl_seconds: float
    tier: Literal["memory", "sqlite"]
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a choice comes to over a stretch of demand, in US dollars."""

    requests: int
    hits: int
    wrong: float
    """Expected hits that are no longer true."""
    saved_usd: float
    wrong_usd: float
    held_usd: float

    @property
    def net_usd(self) -> float:
        """Money saved, less what wrong answers and holding them cost."""
        return self.saved_usd - self.wrong_usd - self.held_usd


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """Requests in time order, and what each key's answer costs and weighs."""

    key: NDArray[np.int64]
    """(n,)"""
    at: Floats
    """(n,) Seconds."""
    value_usd: Floats
    """(k,) What a hit saves: the miss, and what the wait is worth."""
    bytes: Floats
    """(k,)"""

    def split(self, share: float) -> tuple["Demand", "Demand"]:
        """Return the earlier requests and the latest share."""
        cut = len(self.key) - round(share * len(self.key))
        return (
            Demand(self.key[:cut], self.at[:cut], self.value_usd, self.bytes),
            Demand(self.key[cut:], self.at[cut:], self.value_usd, self.bytes),
        )


def replay(demand: Demand, choice: Choice, prices: Prices, seed: int) -> Outcome:
    """Replay a cache from empty, the least recently used going first where it is full.

    A hit of age a is wrong with 1 - 2^(-a / half-life). The most bytes that are ever held are paid for all the time.
    """
    n = len(demand.key)
    workers = prices.workers if choice.tier == "memory" else 1
    dealt = np.random.default_rng(seed).integers(0, workers, n).tolist() if workers > 1 else [0] * n
    caches: list[OrderedDict[int, float]] = [OrderedDict() for _ in range(workers)]
    used, peak = [0.0] * workers, [0.0] * workers
    value, size = demand.value_usd.tolist(), demand.bytes.tolist()
    hits, saved, ages = 0, 0.0, []
    for key, at, worker in zip(demand.key.tolist(), demand.at.tolist(), dealt, strict=True):
        cache = caches[worker]
        made = cache.get(key)
        if made is not None and at - made < choice.ttl_seconds:
            cache.move_to_end(key)
            hits, saved = hits + 1, saved + value[key]
            ages.append(at - made)
            continue
        if made is None:
            if size[key] > choice.max_bytes:
                continue
            used[worker] += size[key]
        cache[key] = at
        cache.move_to_end(key)
        while used[worker] > choice.max_bytes:
            used[worker] -= size[cache.popitem(last=False)[0]]
        peak[worker] = max(peak[worker], used[worker])
    half = prices.half_life_seconds
    wrong = 0.0 if half is None else float((1 - 0.5 ** (np.array(ages) / half)).sum())
    months = (demand.at[-1] - demand.at[0]) / MONTH if n else 0.0
    rate = prices.memory_gigabyte_month_usd if choice.tier == "memory" else prices.disk_gigabyte_month_usd
    held = sum(peak) / GIGABYTE * rate * float(months)
    return Outcome(n, hits, wrong, saved, wrong * prices.wrong_usd, held)


def best(
    demand: Demand, prices: Prices, default: Choice, trials: int, seed: int
) -> tuple[Choice, list[dict[str, Any]]]:
    """Return the choice of the highest net saving, `default` among those tried, and every trial as plain data.

    Where nothing says that answers go stale, or that this costs anything, every longer time to live would look better:
    the default's is kept.
    """
    whole = _whole(demand)
    ttls = TTLS if prices.half_life_seconds is not None and prices.wrong_usd > 0 else (default.ttl_seconds,) * 2

    def score(trial: optuna.Trial) -> float:
        return replay(demand, _choice(trial.params | _suggest(trial, ttls), whole), prices, seed).net_usd

    share = min(max(default.max_bytes / whole, SHARES[0]), SHARES[1])
    first = {"ttl_seconds": min(max(default.ttl_seconds, ttls[0]), ttls[1]), "tier": default.tier, "share": share}
    params, tried = tune(score, trials, seed, first=[first])
    return _choice(params, whole), tried


def _suggest(trial: optuna.Trial, ttls: tuple[float, float]) -> dict[str, Any]:
    return {
        "ttl_seconds": trial.suggest_float("ttl_seconds", *ttls, log=True),
        "tier": trial.suggest_categorical("tier", ["memory", "sqlite"]),
        "share": trial.suggest_float("share", *SHARES, log=True),
    }


def _choice(params: Mapping[str, Any], whole: float) -> Choice:
    return Choice(float(params["ttl_seconds"]), params["tier"], max(int(np.ceil(params["share"] * whole)), SMALLEST))


def _whole(demand: Demand) -> float:
    """Return the bytes of all answers that are asked for."""
    return float(max(demand.bytes[np.unique(demand.key)].sum(), 1.0))
