"""What logged outcomes add to probes: the value of a router trained on both less that of one trained on probes alone.

    python -m benchmarks logs --data DIR --set mmlu_pro_ten --probes 500 --logs 5000 20000 --seeds 20 --json OUT

For each seed the prompts are dealt to two halves. Of the training half some prompts are probed, and the others are
served by an epsilon policy around the best single candidate (`--policy length`: around a rule that asks another one
where the prompt is short), its propensity logged; where there are too few they are drawn with replacement. Routers are
trained by `recipes.train` with the settings of a demonstration and valued on the other half by the outcomes of what
they choose. With --texts a third fit tells what the logs' texts make of the difference without their outcomes.
Figures are points of quality, paired, with standard errors over seeds.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.objective import Objective
from beastmode.validity import plain
from benchmarks.candidate_sets import candidate_sets
from benchmarks.rungs import teachers
from features.outcomes import catalogue, outcomes
from features.table import Table
from models import recipes

Floats = NDArray[np.float64]
EPSILON = 0.2


def deal(
    table: Table, seed: int, probes: int, logs: int, policy: str, epsilon: float = EPSILON
) -> tuple[Table, Table, Table]:
    """Return (probed, logged, test), of a table of which every outcome is known.

    The logged rows of fewer logs are the first of those of more.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(table))
    train, test = order[: len(table) // 2], np.sort(order[len(table) // 2 :])
    if len(train) <= probes:
        raise ValueError(f"--probes {probes}: the training half holds {len(train)} prompts; give fewer")
    probed, others = table.take(train[:probes]), train[probes:]
    rng = np.random.default_rng([seed, 1])
    more = rng.choice(others, max(logs - len(others), 0))
    rows = np.concatenate([others, more])[:logs]
    return probed, serve(table.take(rows), table.quality[train].mean(axis=0), policy, epsilon, rng), table.take(test)


def serve(table: Table, mean: Floats, policy: str, epsilon: float, rng: np.random.Generator) -> Table:
    """Return a table as an epsilon policy around a rule would have logged it; `mean` (m,) ranks the candidates."""
    n, m = table.quality.shape
    first, second = np.argsort(-mean, kind="stable")[[0, min(1, m - 1)]]
    length = np.array([len(text) for text in table.texts])
    short = length < np.median(length) if policy == "length" else np.zeros(n, dtype=bool)
    meant = np.where(short, second, first)
    drawn = np.where(rng.random(n) < epsilon, rng.integers(0, m, n), meant)
    hidden = np.arange(m) != drawn[:, None]
    known = ("quality", "cost_usd", "latency_ms", "output_tokens")
    seen: dict[str, Any] = {name: np.where(hidden, np.nan, getattr(table, name)) for name in known}
    ids = np.array([f"log-{i}" for i in range(n)], dtype=str)
    return replace(
        table,
        request_ids=ids,
        sessions=ids,
        served=drawn.astype(np.int64),
        propensity=np.where(drawn == meant, 1 - epsilon + epsilon / m, epsilon / m),
        probed=np.zeros(n, dtype=bool),
        **seen,
    )


def joined(first: Table, second: Table) -> Table:
    """Return the rows of two tables of the same candidates, the first's before the second's."""
    arrays = ("request_ids", "at", "sessions", "input_tokens", "quality", "cost_usd", "latency_ms", "output_tokens",
              "served", "propensity", "probed")  # fmt: skip
    both: dict[str, Any] = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in arrays}
    return replace(first, texts=first.texts + second.texts, **both)


