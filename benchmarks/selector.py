"""What routing is worth on an outcome table: train as the flow does, export, and route every test prompt.

    python -m benchmarks selector --train A.parquet --test B.parquet --json OUT
    python -m benchmarks selector --train A.parquet --folds 3 --json OUT
    python -m benchmarks selector --set mmlu_pro_ten zeroeval_sixteen --folds 3 --seeds 0 1 --json OUT

The second form cuts the deduplicated prompts of A into folds, trains on the others for each, and pools the paired
differences. The third takes candidate sets by their names in `candidate_sets.json` of the data folder, and pools them
as well. `--rungs static onnx` does all of it once for each encoder. Every number is of the exported bundle, loaded
again and asked through `Router.route`; several seeds are averaged for each prompt.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.bundle import Bundle
from beastmode.encoding import KINDS
from beastmode.objective import Objective
from beastmode.router import Router
from beastmode.transformer import Transformer
from beastmode.validity import plain
from benchmarks.candidate_sets import candidate_sets, priced, read_prices
from benchmarks.pooling import Differences, pooled
from benchmarks.routing_report import Run, averaged, prompts, report
from benchmarks.rungs import bought, reminded, teachers
from features.outcomes import catalogue, outcomes
from features.table import Table
from models import exporting, recipes
from models.encoders import Teacher
from models.examples import examples
from models.plain_neighbours import tune
from models.values import best
from pipelines.rungs import TIMED, route_ms

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Task:
    """An outcome table and the candidates to choose among."""

    train: Path
    test: Path | None
    models: tuple[str, ...] | None
    prices: Mapping[str, float]
    """US dollars a request by model."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write its JSON."""
    options = _parser().parse_args(arguments)
    try:
        tasks = _tasks(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    settings = recipes.Settings.small() if options.small else recipes.Settings()
    rungs = teachers(options.rungs, Path(options.embeddings), settings.encoder, terms=options.encoder == "terms")
    reports: dict[str, dict[str, Any]] = {}
    differences: dict[str, dict[str, Differences]] = {rung: {} for rung in rungs}
    for name, task in tasks.items():
        runs = {rung: list(_runs(task, options, settings, teacher)) for rung, teacher in rungs.items()}
        for rung, each in runs.items():
            versus = averaged(each, lambda r: r.won - r.near)
            differences[rung][name] = Differences(task.train.name, prompts(each), versus)
        rows = {rung: report(each, settings.ratios) for rung, each in runs.items()}
        reports[name] = _only(rows) or {"rungs": rows, "bought": bought(runs)}
    result = _only(reports)
    if result is None:
        pools = {rung: pooled(each) for rung, each in differences.items()}
        result = {"sets": reports, "versus_knn": _only(pools) or pools}
    text = json.dumps(plain(result), indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    print(text)
    return 0


def _only(entries: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the entry where there is one only: it stands in the JSON without a name."""
    return next(iter(entries.values())) if len(entries) == 1 else None


def _tasks(options: argparse.Namespace) -> dict[str, Task]:
    """Return what is to be run, by name; raises ValueError on options that do not fit together."""
    if (options.test is None) == (options.folds is None):
        raise ValueError("give either --test FILE or --folds K")
    if (options.train is None) == (options.set is None):
        raise ValueError("give either --train FILE or --set NAME ...")
    test = Path(options.test) if options.test else None
    if options.train is not None:
        models = tuple(options.models.split(",")) if options.models else None
        prices = read_prices(Path(options.prices)) if options.prices else {}
        return {Path(options.train).stem: Task(Path(options.train), test, models, prices)}
    return {
        name: Task(chosen.file, test, chosen.models, chosen.prices)
        for name, chosen in candidate_sets(options.set, options.data).items()
    }


def _runs(
    task: Task, options: argparse.Namespace, settings: recipes.Settings, teacher: Teacher | Transformer | None
) -> Iterator[Run]:
    """Yield the runs of a task: one a seed, or one a seed and fold."""
    whole = priced(outcomes(pd.read_parquet(task.train), task.models), task.prices)
    for seed in options.seeds:
        table = whole
        if options.limit is not None:
            drawn = np.random.default_rng(seed).permutation(len(table))[: options.limit]
            table = table.take(np.sort(drawn))
        if task.test is not None:
            test = priced(outcomes(pd.read_parquet(task.test), list(table.candidates)), task.prices)
            splits = [(table, test.take(~np.isin(test.prompts, table.prompts)))]
        else:
            fold = np.random.default_rng(seed).permutation(len(table)) % options.folds
            splits = [(table.take(fold != k), table.take(fold == k)) for k in range(options.folds)]
        for train, test in splits:
            yield run(train, test, task.prices, settings, seed, teacher)


def run(
    train: Table,
    test: Table,
    prices: Mapping[str, float],
    settings: recipes.Settings,
    seed: int,
    teacher: Teacher | Transformer | None,
) -> Run:
    """Train, export, load and route; `prices` are US dollars a request, for models whose table holds no cost."""
    candidates = catalogue(train, prices)
    objective = Objective()
    started = time.perf_counter()
    trained = recipes.train(train, settings, seed, candidates=candidates, objective=objective, teacher=teacher)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        made = exporting.bundle(
            trained, name="benchmark", created="2026-01-01T00:00:00+00:00", training={}, evaluation={}
        ).write(Path(folder) / "bundle")
        files = sum(path.stat().st_size for path in (Path(folder) / "bundle").iterdir())
        bundle = Bundle.read(Path(folder) / "bundle", made.sha256)
    names = list(train.candidates)
    p50 = route_ms(bundle, test.texts[:TIMED])
    bundle = reminded(bundle, teacher, test.texts)
    routed = Router(bundle, seed=seed)
    decisions = [routed.route(text) for text in test.texts]
    cost = np.where(np.isfinite(test.cost_usd), test.cost_usd, bundle.expect(test.texts, test.input_tokens).cost_usd)
    known = examples(
        train, trained.encoder.encode(train.texts), trained.encoder.names, trained.encoder.embedding, candidates,
        objective, settings.learning.folds, seed,
    )  # fmt: skip
    neighbours = tune(known).quality(trained.encoder.encode(test.texts)[:, trained.encoder.embedding])
    points = {}
    for point in bundle.operating_points:
        at = Router(bundle, seed=seed, quality_ratio=point.quality_ratio)
        choices = np.array([names.index(at.route(text).candidate) for text in test.texts], dtype=np.intp)
        points[point.quality_ratio] = (point.per_dollar, choices)
    return Run(
        seed=seed,
        test=test,
        cost=cost,
        expected=np.array([[p.quality for p in d.predictions] for d in decisions]),
        expected_cost=np.array([[_number(p.cost_usd) for p in d.predictions] for d in decisions]),
        choice=np.array([names.index(d.candidate) for d in decisions], dtype=np.intp),
        neighbours=best(neighbours),
        best_single=int(np.argmax(train.quality.mean(axis=0))),
        points=points,
        about={
            "n_train": len(train),
            "train_seconds": seconds,
            "bundle_sha256": bundle.sha256,
            "bundle_bytes": files,
            "encoder": {"kind": bundle.encoder.kind, "columns": bundle.encoder.width},
            "route_p50_ms": p50,
            "margin": trained.report["margin"],
            "fit": trained.report["fit"],
            "cv": dict(trained.metrics),
        },
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks selector", description=__doc__.split("\n")[0])
    parser.add_argument("--train", help="outcome table, Parquet")
    parser.add_argument("--set", nargs="+", help="candidate sets by name, in place of --train, --models and --prices")
    parser.add_argument("--data", help="folder of outcome tables and candidate_sets.json; BEASTMODE_DATA by default")
    parser.add_argument("--test", help="outcome table; prompts that training has seen are dropped")
    parser.add_argument("--folds", type=int, help="cross-fit over the training table instead")
    parser.add_argument("--models", help="comma-separated; all models of the table by default")
    parser.add_argument(
        "--prices", help="JSON file of US dollars a request by model: they replace the costs of the table"
    )
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="averaged for each prompt")
    parser.add_argument("--limit", type=int, help="take so many prompts of the training table, at random")
    parser.add_argument("--small", action="store_true", help="the settings of a demonstration")
    parser.add_argument("--rungs", nargs="+", choices=KINDS, default=["static"],
                        help="encoders: each set once for each, with bytes and p50 of the same bundles")  # fmt: skip
    parser.add_argument("--encoder", choices=("static", "terms"), default="static",
                        help="the static rung: distilled from a sentence-transformer, or of terms alone")  # fmt: skip
    parser.add_argument("--embeddings", default="workspace/embeddings", help="where the teacher's vectors are kept")
    parser.add_argument("--json", help="file to write")
    return parser
