"""What warming a response cache wins: `python -m benchmarks warmer --trace T --ttl 6h --budget .1 .2 .4 --json OUT`.

A cache without bound, whose answers live for a time, is replayed over the second half of the trace in time; prefills
are planned at the beginning of each window, and fetched as requests come where the learned warmer follows up, under a
budget of prefills a request. Before each of a few equal parts of that half, warmers are trained and the tournament is
held on everything before it. Warmers that know when each key returns (oracle) or how often (rates), both by plans
alone, no warming, and the ceiling (an infinite cache whose answers never die) stand beside.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import count, output, positive
from benchmarks.traces import load
from features.demand import Demand
from features.demand_tally import Tally
from models.warmers import WARMERS, tournament
from models.warmers.contest import Contestant, Played, Scoring
from models.warmers.following import Follower
from models.warmers.playing import Oracle, ceiling, judged, lead, middle, play
from models.warmers.settings import WarmerSettings

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
COUNTS = 0.9
"""The share of its budget that a row must have spent to be compared."""


@dataclass(frozen=True, slots=True)
class Walked:
    """A warmer that is replaced at each of its moments."""

    since: tuple[float, ...]
    warmers: tuple[Scoring, ...]

    def score(self, tally: Tally, keys: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the word of the one in service."""
        return self._serving(tally).score(tally, keys)

    @property
    def follows(self) -> bool:
        """Whether any of them follows up."""
        return any(warmer.follows for warmer in self.warmers)

    def following(self, tally: Tally) -> Follower | None:
        """Return who follows up for the one in service."""
        return self._serving(tally).following(tally)

    def _serving(self, tally: Tally) -> Scoring:
        return self.warmers[max(int(np.searchsorted(self.since, tally.now, side="right")) - 1, 0)]


