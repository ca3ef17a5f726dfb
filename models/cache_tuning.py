"""Settings of a cache by replay: chosen on the past and judged on what came later.

Time to live, tier, size, the rule of eviction, and from which score on another question's answer is served.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray

from beastmode.eviction import RULES
from models.tuning import tune

Ints = NDArray[np.int64]
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
    eviction: str = "lru"
    """Of the memory, by its name in `beastmode.eviction.RULES`; an SQLite file lets go of the least recently used."""
    threshold: float = math.inf
    """The least score from which another question's answer is served; infinite where none ever is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a choice comes to over a stretch of demand, in US dollars."""

    requests: int
    hits: int
    """Those by meaning included."""
    meant: int
    """Answers to another question."""
    wrong: float
    """Expected hits that are not true: no longer, or of a question that only looks the same."""
    saved_usd: float
    wrong_usd: float
    held_usd: float

    @property
    def net_usd(self) -> float:
        """Money saved, less what wrong answers and holding them cost."""
        return self.saved_usd - self.wrong_usd - self.held_usd


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """For each key the questions of the same partition that are most like it, the best first; `c` at most."""

    key: Ints
    """(k, c) Their keys, -1 where there are fewer."""
    score: Floats
    """(k, c) P(its answer is right for this one), by the verifier that serves."""
    threshold: float
    """The verifier's own: no lower one keeps its budget of wrong answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """Requests in time order, and what each key's answer costs and weighs."""

    key: Ints
    """(n,)"""
    at: Floats
    """(n,) Seconds."""
    value_usd: Floats
    """(k,) What a hit saves: the miss, and what the wait is worth."""
    bytes: Floats
    """(k,)"""
    alike: Alike | None = None
    """None where nothing is served by meaning."""

    def split(self, share: float) -> tuple["Demand", "Demand"]:
        """Return the earlier requests and the latest share."""
        cut = len(self.key) - round(share * len(self.key))
        return (
            replace(self, key=self.key[:cut], at=self.at[:cut]),
            replace(self, key=self.key[cut:], at=self.at[cut:]),
        )


class _Held:
    """One cache that is replayed, as `beastmode.cache.Memory` and `Sqlite` are."""

    def __init__(self, choice: Choice, bytes_of: list[float], value: list[float]) -> None:
        self._rule = RULES[choice.eviction if choice.tier == "memory" else "lru"]()
        self._room = choice.max_bytes
        self._ttl = choice.ttl_seconds
        self._bytes = [size + self._rule.overhead for size in bytes_of]
        self._value = value
        self._made: dict[int, float] = {}
        self._used = self.peak = 0.0

    def age(self, key: int, at: float) -> float | None:
        """Return the age of a key's answer, which counts as a use; None where there is none that is fresh."""
        made = self._made.get(key)
        if made is None:
            return None
        self._rule.hit(key)
        return at - made if at - made < self._ttl else None

    def fresh(self, key: int, at: float) -> bool:
        """Return whether there is a fresh answer; nothing is used."""
        return at - self._made.get(key, -math.inf) < self._ttl

    def put(self, key: int, at: float) -> None:
        """Hold a new answer, in the place of the former one."""
        size = self._bytes[key]
        if key in self._made:
            self._made[key] = at
            return
        if size > self._room:
            return
        while self._used + size > self._room:
            gone = self._rule.evict()
            del self._made[gone]
            self._used -= self._bytes[gone]
        self._made[key] = at
        self._used += size
        self._rule.insert(key, int(size), self._value[key])
        self.peak = max(self.peak, self._used)


@dataclass(slots=True)
class _Count:
    """What a replay adds up."""

    hits: int = 0
    meant: int = 0
    saved: float = 0.0
    ages: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)

    def hit(self, value: float, age: float, right: float) -> None:
        self.hits += 1
        self.saved += value
        self.ages.append(age)
        self.right.append(right)


