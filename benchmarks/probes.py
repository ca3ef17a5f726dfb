"""What a planned probe is worth: policy value against money spent, for requests drawn by lot and for the planner.

    python -m benchmarks probes --train A.parquet --models LIST --budgets 100 200 400 800 --seeds 10 --json OUT

For each seed the prompts are dealt to a pool and a test; both ways ask the pool, learn by the same learner, and are
valued on the test by the outcomes of the candidates they choose. A probe is the money that asking one request of every
candidate takes; with --calls, and where the table knows no cost, every call costs the same. Figures are points of
quality less the best single candidate of the test's, with standard errors over seeds; differences are paired.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.objective import Objective
from beastmode.validity import plain
from benchmarks.candidate_sets import priced, read_prices
from features.outcomes import catalogue, outcomes
from features.table import Table
from models import encoders
from models.encoders import EncoderSettings
from models.examples import examples
from models.plain_neighbours import tune
from models.probing import Planning, Situation, plan
from models.probing_beliefs import Features, completed, fit

Floats = NDArray[np.float64]

ROUNDS = (50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1600)
"""Probes after which the planner looks at what came of them; the curve has a point at each."""
FOLDS = 5
DRAWS = 2000
"""Bootstrap samples of the seeds."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One seed's deal."""

    pool: Table
    embedding: NDArray[np.float32]
    price: Floats
    """(m,) Expected cost of a call; ones where the table knows none."""
    value: Callable[[Floats], float]
    """Of what was learned from the pool's qualities so far: quality on the test less best single's."""