class Rates(Scoring):
    """Is told how many windows of the whole trace each key is asked for in, past and future: no count can do better.

    Where keys come at random, nobody can; what lies between it and the oracle is when a key comes.
    """

    def __init__(self, demand: Demand, seconds: float) -> None:
        number = np.floor(demand.at / seconds).astype(np.int64)
        visits = np.unique(np.stack([demand.key, number]), axis=1)
        self._visits = np.bincount(visits[0], minlength=demand.keys).astype(np.float64)

    def score(self, tally: Tally, keys: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each key's windows, (keys,)."""
        return self._visits[keys]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to."""
    options = _options(arguments)
    try:
        ttl = seconds(options.ttl)
        flush = None if options.flush is None else UNITS["d"]
        window = seconds(options.window) if options.window else flush or ttl / 6
        settings = WarmerSettings(
            window_seconds=window,
            ttl_seconds=max(ttl, flush or 0.0),
            flush_seconds=flush,
            budgets=tuple(options.budget),
        )
        demands = load(options.trace, options.data, options.rows)
        for name, demand in demands.items():
            _judgeable(name, demand, window)
    except ValueError as refused:
        print(f"warmer: {refused}", file=sys.stderr)
        return 2
    found = {name: measure(demand, settings, options.parts, options.seed) for name, demand in demands.items()}
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def measure(demand: Demand, settings: WarmerSettings, parts: int, seed: int) -> dict[str, Any]:
    """Return hit rates, gaps closed, prefills and money of every warmer at every budget on the second half."""
    start = middle(demand, 0.5)
    end = float(demand.at[-1])
    moments = tuple(start + (end - start) * part / parts for part in range(parts))
    trained: dict[str, list[Any]] = {name: [] for name in WARMERS}
    chosen: dict[float, list[str]] = {budget: [] for budget in settings.budgets}
    for moment in moments:
        past = demand.until(moment)
        for name, train in WARMERS.items():
            trained[name].append(train(past, settings, seed))
        held = tournament.hold(past, settings, seed)
        for budget, one in held.chosen.items():
            chosen[budget].append(one.name)
    rows: dict[str, Contestant] = {tournament.NONE: Contestant()}
    for budget in settings.budgets:
        for name, many in trained.items():
            rows[f"{name}@{budget:g}"] = Contestant(Walked(moments, tuple(many)), budget)
        picked = tuple(trained[name][part] for part, name in enumerate(chosen[budget]))
        rows[f"chosen@{budget:g}"] = Contestant(Walked(moments, picked), budget)
        rows[f"rates@{budget:g}"] = Contestant(Rates(demand, settings.window_seconds), budget)
        rows[f"oracle@{budget:g}"] = Contestant(Oracle(demand, settings), budget)
    played = play(demand, start, settings, rows)
    top = ceiling(demand, start, settings.window_seconds)
    none = played[tournament.NONE]
    found: dict[str, Any] = {
        "requests": len(demand), "distinct": demand.keys, "span_seconds": round(end - float(demand.at[0]), 3),
        "judged_requests": int(none.requests.sum()),
        "ttl_seconds": settings.ttl_seconds, "window_seconds": settings.window_seconds,
        "flush_seconds": settings.flush_seconds, "none": round(none.hit_rate, 4), "ceiling": round(top, 4),
        "wrong_hit_rate": 0.0, "stale_hit_rate": 0.0,
        "learned": [None if one.model is None else one.weight for one in trained[tournament.LEARNED]],
        "follows": [one.follower is not None for one in trained[tournament.LEARNED]],
        "base_of_learned": [one.heuristic for one in trained[tournament.LEARNED]],
        "budgets": {},
    }  # fmt: skip
    for budget in settings.budgets:
        found["budgets"][f"{budget:g}"] = _told(budget, played, none, top, chosen[budget], settings, seed)
    return found


def _told(
    budget: float, played: Mapping[str, Played], none: Played, top: float, chosen: Sequence[str],
    settings: WarmerSettings, seed: int,
) -> dict[str, Any]:  # fmt: skip
    room = top - none.hit_rate
    rows = {name: played[f"{name}@{budget:g}"] for name in (*WARMERS, "chosen", "rates", "oracle")}
    best = max((name for name in WARMERS if name != tournament.LEARNED), key=lambda name: rows[name].hit_rate)
    told: dict[str, Any] = {
        name: {
            "hit_rate": round(row.hit_rate, 4),
            "gap_closed": round((row.hit_rate - none.hit_rate) / room, 3) if room > 0 else None,
            "prefills_per_request": round(row.spent, 4),
            "counts": row.spent >= COUNTS * budget,
            "useful_share": round(row.useful_share, 3),
            "net_saved_usd": round(none.misses_usd - row.misses_usd - row.prefills_usd, 4),
        }
        for name, row in rows.items()
    }
    told["chosen"]["warmers"] = list(chosen)
    told["best_heuristic"] = best
    for name in (tournament.LEARNED, "chosen"):
        difference, low, high = lead(rows[name], rows[best], settings.alpha, seed)
        told[f"{name}_less_best_points"] = [round(100 * value, 3) for value in (difference, low, high)]
    return told


def _judgeable(name: str, demand: Demand, window: float) -> None:
    """Raise ValueError where no whole window of the second half can be judged by what came before it."""
    start = middle(demand, 0.5)
    begin, end = judged(demand, start, window)
    if begin == end or not len(demand.until(start)):
        raise ValueError(
            f"{name}: of {len(demand)} requests in {demand.at[-1] - demand.at[0]:.4g} seconds none can be judged: the "
            f"second half holds no whole window of {window:g} seconds; plan more often, by a shorter --ttl or --window"
        )


def seconds(text: str) -> float:
    """Return a time as seconds; raises ValueError where it has no unit.

    >>> seconds("6h")
    21600.0
    """
    try:
        return positive(text[:-1]) * UNITS[text[-1:]]
    except (KeyError, argparse.ArgumentTypeError):
        raise ValueError(f"time {text!r}: write a number and one of {', '.join(UNITS)}, as in 6h") from None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks warmer", description=__doc__)
    parser.add_argument("--trace", nargs="+", required=True, help="a parquet file, or a name in the data folder")
    parser.add_argument("--data", default=os.environ.get("BEASTMODE_DATA"), help="the folder of traces")
    parser.add_argument("--ttl", default="6h", help="how long an answer lives")
    parser.add_argument("--window", help="how often prefills are planned; a sixth of the time to live, or the flush")
    parser.add_argument("--flush", choices=["daily"], help="empty the cache at midnight (UTC)")
    parser.add_argument("--budget", type=positive, nargs="+", default=[0.1, 0.2, 0.4], help="prefills a request")
    parser.add_argument("--parts", type=count, default=4, help="how often warmers are trained in the second half")
    parser.add_argument("--rows", type=count, help="only the first so many requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=output, nargs="?", help="where to write what is printed")
    return parser.parse_args(arguments)
