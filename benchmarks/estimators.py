"""Are off-policy values honest? Simulated logs of real outcomes, every estimator, coverage and error against the truth.

    python -m benchmarks estimators --outcomes FILE [--models A B] [--prices FILE] --per-dollar 100 --json OUT
    python -m benchmarks estimators --set mmlu_pro_five dcrouter_nine --data DIR --per-dollar 100 --json OUT

One half of the deduplicated prompts teaches an encoder and three policies; from the other, prompts are drawn
independently (with replacement), answered by the candidate that a logging policy draws, and the policies valued. The
truth is their mean over the whole half. Folds of the outcome regression are grouped by prompt. Values are in points of
utility: a hundred times quality less the price of money.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.objective import Objective
from beastmode.validity import plain
from benchmarks.candidate_sets import candidate_sets, priced, read_prices
from benchmarks.estimator_worlds import SINGLE, Population, population
from features.outcomes import outcomes
from features.table import Table
from models import recipes
from models.estimators import ESTIMATORS, Masses
from models.exact import lower, upper
from models.intervals import weighted
from models.nuisance import folds, regress
from models.overlap import overlap, refusal

Floats = NDArray[np.float64]

COVERAGE = (0.93, 0.97)
"""What the 95% binomial interval of an honest interval's coverage must meet."""
LARGE = 1000
"""Rows of a log from which on DR's interval is held to that."""
THIN, HONEST = 0.90, 0.93
"""Coverage under which a value must be refused, and from which on it must not."""
RATIO = 1.05
"""The most by which DR's error may exceed that of SNIPS."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write its JSON."""
    options = _parser().parse_args(arguments)
    try:
        tables = _tables(options)
        settings = recipes.Settings.small() if options.small else recipes.Settings()
        found = {name: measure(table, settings, options) for name, table in tables.items()}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    result = next(iter(found.values())) if len(found) == 1 else {"sets": found, "goals": goals(
        [cell for one in found.values() for cell in one["cells"]])}  # fmt: skip
    text = json.dumps(plain(result), indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    print(text)
    return 0


def measure(table: Table, settings: recipes.Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Return the cells of one outcome table: for each logging policy, size of log and target, how estimators fare."""
    started = time.perf_counter()
    drawn = population(table, Objective(per_dollar=options.per_dollar), settings, options.seed)
    learned = time.perf_counter() - started
    cells: list[dict[str, Any]] = []
    for logging in drawn.logging:
        for n in options.sizes:
            rng = np.random.default_rng([options.seed, n, len(cells)])
            cells += cell(drawn, logging, n, options.simulations, rng, table.candidates)
            print(f"{logging}, n = {n}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return {
        "candidates": list(table.candidates),
        "prompts": len(drawn.utility),
        "simulations": options.simulations,
        "per_dollar": options.per_dollar,
        "truth": {name: 100 * value for name, value in drawn.truth.items()},
        "apart_from_best_single": {
            name: float((policy != drawn.targets[SINGLE]).any(axis=1).mean()) for name, policy in drawn.targets.items()
        },
        "cells": cells,
        "goals": goals(cells),
        "seconds_learning": learned,
        "seconds": time.perf_counter() - started,
    }


def cell(
    drawn: Population, logging: str, n: int, simulations: int, rng: np.random.Generator, candidates: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return one cell for each target, over simulated logs of n prompts."""
    truth = drawn.truth
    spans = {target: {name: np.empty((simulations, 3)) for name in ESTIMATORS} for target in drawn.targets}
    refused = {target: np.zeros(simulations, dtype=bool) for target in drawn.targets}
    seen = {target: np.empty((simulations, 3)) for target in drawn.targets}
    m = len(candidates)
    for i in range(simulations):
        rows = rng.integers(len(drawn.utility), size=n)
        chances = drawn.logging[logging][rows]
        served = (chances.cumsum(axis=1)[:, :-1] < rng.uniform(size=(n, 1))).sum(axis=1)
        propensity = chances[np.arange(n), served]
        outcome = drawn.utility[rows, served]
        fold = folds(rows, 5, int(rng.integers(2**31)))
        expected = regress(drawn.features[rows], served, outcome, propensity, fold, m)
        at_served = expected[np.arange(n), served]
        for target, whole in drawn.targets.items():
            policy = whole[rows]
            weight = policy[np.arange(n), served] / propensity
            under = (policy * expected).sum(axis=1)
            masses = Masses.of(policy, chances)
            for name, estimator in ESTIMATORS.items():
                # Prompts are drawn independently, so that each row is a cluster of its own.
                found = weighted(estimator(weight, outcome, at_served, under, masses), None)
                spans[target][name][i] = found.value, found.low, found.high
                if name == "dr":
                    over = overlap(policy, served, propensity)
                    refused[target][i] = refusal(over, outcome - at_served, found.se, candidates) is not None
                    seen[target][i] = over.effective, over.carriers, over.largest
    return [
        {
            "logging": logging, "n": n, "target": target,
            "estimators": {name: fared(each[name], truth[target], refused[target]) for name in ESTIMATORS},
            "refused": float(refused[target].mean()),
            "median": dict(zip(("effective", "carriers", "largest"), np.median(seen[target], axis=0), strict=True)),
        }
        for target, each in spans.items()
    ]  # fmt: skip


def fared(spans: Floats, truth: float, refused: NDArray[np.bool_]) -> dict[str, Any]:
    """Return bias, error and coverage of an estimator's (simulations, 3) values and interval ends, in points."""
    error = 100 * (spans[:, 0] - truth)
    inside = (spans[:, 1] <= truth) & (truth <= spans[:, 2])
    hits, asked = int(inside.sum()), len(inside)
    return {
        "bias": error.mean(),
        "bias_se": error.std(ddof=1) / np.sqrt(asked),
        "rmse": np.sqrt((error**2).mean()),
        "coverage": hits / asked,
        "coverage_95": [lower(hits, asked, 0.025), upper(hits, asked, 0.025)],
        "coverage_where_given": float(inside[~refused].mean()) if (~refused).any() else None,
        "half_width": 50 * float(np.mean(spans[:, 2] - spans[:, 1])),
    }


def goals(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what an honest instrument must reach, and the cells in which DR misses it.

    A cell is refused when more than half of its logs are. Coverage and error are asked of the cells that are not.
    """
    fired = {id(c): c["refused"] > 0.5 for c in cells}
    coverage = {id(c): c["estimators"]["dr"]["coverage"] for c in cells}
    large = [c for c in cells if c["n"] >= LARGE and not fired[id(c)]]
    honest = [c for c in cells if coverage[id(c)] >= HONEST]
    off = [c for c in large if not _meets(c["estimators"]["dr"]["coverage_95"])]
    wide = [c for c in large if c["estimators"]["dr"]["rmse"] > RATIO * c["estimators"]["snips"]["rmse"]]
    return {
        "coverage": {"cells": len(large), "missed": [_name(c) for c in off]},
        "rmse_to_snips": {"cells": len(large), "missed": [_name(c) for c in wide]},
        "thin_but_given": [_name(c) for c in cells if coverage[id(c)] < THIN and not fired[id(c)]],
        "honest_but_refused": {
            "cells": len(honest),
            "refused": [_name(c) for c in honest if fired[id(c)]],
            "mean_rate": float(np.mean([c["refused"] for c in honest])) if honest else None,
        },
    }


def _meets(span: Sequence[float]) -> bool:
    return span[0] <= COVERAGE[1] and span[1] >= COVERAGE[0]


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['logging']}, n = {one['n']}, {one['target']}"


def _tables(options: argparse.Namespace) -> dict[str, Table]:
    """Return the outcome tables that are asked for, by name; raises ValueError on options that do not fit together."""
    if (options.outcomes is None) == (options.set is None):
        raise ValueError("give either --outcomes FILE or --set NAME ...")
    prices = read_prices(Path(options.prices)) if options.prices else {}
    if options.outcomes is not None:
        models = [name for part in options.models for name in part.split(",")] if options.models else None
        return {Path(options.outcomes).stem: priced(outcomes(pd.read_parquet(options.outcomes), models), prices)}
    return {name: chosen.table(prices) for name, chosen in candidate_sets(options.set, options.data).items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks estimators", description=__doc__.split("\n")[0])
    parser.add_argument("--outcomes", help="outcome table, Parquet")
    parser.add_argument("--models", nargs="+", help="all models of the table by default")
    parser.add_argument("--prices", help="JSON file of US dollars a request by model, in place of the table's costs")
    parser.add_argument("--set", nargs="+", help="candidate sets by name, in place of --outcomes, --models, --prices")
    parser.add_argument("--data", help="folder of outcome tables and candidate_sets.json; BEASTMODE_DATA by default")
    parser.add_argument("--per-dollar", type=float, default=100.0, help="what a dollar a request is worth in quality")
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1000, 3000], help="requests of a log")
    parser.add_argument("--simulations", type=int, default=2000, help="logs for each cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="the learning settings of a demonstration")
    parser.add_argument("--json", help="file to write")
    return parser