def value(trained: recipes.Trained, test: Table) -> float:
    """Return the mean quality, in points, of what a trained router chooses on a test."""
    said = trained.scorer.predict(trained.encoder.encode(test.texts), test.expected_tokens).quality
    drawn = trained.policy.probabilities(said, np.ones(said.shape, dtype=bool))
    return 100 * float((drawn * test.quality).sum(axis=1).mean())


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write its JSON."""
    options = _parser().parse_args(arguments)
    try:
        chosen = candidate_sets([options.set], options.data)[options.set]
        table = outcomes(pd.read_parquet(chosen.file), chosen.models)
        found = {"set": options.set, "candidates": list(table.candidates), **_run(table, options)}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    text = json.dumps(plain(found), indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    print(text)
    return 0


def _run(table: Table, options: argparse.Namespace) -> dict[str, Any]:
    settings, started, seeds = recipes.Settings.small(), time.perf_counter(), []
    teacher = teachers(["static"], Path(options.embeddings or ""), settings.encoder, terms=not options.embeddings)
    candidates = catalogue(table)

    def learned(rows: Table, seed: int) -> recipes.Trained:
        return recipes.train(
            rows, settings, seed, candidates=candidates, objective=Objective(), teacher=teacher["static"]
        )

    for seed in range(options.first_seed, options.first_seed + options.seeds):
        probed, logged, test = deal(table, seed, options.probes, max(options.logs), options.policy)
        alone = value(learned(probed, seed), test)
        single = 100 * float(test.quality[:, int(probed.quality.mean(axis=0).argmax())].mean())
        row: dict[str, Any] = {"seed": seed, "probes": alone, "gain_of_probes": alone - single, "logs": {}}
        for logs in options.logs:
            rows = joined(probed, logged.take(np.arange(logs)))
            trained = learned(rows, seed)
            both, chosen = value(trained, test), trained.report["fit"]["logs"]
            entry: dict[str, Any] = {"both": both, "difference": both - alone, **chosen}
            if options.texts:
                # Without a propensity no outcome is learned from; at weight zero none was.
                mute = replace(rows, propensity=np.full(len(rows), np.nan))
                entry["texts"] = (value(learned(mute, seed), test) if chosen["weight"] else both) - alone
            row["logs"][str(logs)] = entry
        seeds.append(row)
        print(json.dumps(plain(row)), file=sys.stderr, flush=True)
    return {
        "probes": options.probes, "policy": options.policy, "epsilon": EPSILON, "prompts": len(table),
        "encoder": "static" if options.embeddings else "terms", "seeds": seeds, **_summary(seeds, options.logs),
        "seconds": time.perf_counter() - started,
    }  # fmt: skip


def _summary(seeds: Sequence[Mapping[str, Any]], logs: Sequence[int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "value_of_probes": _mean([row["probes"] for row in seeds]),
        "gain_of_probes_over_best_single": _mean([row["gain_of_probes"] for row in seeds]),
        "with_logs": {},
    }
    for count in map(str, logs):
        each = [row["logs"][count] for row in seeds]
        found["with_logs"][count] = {
            "difference": _mean([one["difference"] for one in each]),
            "weight_above_zero": float(np.mean([one["weight"] > 0 for one in each])),
            "weights": [one["weight"] for one in each],
        }
        if all("texts" in one for one in each):
            found["with_logs"][count] |= {
                "by_texts": _mean([one["texts"] for one in each]),
                "by_outcomes": _mean([one["difference"] - one["texts"] for one in each]),
            }
    return found


def _mean(values: Sequence[float]) -> dict[str, float]:
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return {"points": float(np.mean(values)), "se": error}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks logs", description=__doc__.split("\n")[0])
    parser.add_argument("--set", required=True, help="candidate set by name")
    parser.add_argument("--data", help="folder of outcome tables and candidate_sets.json; BEASTMODE_DATA by default")
    parser.add_argument("--probes", type=int, default=500)
    parser.add_argument("--logs", type=int, nargs="+", default=[5000, 20_000])
    parser.add_argument("--policy", choices=("best", "length"), default="best", help="what the logs were drawn around")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--texts", action="store_true", help="fit without the logs' outcomes as well")
    parser.add_argument("--embeddings", help="where a teacher's vectors are kept: distil it; by default terms alone")
    parser.add_argument("--json", help="file to write")
    return parser
