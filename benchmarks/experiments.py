"""Do experiments on live traffic survive being watched? False promotions, power, mismatched shares, variance cut.

    python -m benchmarks experiments --json OUT
    python -m benchmarks experiments --parts predictions --set NAME ... --data DIR --json OUT

Synthetic units of one request each, so that the truth is known: quality right or wrong with an ease that a prediction
partly knows, cost and latency log-normal. Every verdict is `models.experiments.judge`'s. `predictions` replays an
outcome table as an experiment of the best single candidate against a router that was trained on the other half of the
prompts, with the router's own predictions as the covariate.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from beastmode.objective import Objective
from beastmode.validity import plain
from benchmarks.gate import tables
from features.outcomes import catalogue
from features.table import Table
from models import exporting, recipes
from models.exact import lower, upper
from models.experiments import Judged, Rows, Settings, judge
from models.experiments.mismatch import mismatch

Floats = NDArray[np.float64]

EVERY = 100
"""Units between two looks."""
SIZES = (10_000, 20_000, 40_000, 80_000)
"""Units of both arms that power is shown for; each is the plan of its own experiments."""
POWER_WORLDS = 400
DEALS = 50
"""Times that a table is dealt to two arms."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write its JSON; 1 where arms that are alike are promoted beyond 5% and chance."""
    options = _parser().parse_args(arguments)
    result: dict[str, Any] = {}
    for part in options.parts:
        result[part] = PARTS[part](options)
        text = json.dumps(plain(result), indent=1)
        if options.json:
            Path(options.json).write_text(text + "\n")
    print(text)
    alike = result.get("alike", {})
    return 1 if any(found["promote"]["low"] > 0.05 for found in alike.values()) else 0


def world(rng: np.random.Generator, units: int, lift: float = 0.0, dearer: float = 1.0) -> Rows:
    """Return an experiment of single requests, half of them the challenger's."""
    challenger = rng.random(units) < 0.5
    ease, size = 0.95 * rng.beta(3, 1.5, units), np.exp(rng.normal(0, 0.8, units))
    return Rows(
        arm=np.where(challenger, "challenger", "champion"),
        arm_probability=np.full(units, 0.5),
        unit=np.arange(units).astype(str),
        quality=(rng.random(units) < ease + lift * challenger).astype(float),
        cost_usd=0.002 * size * np.exp(rng.normal(0, 0.6, units)) * np.where(challenger, dearer, 1.0),
        latency_ms=np.exp(rng.normal(6.5, 0.6, units)),
        error=rng.random(units) < 0.01,
        refused=rng.random(units) < 0.003,
        logged=np.ones(units, dtype=bool),
        expected={"quality": ease, "cost_usd": 0.002 * size},
    )


