"""Which entries a full cache should let go of: `python -m benchmarks eviction --trace T --json OUT`.

A cache of a share of the distinct keys, all entries of one size. The first half of the trace is the past: every evictor
is replayed on it and one is chosen. Then all of them run the second half from the contents that least recently used has
at half time, each with what it remembers of the past, beside the rule that knows the future (Belady).
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.traces import locate, read
from features.demand import Demand
from models.evictors import EVICTORS
from models.evictors.choice import choose, compare
from models.evictors.replay import belady, replay
from models.evictors.settings import EvictorSettings, Past

FIXED = tuple(name for name in EVICTORS if name != "next_use")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to."""
    options = _options(arguments)
    try:
        demands = {path.stem: read(path, options.rows) for path in (locate(t, options.data) for t in options.trace)}
    except ValueError as refused:
        print(f"eviction: {refused}", file=sys.stderr)
        return 2
    found = {name: measure(demand, options.share, options.seed) for name, demand in demands.items()}
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def measure(demand: Demand, share: float, seed: int) -> dict[str, Any]:
    """Return what was chosen on the first half, and what everything earns on the second."""
    settings = EvictorSettings()
    capacity, half = max(1, int(share * demand.keys)), len(demand) // 2
    past = Past(demand.key[:half], demand.keys, capacity)
    choice = choose(past, settings, seed)
    told = compare(Past(demand.key, demand.keys, capacity), half, settings, seed)
    warm = replay(past.key, EVICTORS["lru"](past, settings, seed).make(), capacity).held
    best = belady(demand.key[half:], capacity, warm).hit_rate
    rates = {name: played.hit_rate for name, played in told.items()}
    fixed = max(FIXED, key=lambda name: rates[name])
    room = best - rates["lru"]
    seen = len(set(past.key.tolist()))
    return {
        "requests": len(demand), "distinct": demand.keys, "capacity": capacity,
        "chosen_on_the_past": choice.name,
        "past_hit_rates": {name: round(rate, 4) for name, rate in choice.hit_rates.items()},
        "hit_rates": {name: round(rate, 4) for name, rate in rates.items()},
        "belady": round(best, 4),
        "infinite_cache": round(1 - (demand.keys - seen) / max(len(demand) - half, 1), 4),
        "chosen": round(rates[choice.name], 4),
        "best_fixed_in_hindsight": fixed,
        "regret_points": round(100 * (rates[fixed] - rates[choice.name]), 2),
        "gap_closed": round((rates[choice.name] - rates["lru"]) / room, 3) if room > 0 else None,
        "gap_closed_learned": round((rates["next_use"] - rates["lru"]) / room, 3) if room > 0 else None,
        "stale_hit_rate": 0.0, "prefills_per_request": 0.0,
        "hits_per_1000_requests_over_lru": round(1000 * (rates[choice.name] - rates["lru"]), 1),
    }  # fmt: skip


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks eviction", description=__doc__)
    parser.add_argument("--trace", nargs="+", required=True, help="a parquet file, or a name in the data folder")
    parser.add_argument("--data", default=os.environ.get("BEASTMODE_DATA"), help="the folder of traces")
    parser.add_argument("--share", type=float, default=0.1, help="entries, as a share of the distinct keys")
    parser.add_argument("--rows", type=int, help="only the first so many requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, nargs="?", help="where to write what is printed")
    return parser.parse_args(arguments)