@dataclass(frozen=True, slots=True)
class Point:
    """What was reached after a round."""

    probes: float
    """Money spent, in probes of every candidate."""
    calls: int
    requests: int
    value: float


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write its JSON."""
    options = _parser().parse_args(arguments)
    models = options.models.split(",") if options.models else None
    prices = read_prices(Path(options.prices)) if options.prices else {}
    table = priced(outcomes(pd.read_parquet(options.train), models), prices)
    rounds = [r for r in ROUNDS if r < max(options.budgets)] + [max(options.budgets)]
    rounds = sorted({*rounds, *options.budgets})
    started = time.perf_counter()
    curves: dict[str, list[list[Point]]] = {"random": [], "planner": []}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        setting = deal(table, seed, options.pool, options.test, options.calls, options.learner)
        for way, curve in curves.items():
            share = 1.0 if way == "random" else options.random_share
            curve.append(walk(setting, rounds, share, seed))
    found = report(curves, rounds, options.budgets)
    found |= {
        "candidates": list(table.candidates), "seeds": options.seeds, "first_seed": options.first_seed,
        "random_share": options.random_share, "learner": options.learner,
        "counted": "calls" if options.calls else "dollars", "pool": options.pool, "prompts": len(table),
        "seconds": time.perf_counter() - started,
    }  # fmt: skip
    text = json.dumps(plain(found), indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    print(text)
    return 0


def deal(table: Table, seed: int, pool: int, test: int, calls: bool, learner: str) -> Setting:
    """Deal prompts to a pool and a test; the encoder sees the pool's texts alone. `calls`: each costs the same."""
    order = np.random.default_rng(seed).permutation(len(table))
    pool = min(pool, len(table) // 2)
    inside, outside = table.take(order[:pool]), table.take(order[pool : pool + test])
    encoder = encoders.fit(inside.texts, inside.sessions.tolist(), EncoderSettings(), seed)
    near = encoder.encode(inside.texts)[:, encoder.embedding]
    features = Features.of(near)
    every, held = features(near), features(encoder.encode(outside.texts)[:, encoder.embedding])
    best_single = float(outside.quality.mean(axis=0).max())

    def value(quality: Floats) -> float:
        expected = fit(every, quality).quality(held) if learner == "beliefs" else neighbours(quality)
        choice = expected.argmax(axis=1)
        return float(outside.quality[np.arange(len(choice)), choice].mean()) - best_single

    def neighbours(quality: Floats) -> Floats:
        asked = np.flatnonzero(np.isfinite(quality).any(axis=1))
        known = replace(inside, quality=completed(every, quality)).take(asked)
        columns = slice(0, near.shape[1])
        names = tuple(f"near_{i}" for i in range(near.shape[1]))
        taught = examples(known, near[asked], names, columns, catalogue(inside), Objective(), FOLDS, seed)
        return tune(taught).quality(encoder.encode(outside.texts)[:, encoder.embedding])

    if calls or not np.isfinite(inside.cost_usd).any(axis=0).all():
        inside = replace(inside, cost_usd=np.ones_like(inside.cost_usd))
    return Setting(inside, near, np.nanmean(inside.cost_usd, axis=0), value)


def walk(setting: Setting, rounds: Sequence[int], random_share: float, seed: int) -> list[Point]:
    """Ask the pool round by round, each planned on what the ones before it told, and return what each reached."""
    pool, price = setting.pool, setting.price
    quality = np.full(pool.quality.shape, np.nan)
    probe, spent, points = float(price.sum()), 0.0, []
    cost = np.where(np.isfinite(pool.cost_usd), pool.cost_usd, price)
    for goal in rounds:
        room = goal * probe - spent
        picks = plan(
            Situation(
                request_ids=pool.request_ids, embedding=setting.embedding, quality=quality,
                price=np.broadcast_to(price, quality.shape), charge=np.zeros_like(quality),
                traffic=np.where(np.isnan(quality).all(axis=1), 1.0, 0.0), askable=np.isnan(quality),
            ),
            Planning(room, len(pool), 1.0 if random_share == 1 else random_share),
            pool.candidates,
            seed,
        )  # fmt: skip
        for pick in picks:
            at = (pick.row, list(pick.candidates))
            quality[at] = pool.quality[at]
            spent += float(cost[at].sum())
        asked = np.isfinite(quality)
        points.append(Point(spent / probe, int(asked.sum()), int(asked.any(axis=1).sum()), setting.value(quality)))
    return points


def report(
    curves: Mapping[str, Sequence[Sequence[Point]]], rounds: Sequence[int], budgets: Sequence[int]
) -> dict[str, Any]:
    """Return curves with their errors, the paired differences, and what the planner saves at each budget."""
    values = {way: 100 * np.array([[p.value for p in walk] for walk in walks]) for way, walks in curves.items()}
    spent = {way: np.array([[p.probes for p in walk] for walk in walks]) for way, walks in curves.items()}
    found: dict[str, Any] = {
        way: [
            {
                "budget": goal, **_mean(values[way][:, i]), "probes": spent[way][:, i].mean(),
                "calls": np.mean([walk[i].calls for walk in walks]),
                "requests": np.mean([walk[i].requests for walk in walks]),
            }
            for i, goal in enumerate(rounds)
        ]
        for way, walks in curves.items()
    }  # fmt: skip
    found["planner_less_random"] = [
        {"budget": goal, **_mean(values["planner"][:, i] - values["random"][:, i])} for i, goal in enumerate(rounds)
    ]
    found["saving"] = [_saving(values, spent, rounds, goal) for goal in budgets]
    return found


def _mean(values: Floats) -> dict[str, float]:
    se = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return {"points": float(values.mean()), "se": se}


def _saving(values: Mapping[str, Floats], spent: Mapping[str, Floats], rounds: Sequence[int], goal: int) -> Any:
    """Return the probes at which the planner's mean curve reaches random's mean at a budget, with a 90% interval."""
    rng = np.random.default_rng(0)
    column = list(rounds).index(goal)
    seeds = len(values["random"])

    def needed(rows: NDArray[np.intp]) -> float:
        wanted = values["random"][rows, column].mean()
        reached = np.maximum.accumulate(values["planner"][rows].mean(axis=0))
        money = spent["planner"][rows].mean(axis=0)
        if reached[-1] < wanted:
            return float("inf")
        first = int(np.argmax(reached >= wanted))
        if first == 0:
            return float(money[0])
        step = (wanted - reached[first - 1]) / max(reached[first] - reached[first - 1], 1e-12)
        return float(money[first - 1] + step * (money[first] - money[first - 1]))

    at = spent["random"][:, column].mean()
    draws = np.array([needed(rng.integers(0, seeds, seeds)) for _ in range(DRAWS)])
    low, high = np.quantile(draws, [0.05, 0.95], method="nearest")
    point = needed(np.arange(seeds))
    return {
        "budget": goal, "random_points": values["random"][:, column].mean(), "planner_needs": _finite(point),
        "planner_needs_90": [_finite(low), _finite(high)], "saving": _finite(1 - point / at),
        "saving_90": [_finite(1 - high / at), _finite(1 - low / at)],
    }  # fmt: skip


def _finite(value: float) -> float | None:
    """Return a number, or None where the planner did not get there within the largest budget."""
    return float(value) if np.isfinite(value) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks probes", description=__doc__.split("\n")[0])
    parser.add_argument("--train", required=True, help="outcome table, Parquet")
    parser.add_argument("--models", help="comma-separated; all models of the table by default")
    parser.add_argument("--prices", help="JSON file of US dollars a request by model")
    parser.add_argument("--budgets", type=int, nargs="+", default=[100, 200, 400, 800], help="in probes")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--pool", type=int, default=2500, help="the most prompts that may be asked")
    parser.add_argument("--test", type=int, default=3000, help="the most prompts that value a policy")
    parser.add_argument("--random-share", type=float, default=0.2, help="of the planner's money, spent by lot")
    parser.add_argument("--learner", choices=("beliefs", "neighbours"), default="beliefs",
                        help="the planner's beliefs, or tuned nearest neighbours on completed rows")  # fmt: skip
    parser.add_argument("--calls", action="store_true", help="count calls instead of dollars")
    parser.add_argument("--json", help="file to write")
    return parser
