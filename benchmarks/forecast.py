"""How often the forecast's interval holds the truth, on daily sums whose truth is known.

python -m benchmarks forecast --worlds 250 --json OUT
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.forecasting import LEVEL, Days, outlook

Floats = NDArray[np.float64]
WEEK = np.array([1, 1.05, 1.1, 1, 0.9, 0.35, 0.3])
"""What a weekday spends, the first being any of the week's."""
NOISE = 0.25
"""Standard deviation of the logarithm of a day's spend."""
KINDS = ("steady", "growing", "rising", "falling", "requests", "lingering", "wandering")
HORIZONS = (7, 30)


def world(kind: str, n: int, rng: np.random.Generator) -> Floats:
    """Return the spend of n days, (n,) US dollars: weekdays, a level and noise.

    steady; growing by 1% a day; rising or falling along a line; requests of a long-tailed cost; noise that lingers
    (half of it stays to the next day); a level that wanders by 5% a day and nothing else.
    """
    t = np.arange(n)
    level = {"growing": np.exp(0.01 * t), "rising": 1 + 0.02 * t, "falling": 1.5 - 0.008 * t}.get(kind, np.ones(n))
    mean = 100 * level * WEEK[(t + rng.integers(7)) % 7]
    if kind == "requests":
        return np.array([rng.lognormal(-1, 1.2, count).sum() for count in rng.poisson(2 * mean)])
    if kind == "wandering":
        return np.asarray(mean * np.exp(np.cumsum(rng.normal(0, 0.05, n))))
    shock = rng.normal(size=n)
    if kind == "lingering":
        for day in range(1, n):
            shock[day] = 0.5 * shock[day - 1] + 0.75**0.5 * shock[day]
    return np.asarray(mean * np.exp(NOISE * shock))


def coverage(kind: str, days: int, worlds: int, seed: int = 0) -> dict[str, float]:
    """Return the share of worlds whose next 7 and 30 days the interval held, and its median width over the truth."""
    rng = np.random.default_rng(seed)
    found: dict[str, float] = {}
    held: dict[int, list[bool]] = {horizon: [] for horizon in HORIZONS}
    wide: dict[int, list[float]] = {horizon: [] for horizon in HORIZONS}
    for number in range(worlds):
        usd = world(kind, days + max(HORIZONS), rng)
        ahead = outlook(Days(np.datetime64("2026-01-01", "D"), usd[:days]), max(HORIZONS), number)
        for horizon in HORIZONS:
            truth, said = float(usd[days : days + horizon].sum()), ahead.forecast(horizon)
            held[horizon].append(said.low <= truth <= said.high)
            wide[horizon].append((said.high - said.low) / truth)
    for horizon in HORIZONS:
        found[f"held_{horizon}"] = float(np.mean(held[horizon]))
        found[f"width_{horizon}"] = float(np.median(wide[horizon]))
    return found


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark, print its figures as lines, and write its JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks forecast", description=__doc__)
    parser.add_argument("--worlds", type=int, default=250, help="of each kind and length")
    parser.add_argument("--days", default="14,21,28,56", help="lengths of the history, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args(arguments)
    print(f"{LEVEL:.0%} are promised")
    print(f"{'world':10} {'days':>5} {'7 days held':>12} {'width':>6} {'30 days held':>13} {'width':>6}")
    figures = []
    for days in map(int, options.days.split(",")):
        for kind in KINDS:
            found = coverage(kind, days, options.worlds, options.seed)
            figures.append({"world": kind, "days": days, **found})
            print(f"{kind:10} {days:5} {found['held_7']:12.0%} {found['width_7']:6.2f} {found['held_30']:13.0%} "
                  f"{found['width_30']:6.2f}", flush=True)  # fmt: skip
    if options.json:
        Path(options.json).write_text(json.dumps({"worlds": options.worlds, "figures": figures}, indent=1))
    return 0