def alike(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is made of arms that are alike, watched after every 100 units."""
    found = {}
    for aim in ("quality", "cost_usd"):
        # A generous margin leaves the aim alone to stop a promotion: the hardest case for the error rate.
        settings = Settings(aims=(aim,), planned=options.units, quality_margin=0.05)
        found[aim] = _fared(partial(world, units=options.units), settings, EVERY, options.worlds, options.seed)
    return found


def power(options: argparse.Namespace) -> dict[str, Any]:
    """Return how often a challenger that is better is promoted, by the units that its experiment is planned for."""
    found: dict[str, Any] = {}
    cases = {
        "+1 point quality": (Settings(aims=("quality",)), 0.01, 1.0),
        "-10% cost, margin 1 point": (Settings(aims=("cost_usd",)), 0.0, 0.9),
        "-10% cost, margin 2 points": (Settings(aims=("cost_usd",), quality_margin=0.02), 0.0, 0.9),
    }
    for name, (known, lift, dearer) in cases.items():
        found[name] = {}
        for size in options.sizes:
            settings = Settings(aims=known.aims, quality_margin=known.quality_margin, planned=size)
            deal = partial(world, units=size, lift=lift, dearer=dearer)
            worlds = min(options.worlds, POWER_WORLDS)
            found[name][str(size)] = _fared(deal, settings, size // 40, worlds, options.seed + size)
    return found


def shares(options: argparse.Namespace) -> dict[str, Any]:
    """Return how often a wrong share is found: always-valid after every 100 units, and chi-square at the end.

    `limit` is what the best two-sided test with 1% false alarms finds, at the end: 92.3% where each of 10,000 units in
    all falls to the challenger with probability .48.
    """
    found = {}
    for name, units, dealt in (
        ("50/50, 10,000 units", 10_000, 0.5),
        ("50/50, 10,000 units an arm", 20_000, 0.5),
        ("48/52, 10,000 units", 10_000, 0.48),
        ("48/52, 10,000 units an arm", 20_000, 0.48),
    ):
        drawn = [
            np.random.default_rng([options.seed, units, one]).random(units) < dealt for one in range(options.worlds)
        ]
        shift = 2 * abs(dealt - 0.5) * np.sqrt(units)
        limit = norm.sf(norm.isf(0.005) - shift) + norm.cdf(norm.ppf(0.005) - shift)
        found[name] = {**_alarms(drawn), "limit": float(limit)}
    found["4,800 to 5,200 of 10,000, in any order"] = _alarms(
        [np.random.default_rng([options.seed, one]).permutation(10_000) < 4_800 for one in range(options.worlds)]
    )
    return found


def _alarms(dealt: Sequence[NDArray[np.bool_]]) -> dict[str, Any]:
    alarms = []
    for challenger in dealt:
        looks = np.arange(EVERY, len(challenger) + 1, EVERY)
        tested = mismatch(challenger, np.full(len(challenger), 0.5), looks)
        alarms.append([tested.alarm(0.01, ended).any() for ended in (False, True)])
    watched, ended = np.sum(alarms, axis=0).tolist()
    return {"watched": _share(watched, len(dealt)), "at_end": _share(ended, len(dealt))}


def predictions(options: argparse.Namespace) -> dict[str, Any]:
    """Return the share of the variance that the router's predictions take out, on replayed outcome tables."""
    return {name: _replayed(table, options) for name, table in tables(options)}


def _replayed(table: Table, options: argparse.Namespace) -> dict[str, Any]:
    rng = np.random.default_rng(options.seed)
    inside = rng.permutation(len(table)) < len(table) // 2
    train, test = table.take(inside), table.take(~inside)
    recipe = recipes.Settings() if options.full else recipes.Settings.small()
    made = recipes.train(train, recipe, options.seed, candidates=catalogue(train), objective=Objective())
    bundle = exporting.bundle(made, name="benchmark", created="2026-01-01T00:00:00+00:00", training={}, evaluation={})
    said = bundle.expect(test.texts, test.input_tokens)
    drawn = bundle.probabilities(test.texts, test.input_tokens, np.ones(test.quality.shape, dtype=bool))
    champion, rows = int(np.argmax(train.quality.mean(axis=0))), np.arange(len(test))
    cuts: dict[str, list[float]] = {"quality": [], "cost_usd": []}
    for _ in range(DEALS):
        challenger = rng.random(len(test)) < 0.5
        served = np.where(challenger, drawn.argmax(axis=1), champion)
        dealt = Rows(
            arm=np.where(challenger, "challenger", "champion"),
            arm_probability=np.full(len(test), 0.5),
            unit=test.request_ids,
            quality=test.quality[rows, served],
            cost_usd=test.cost_usd[rows, served],
            latency_ms=test.latency_ms[rows, served],
            error=np.zeros(len(test), dtype=bool),
            refused=np.zeros(len(test), dtype=bool),
            logged=np.ones(len(test), dtype=bool),
            expected={"quality": said.quality[:, champion], "cost_usd": said.cost_usd[:, champion]},
        )
        judged = judge(dealt, Settings(aims=("quality",)), Objective(), every=len(test))
        for metric, known in cuts.items():
            if metric in judged.intervals:
                known.append(float(judged.intervals[metric].cut[-1]))
    return {
        "units": len(test),
        "champion": table.candidates[champion],
        "variance_cut": {
            metric: {"mean": float(np.mean(known)), "sd": float(np.std(known))} if known else None
            for metric, known in cuts.items()
        },
    }


def _fared(
    deal: Callable[[np.random.Generator], Rows], settings: Settings, every: int, worlds: int, seed: int
) -> dict[str, Any]:
    """Return the shares of the first verdicts over worlds, and the units that a promotion took."""
    first: Counter[str] = Counter()
    took: list[int] = []
    cuts = []
    for one in range(worlds):
        judged: Judged = judge(deal(np.random.default_rng([seed, one])), settings, Objective(), every=every, ended=True)
        verdict, units = judged.first or ("hold", 0)
        first[verdict] += 1
        took += [units] if verdict == "promote" else []
        cuts.append(judged.intervals[settings.aims[0]].cut[-1])
    return {
        **{verdict: _share(first[verdict], worlds) for verdict in ("promote", "hold", "reject", "roll back")},
        "units_to_promote": float(np.median(took)) if took else None,
        "variance_cut": float(np.mean(cuts)),
    }


def _share(count: int, of: int) -> dict[str, float]:
    """Return a share with its exact 95% interval."""
    return {"share": count / of, "low": lower(count, of, 0.025), "high": upper(count, of, 0.025)}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "alike": alike, "power": power, "shares": shares, "predictions": predictions,
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks experiments", description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["alike", "power", "shares"])
    parser.add_argument("--worlds", type=int, default=1000, help=f"experiments; at most {POWER_WORLDS} for power")
    parser.add_argument("--units", type=int, default=10_000, help="of an experiment whose arms are alike")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="units that power is shown for")
    parser.add_argument("--set", nargs="+", help="candidate sets for predictions; all of the folder by default")
    parser.add_argument("--data", help="folder of outcome tables and candidate_sets.json; BEASTMODE_DATA by default")
    parser.add_argument("--train", help="an outcome table, Parquet, in place of --set")
    parser.add_argument("--models", help="comma-separated; all models of the table by default")
    parser.add_argument("--prices", help="JSON file of US dollars a request by model")
    parser.add_argument("--full", action="store_true", help="train with the default settings, not a demonstration's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", nargs="?", const="", help="file to write; JSON is printed in any case")
    return parser
