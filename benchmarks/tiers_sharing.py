"""Hits that several processes keep, against one cache for all of them."""

import multiprocessing
import queue
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from beastmode.cache import Cache, CacheSettings, Memory, Miss, Redis, Sqlite

KEYS = ("answer_class", "key", "text", "hash_ids")
"""Columns that say what was asked, in order of preference."""
FOREVER = CacheSettings(ttl_seconds=1e9, jitter=0, wait_seconds=600, lease_seconds=600)


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a trace: who asks what, which version of the answer would be right, what asking costs."""

    tenant: str | None
    key: str
    version: str | None
    cost_usd: float


def read(path: Path) -> list[Call]:
    """Return the requests of a trace in their order; raises ValueError where it has none that can be read."""
    # Here, because workers import this module too, and need no tables.
    from benchmarks.traces import cost, requests

    named, _, asked = requests(path, KEYS, ("tenant", "answer_version"), timed=False)
    keys = [str(value) for value in asked[named].to_pylist()]
    tenants, versions = _known(asked, "tenant", None), _known(asked, "answer_version", "0")
    return [Call(*row) for row in zip(tenants, keys, versions, cost(path, asked, 0.0).tolist(), strict=True)]


def _known(asked: Any, name: str, usual: str | None) -> list[str | None]:
    """Return a column as texts, the usual where there is none."""
    values = asked[name].to_pylist() if name in asked.column_names else [None] * len(asked)
    return [usual if value is None else str(value) for value in values]


def sharing(
    name: str, calls: Sequence[Call], workers: int, redis_url: str | None, scratch: Path, seed: int
) -> dict[str, Any]:
    """Return hits of one shared cache, and what of them so many workers keep with each second tier."""
    distinct = len({(call.tenant, call.key) for call in calls})
    shared = len(calls) - distinct
    dealt = np.random.default_rng(seed).integers(workers, size=len(calls))
    parts = [[calls[i] for i in np.flatnonzero(dealt == worker).tolist()] for worker in range(workers)]
    second: dict[str, str | None] = {"memory": None, "memory+sqlite": str(scratch / f"{name}.sqlite")}
    if redis_url is not None:
        second["memory+redis"] = redis_url
    runs = {}
    for tiers, where in second.items():
        told = _workers(parts, where, f"{name}:")
        hits, upstream = sum(one["hits"] for one in told), sum(one["upstream"] for one in told)
        runs[tiers] = {
            "hit_rate": round(hits / len(calls), 4),
            "hits_kept": round(hits / shared, 4) if shared else None,
            "first_tier_share_of_hits": round(sum(one["memory"] for one in told) / max(hits, 1), 4),
            "upstream_calls_a_key": round(upstream / distinct, 4),
            "wrong": sum(one["wrong"] for one in told),
            "stale_hit_rate": round(sum(one["stale"] for one in told) / max(hits, 1), 4),
            "saved_usd": round(sum(one["saved_usd"] for one in told), 2),
            "prefills_per_request": 0.0,
        }
    return {"requests": len(calls), "distinct": distinct, "ceiling": round(shared / len(calls), 4), "runs": runs}


def _workers(parts: Sequence[Sequence[Call]], where: str | None, prefix: str) -> list[dict[str, Any]]:
    # Spawned, so that each is a process like any other: nothing of the parent's memory, and its own connections.
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(len(parts))
    children = [context.Process(target=_work, args=(part, where, prefix, barrier, results)) for part in parts]
    for child in children:
        child.start()
    told: list[dict[str, Any]] = []
    while len(told) < len(children):
        try:
            told.append(results.get(timeout=1))
        except queue.Empty:
            dead = [child.exitcode for child in children if child.exitcode]
            if dead:
                for child in children:
                    child.terminate()
                raise RuntimeError(f"a worker ended with exit code {dead[0]}; what it said stands above") from None
    for child in children:
        child.join()
    return told


def _work(calls: Sequence[Call], where: str | None, prefix: str, barrier: Any, results: Any) -> None:
    tiers: list[Any] = [Memory(1 << 30)]
    if where is not None:
        tiers.append(Redis(where, prefix=prefix, timeout=5) if "://" in where else Sqlite(where, timeout=30))
    told: dict[str, Any] = {"hits": 0, "upstream": 0, "memory": 0, "wrong": 0, "stale": 0, "saved_usd": 0.0}
    with Cache(tiers, FOREVER) as cache:
        barrier.wait()
        for call in calls:
            answer = cache.fetch(call.key, partial(_fill, call), model="m", tenant=call.tenant)
            tenant, key, version = answer.value
            told["wrong"] += (tenant, key) != (call.tenant, call.key)
            if answer.hit:
                told["hits"] += 1
                told["memory"] += answer.tier == "memory"
                told["stale"] += version != call.version
                told["saved_usd"] += answer.saved_usd or 0.0
            else:
                told["upstream"] += 1
    results.put(told)


def _fill(call: Call, miss: Miss) -> list[Any]:
    miss.attempt.cost(call.cost_usd)
    return [call.tenant, call.key, call.version]