def replay(demand: Demand, choice: Choice, prices: Prices, seed: int) -> Outcome:
    """Replay a cache from empty.

    A hit of age a by the score s (1 where the question is the same) is right with s x 2^(-a / half-life). The most
    bytes that are ever held are paid for all the time.
    """
    n = len(demand.key)
    workers = prices.workers if choice.tier == "memory" else 1
    dealt = np.random.default_rng(seed).integers(0, workers, n).tolist() if workers > 1 else [0] * n
    value = demand.value_usd.tolist()
    caches = [_Held(choice, demand.bytes.tolist(), value) for _ in range(workers)]
    near = _near(demand.alike, choice.threshold)
    count = _Count()
    for key, at, worker in zip(demand.key.tolist(), demand.at.tolist(), dealt, strict=True):
        cache = caches[worker]
        age = cache.age(key, at)
        if age is not None:
            count.hit(value[key], age, 1.0)
            continue
        other = next((pair for pair in near.get(key, ()) if cache.fresh(pair[0], at)), None)
        if other is not None and (age := cache.age(other[0], at)) is not None:
            count.meant += 1
            count.hit(value[key], age, other[1])
            continue
        cache.put(key, at)
    half = prices.half_life_seconds
    true = np.array(count.right) * (1.0 if half is None else 0.5 ** (np.array(count.ages) / half))
    wrong = float((1 - true).sum())
    months = (demand.at[-1] - demand.at[0]) / MONTH if n else 0.0
    rate = prices.memory_gigabyte_month_usd if choice.tier == "memory" else prices.disk_gigabyte_month_usd
    held = sum(cache.peak for cache in caches) / GIGABYTE * rate * float(months)
    return Outcome(n, count.hits, count.meant, wrong, count.saved, wrong * prices.wrong_usd, held)


def _near(alike: Alike | None, threshold: float) -> dict[int, list[tuple[int, float]]]:
    """Return for each key the others whose answers may serve it, the likeliest first."""
    if alike is None:
        return {}
    good = (alike.key >= 0) & (alike.score >= max(threshold, alike.threshold))
    return {
        key: [(int(alike.key[key, c]), float(alike.score[key, c])) for c in np.flatnonzero(good[key]).tolist()]
        for key in np.flatnonzero(good.any(axis=1)).tolist()
    }


def best(
    demand: Demand, prices: Prices, default: Choice, trials: int, seed: int
) -> tuple[Choice, list[dict[str, Any]]]:
    """Return the choice of the highest net saving, `default` among those tried, and every trial as plain data.

    Where nothing says that answers go stale, or that this costs anything, every longer time to live would look better:
    the default's is kept.
    """
    whole = _whole(demand)
    costly = prices.wrong_usd > 0
    ttls = TTLS if prices.half_life_seconds is not None and costly else (default.ttl_seconds,) * 2
    least = math.inf if demand.alike is None else demand.alike.threshold
    # Where a wrong answer costs nothing, every answer that keeps the verifier's budget would do.
    thresholds = (least, 1.0) if costly and least < 1 else None
    share = min(max(default.max_bytes / whole, SHARES[0]), SHARES[1])

    def choice(params: Mapping[str, Any]) -> Choice:
        size = max(int(np.ceil(params["share"] * whole)), SMALLEST)
        eviction, threshold = params.get("eviction", default.eviction), params.get("threshold", least)
        return Choice(float(params["ttl_seconds"]), params["tier"], size, eviction, threshold)

    def score(trial: optuna.Trial) -> float:
        params = {
            "ttl_seconds": trial.suggest_float("ttl_seconds", *ttls, log=True),
            "tier": trial.suggest_categorical("tier", ["memory", "sqlite"]),
            "share": trial.suggest_float("share", *SHARES, log=True),
        }
        if params["tier"] == "memory":
            params["eviction"] = trial.suggest_categorical("eviction", list(RULES))
        if thresholds is not None:
            params["threshold"] = trial.suggest_float("threshold", *thresholds)
        return replay(demand, choice(params), prices, seed).net_usd

    first = {
        "ttl_seconds": min(max(default.ttl_seconds, ttls[0]), ttls[1]), "tier": default.tier, "share": share,
        "eviction": default.eviction, "threshold": min(max(default.threshold, least), 1.0),
    }  # fmt: skip
    params, tried = tune(score, trials, seed, first=[first])
    return choice(params), tried


def _whole(demand: Demand) -> float:
    """Return the bytes of all answers that are asked for."""
    return float(max(demand.bytes[np.unique(demand.key)].sum(), 1.0))
