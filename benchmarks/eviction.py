"""Which entries a full cache should let go of: `python -m benchmarks eviction --trace T --json OUT`.

A cache of a share of the distinct keys, all entries of one size. The first half of the trace is the past: each evictor
is replayed on it, the learned one is trained on it, and the vote of all (`adaptive`, what serves) weighs them by it.
Then all run the second half from the contents that least recently used has at half time, each with what it remembers of
the past, beside the rule that knows the future (Belady), and one that knows each key's rate over the whole trace and
nothing else, which nobody can (`true_rates`). Learning goes on, always from what has passed.
"""

import argparse
import heapq
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.eviction import FIXED, hand_over
from benchmarks.arguments import count, output, share
from benchmarks.traces import load
from features.demand import Demand
from models.evictors import EVICTORS
from models.evictors.choice import CHOSEN, compare, past_rates
from models.evictors.replay import belady, replay
from models.evictors.settings import EvictorSettings, Past

Ints = NDArray[np.int64]

FEWEST = 4
"""Requests: the past has a past of its own, and each half a future."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to."""
    options = _options(arguments)
    try:
        demands = load(options.trace, options.data, options.rows)
        for name, demand in demands.items():
            if len(demand) < FEWEST:
                raise ValueError(f"{name}: {len(demand)} requests have no past and future; give at least {FEWEST}")
    except ValueError as refused:
        print(f"eviction: {refused}", file=sys.stderr)
        return 2
    found = {name: measure(demand, options.share, options.seed) for name, demand in demands.items()}
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def measure(demand: Demand, part: float, seed: int) -> dict[str, Any]:
    """Return what was chosen on the first half, and what everything earns on the second."""
    settings = EvictorSettings()
    capacity, half = max(1, int(part * demand.keys)), len(demand) // 2
    past = Past(demand.key[:half], capacity)
    before = past_rates(past, settings, seed)
    told = compare(Past(demand.key, capacity), half, settings, seed)
    warm = replay(past.key, EVICTORS["lru"](capacity, settings, seed).rule, capacity).held
    best = belady(demand.key[half:], capacity, warm).hit_rate
    known = _Rated(np.bincount(demand.key))
    hand_over(known, (), warm)
    true = replay(demand.key[half:], known, capacity, warm).hit_rate
    rates = {name: played.hit_rate for name, played in told.items()}
    fixed = max(FIXED, key=lambda name: rates[name])
    preferred = max((name for name in before if name != CHOSEN), key=lambda name: before[name])
    room = best - rates["lru"]
    seen = len(set(past.key.tolist()))
    return {
        "requests": len(demand), "distinct": demand.keys, "capacity": capacity, "chosen_policy": CHOSEN,
        "past_hit_rates": {name: round(rate, 4) for name, rate in before.items()},
        "hit_rates": {name: round(rate, 4) for name, rate in rates.items()},
        "belady": round(best, 4), "true_rates": round(true, 4),
        "infinite_cache": round(1 - (demand.keys - seen) / max(len(demand) - half, 1), 4),
        "chosen": round(rates[CHOSEN], 4),
        "best_fixed_in_hindsight": fixed,
        "regret_points": _points(rates[fixed] - rates[CHOSEN]),
        "gap_closed": round((rates[CHOSEN] - rates["lru"]) / room, 3) if room > 0 else None,
        "gap_closed_learned": round((rates["next_use"] - rates["lru"]) / room, 3) if room > 0 else None,
        "gap_closed_true_rates": round((true - rates["lru"]) / room, 3) if room > 0 else None,
        "best_of_the_past": preferred,
        "regret_points_of_the_past": _points(rates[fixed] - rates[preferred]),
        "stale_hit_rate": 0.0, "prefills_per_request": 0.0,
        "hits_per_1000_requests_over_lru": round(1000 * (rates[CHOSEN] - rates["lru"]), 1),
    }  # fmt: skip


class _Rated:
    """Evicts the key of the lowest rate, the longest unused of equals."""

    def __init__(self, rate: Ints) -> None:
        self._rate = rate
        self._heap: list[tuple[int, int, int]] = []
        self._used: dict[int, int] = {}
        self._clock = 0

    def hit(self, key: int) -> None:
        """Note the moment."""
        self._clock += 1
        self._used[key] = self._clock

    def insert(self, key: int, size: int, cost: float) -> None:
        """Hold a key."""
        self.hit(key)
        heapq.heappush(self._heap, (int(self._rate[key]), self._clock, key))

    def evict(self) -> int:
        """Return the key of the lowest rate."""
        while True:
            rate, used, key = self._heap[0]
            if used == self._used[key]:
                return heapq.heappop(self._heap)[2]
            heapq.heapreplace(self._heap, (rate, self._used[key], key))


def _points(rate: float) -> float:
    return round(100 * rate, 2)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks eviction", description=__doc__)
    parser.add_argument("--trace", nargs="+", required=True, help="a parquet file, or a name in the data folder")
    parser.add_argument("--data", default=os.environ.get("BEASTMODE_DATA"), help="the folder of traces")
    parser.add_argument("--share", type=share, default=0.1, help="entries, as a share of the distinct keys")
    parser.add_argument("--rows", type=count, help="only the first so many requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=output, nargs="?", help="where to write what is printed")
    return parser.parse_args(arguments)
