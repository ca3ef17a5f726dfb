"""How well lengths, latencies and costs are foretold before the call, with their quantiles, on held-out prompts.

    python -m benchmarks usage --train FILE [--models a,b,...] [--prices FILE] [--latency FILE] --folds 3 --json OUT

The outcome table is replayed as a world that gives every call a latency, its deduplicated prompts are cut into folds,
and for each fold a router is trained on the others, exported, loaded again and asked through `Router.route`: every
figure is of what its decisions say. What they are measured against are each model's own quantiles and mean on the
same training prompts. Pinball losses are means over the 5%, 50% and 95% quantiles.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.bundle import Bundle
from beastmode.objective import Objective
from beastmode.router import Router
from beastmode.scoring import QUANTILES
from beastmode.validity import plain
from benchmarks.candidate_sets import priced, read_prices
from benchmarks.usage_report import Foretold, amount, costs, lines
from features.outcomes import catalogue, outcomes
from features.table import Table
from features.worlds.latency import measured
from features.worlds.replay import WorldSettings, replay
from models import exporting, recipes
from models.encoders import Teacher
from pipelines.teaching import sentence_transformer

Floats = NDArray[np.float64]
MEASURED = "llmperf_latency_noprompt.parquet"
"""Measured calls from which latencies are drawn where the file lies beside the outcome table."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark, print its figures as lines, and write its JSON."""
    options = _parser().parse_args(arguments)
    if options.folds < 2:
        print(f"--folds {options.folds}: give at least 2, so that something is held out", file=sys.stderr)
        return 2
    models = options.models.split(",") if options.models else None
    prices = read_prices(Path(options.prices)) if options.prices else {}
    table = priced(outcomes(pd.read_parquet(options.train), models), prices)
    if options.limit is not None:
        table = table.take(np.sort(np.random.default_rng(options.seed).permutation(len(table))[: options.limit]))
    table, source = with_latency(table, prices, _measured(options), options.seed)
    settings = recipes.Settings.small() if options.small else recipes.Settings()
    fold = np.random.default_rng(options.seed).permutation(len(table)) % options.folds
    started = time.perf_counter()
    teacher = None if options.encoder == "terms" else sentence_transformer(Path(options.embeddings))
    said = crossed(table, fold, prices, settings, options.seed, teacher)
    result = {
        "train": Path(options.train).name,
        "candidates": list(table.candidates),
        "n": len(table),
        "folds": options.folds,
        "quantiles": list(QUANTILES),
        "output_tokens": amount(table.output_tokens, said.output_tokens, said.output_tokens_quantiles, fold, table),
        "latency_ms": amount(table.latency_ms, said.latency_ms, said.latency_ms_quantiles, fold, table),
        "latency_source": source,
        "cost_usd": costs(table, said),
        "seconds": time.perf_counter() - started,
    }
    if options.json:
        Path(options.json).write_text(json.dumps(plain(result), indent=1) + "\n")
    for line in lines(result):
        print(line)
    return 0


def with_latency(table: Table, prices: Mapping[str, float], calls: Path | None, seed: int) -> tuple[Table, str]:
    """Return the table as a world replays it, with a latency for every answer, and where the latencies come from."""
    hosts = None if calls is None else measured(pd.read_parquet(calls))
    world = replay(table, catalogue(table, prices), WorldSettings(), seed, hosts=hosts)
    drawn = "hosts of common speeds" if calls is None else f"calls measured in {calls.name}"
    return world.truth, "the outcome table" if np.isfinite(table.latency_ms).all() else drawn


def crossed(
    table: Table,
    fold: NDArray[np.int64],
    prices: Mapping[str, float],
    settings: recipes.Settings,
    seed: int,
    teacher: Teacher | None,
) -> Foretold:
    """Return what routers that were trained on the other folds say of every request."""
    n, m = table.quality.shape
    told = np.full((len(_TOLD), n, m), np.nan)
    for held in range(int(fold.max()) + 1):
        inside = fold == held
        router = trained(table.take(~inside), prices, settings, seed, teacher)
        decisions = [router.route(text) for text in table.take(inside).texts]
        told[:, inside] = [
            [[_number(getattr(p, name)) for p in decision.predictions] for decision in decisions] for name in _TOLD
        ]
    return Foretold(told[0], told[1:4], told[4], told[5:8], told[8], told[9:])


_TOLD = (
    "output_tokens", "output_tokens_low", "output_tokens_median", "output_tokens_high",
    "latency_ms", "latency_ms_low", "latency_ms_median", "latency_ms_high",
    "cost_usd", "cost_usd_low", "cost_usd_high",
)  # fmt: skip


def trained(
    table: Table, prices: Mapping[str, float], settings: recipes.Settings, seed: int, teacher: Teacher | None
) -> Router:
    """Return a router on a bundle that was trained, written and read again."""
    made = recipes.train(
        table, settings, seed, candidates=catalogue(table, prices), objective=Objective(), teacher=teacher
    )
    with tempfile.TemporaryDirectory() as folder:
        bundle = exporting.bundle(
            made, name="benchmark", created="2026-01-01T00:00:00+00:00", training={}, evaluation={}
        ).write(Path(folder) / "bundle")
        return Router(Bundle.read(Path(folder) / "bundle", bundle.sha256), seed=seed)


def _measured(options: argparse.Namespace) -> Path | None:
    """Return the file of measured calls: the one named, or the one beside the outcome table where there is one."""
    if options.latency:
        return Path(options.latency)
    beside = Path(options.train).parent / MEASURED
    return beside if beside.exists() else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks usage", description=__doc__.split("\n")[0])
    parser.add_argument("--train", required=True, help="outcome table, Parquet")
    parser.add_argument("--models", help="comma-separated; all models of the table by default")
    parser.add_argument("--prices", help="JSON file of US dollars a request by model, in place of the table's costs")
    parser.add_argument("--latency", help=f"Parquet file of measured calls; {MEASURED} beside the table by default")
    parser.add_argument("--folds", type=int, default=3, help="parts of the prompts, each held out once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="take so many prompts, at random")
    parser.add_argument("--small", action="store_true", help="the settings of a demonstration")
    parser.add_argument("--encoder", choices=("static", "terms"), default="static",
                        help="static: distilled from a sentence-transformer; terms: without one")  # fmt: skip
    parser.add_argument("--embeddings", default="workspace/embeddings", help="where the teacher's vectors are kept")
    parser.add_argument("--json", help="file to write")
    return parser
