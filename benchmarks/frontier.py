"""Pictures of cost and quality: `python -m benchmarks frontier --set NAME ... --data DIR --out FOLDER`.

For each candidate set, cross-fitted over its deduplicated prompts, through the exported bundle: every candidate, best
single, tuned kNN, ours, and ours at a range of prices of money, which are named beforehand and not chosen on the test
folds. Writes one PNG a set.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.candidate_sets import candidate_sets
from benchmarks.routing_report import Run
from benchmarks.selector import run
from models import recipes
from models.values import earned
from pipelines import plots
from pipelines.plots import Point
from pipelines.teaching import sentence_transformer

Indices = NDArray[np.intp]

PRICES = tuple(float(price) for price in np.geomspace(1, 3_000, 15))
"""Points of quality that a dollar is worth, divided by 100, at which ours is drawn."""


def main(arguments: Sequence[str]) -> int:
    """Draw the pictures; returns 0."""
    options = _parser().parse_args(arguments)
    try:
        chosen = candidate_sets(options.set, options.data)
    except ValueError as error:
        print(f"frontier: {error}", file=sys.stderr)
        return 2
    settings = recipes.Settings.small() if options.small else recipes.Settings()
    teacher = sentence_transformer(Path(options.embeddings)) if options.encoder == "static" else None
    Path(options.out).mkdir(parents=True, exist_ok=True)
    for name, one in chosen.items():
        table = one.table()
        fold = np.random.default_rng(options.seed).permutation(len(table)) % options.folds
        runs = [
            run(table.take(fold != k), table.take(fold == k), one.prices, settings, options.seed, teacher)
            for k in range(options.folds)
        ]
        drawn = points(runs)
        plots.frontier(drawn).savefig(Path(options.out) / f"frontier_{name}.png", dpi=110)
        print(json.dumps({"set": name, "points": [_plain(p) for p in drawn]}, indent=1))
    return 0


def points(runs: Sequence[Run]) -> list[Point]:
    """Return every policy's place, pooled over the test folds."""
    names = runs[0].test.candidates

    def of(label: str, kind: str, choose: Callable[[Run], Indices]) -> Point:
        choices = [choose(r) for r in runs]
        won = np.concatenate([earned(r.test.quality, choice) for r, choice in zip(runs, choices, strict=True)])
        cost = np.concatenate([earned(r.cost, choice) for r, choice in zip(runs, choices, strict=True)])
        return Point(label, kind, float(cost.mean()), float(won.mean()), float(won.std(ddof=1) / np.sqrt(len(won))))

    def priced_at(price: float) -> Callable[[Run], Indices]:
        return lambda r: np.argmax(r.expected - price * np.nan_to_num(r.expected_cost), axis=1)

    def always(column: int) -> Callable[[Run], Indices]:
        return lambda r: np.full(len(r.test), column)

    return [
        *(of(name, "candidate", always(column)) for column, name in enumerate(names)),
        of("best single", "reference", lambda r: np.full(len(r.test), r.best_single)),
        of("tuned kNN", "reference", lambda r: r.neighbours),
        of("ours", "ours", lambda r: r.choice),
        *(of(f"{price:g} a dollar", "operating", priced_at(price)) for price in PRICES),
    ]


def _plain(point: Point) -> dict[str, Any]:
    return {
        "label": point.label, "kind": point.kind, "usd_per_1000": round(1000 * point.cost_usd, 4),
        "quality": round(point.quality, 4), "quality_se": round(point.quality_se, 4),
    }  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks frontier", description=__doc__.partition("\n")[0])
    parser.add_argument("--set", nargs="+", required=True, help="candidate sets of candidate_sets.json")
    parser.add_argument("--data", help="folder of outcome tables; BEASTMODE_DATA by default")
    parser.add_argument("--out", default="docs/pictures", help="folder for the pictures")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="the settings of a demonstration")
    parser.add_argument("--encoder", choices=("static", "terms"), default="static", help="see selector")
    parser.add_argument("--embeddings", default="workspace/embeddings", help="where the teacher's vectors are kept")
    return parser
