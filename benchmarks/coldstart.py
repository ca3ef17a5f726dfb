"""What few probes teach of a new candidate: each model of a set left out, and taught by n probed prompts alone.

    python -m benchmarks coldstart --data DIR --set mmlu_pro_ten --probes 50 100 300 --json OUT

For each seed a third of the prompts is the test. The others' outcomes are known on the rest; those of the model left
out on n prompts drawn by lot. The recipe trains, the bundle is written, loaded and asked. `auc` is P(a success is
ranked above a failure) on the test prompts: of the bundle, of `difficulty`, the mean quality that it promises of the
others, and `alone`, a logistic regression of the probes on the same encoding. `covered` is the share of 95% intervals
that hold the newcomer's mean quality on the training prompts, `gain` what the policy earns over the best of the others,
in points, and `share` the requests that the newcomer gets. Standard errors are over the models left out, each the mean
of its seeds.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from beastmode.bundle import Bundle
from beastmode.logistic import clipped
from beastmode.objective import Objective
from beastmode.validity import plain
from benchmarks.candidate_sets import candidate_sets
from features.outcomes import catalogue
from features.table import Table
from models import exporting, recipes
from models.routing_metrics import auc

Floats = NDArray[np.float64]

STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Inverse penalties that the logistic regression of the probes alone chooses among, by cross-validation in them."""
FIRST = 3
"""Models whose mean is reported beside that of all."""
FIGURES = ("auc", "difficulty", "alone", "mean_error", "se", "covered", "gain", "share", "probes_needed")


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write its JSON."""
    options = _parser().parse_args(arguments)
    settings = recipes.Settings.small() if options.small else recipes.Settings()
    found = {}
    try:
        for name, chosen in candidate_sets(options.set, options.data).items():
            table = chosen.table()
            models = options.left_out or list(table.candidates)
            rows = [
                row
                for seed in options.seeds
                for model in models
                for row in taught(table, chosen.prices, model, options.probes, settings, seed)
            ]
            found[name] = {"rows": rows, "summary": summary(rows, models, options.probes), "prompts": len(table)}
    except ValueError as error:
        print(f"coldstart: {error}", file=sys.stderr)
        return 2
    text = json.dumps(plain({"sets": found, "seeds": options.seeds}), indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    print(text)
    return 0


def taught(
    table: Table, prices: Mapping[str, float], model: str, probes: Sequence[int], settings: recipes.Settings, seed: int
) -> list[dict[str, Any]]:
    """Return a row for each number of probes, of one model left out; fewer probes are the first of more.

    Raises ValueError on a model that the table lacks, and on so many probes that the model would be no newcomer.
    """
    if model not in table.candidates:
        raise ValueError(f"--left-out: no model {model!r}; the set has {', '.join(table.candidates)}")
    column = table.candidates.index(model)
    part = np.random.default_rng(seed).permutation(len(table)) % 3
    train, test = table.take(part != 0), table.take(part == 0)
    order = np.random.default_rng([seed, column]).permutation(len(train))
    rows = []
    for count in probes:
        if not 0 < count < len(train) / 2:
            raise ValueError(f"--probes {count}: a new candidate has more than none and under half of {len(train)}")
        asked = order[:count]
        row = {"model": model, "seed": seed, "probes": count}
        row |= _measure(_hidden(train, column, asked), train.quality[:, column], test, prices, column, settings, seed)
        print(json.dumps(plain(row)), file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def _hidden(table: Table, column: int, asked: NDArray[np.intp]) -> Table:
    """Return the table with one candidate known only where it was asked."""
    seen = np.ones(table.quality.shape, dtype=bool)
    seen[:, column] = False
    seen[asked, column] = True
    return replace(
        table,
        quality=np.where(seen, table.quality, np.nan),
        cost_usd=np.where(seen, table.cost_usd, np.nan),
        latency_ms=np.where(seen, table.latency_ms, np.nan),
        output_tokens=np.where(seen, table.output_tokens, np.nan),
    )


def _measure(
    train: Table,
    truth: Floats,
    test: Table,
    prices: Mapping[str, float],
    column: int,
    settings: recipes.Settings,
    seed: int,
) -> dict[str, float]:
    """Train, export, load and ask; `truth` (rows,) is what the model left out would have done on the training rows."""
    trained = recipes.train(train, settings, seed, candidates=catalogue(train, prices), objective=Objective())
    with tempfile.TemporaryDirectory() as folder:
        made = exporting.bundle(
            trained, name="coldstart", created="2026-01-01T00:00:00+00:00", training={}, evaluation={}
        ).write(Path(folder) / "bundle")
        bundle = Bundle.read(Path(folder) / "bundle", made.sha256)
    said = bundle.expect(test.texts, test.expected_tokens).quality
    choice = bundle.probabilities(test.texts, test.expected_tokens).argmax(axis=1)
    others = np.delete(np.arange(said.shape[1]), column)
    best = others[int(np.argmax(np.nanmean(train.quality[:, others], axis=0)))]
    won = test.quality[np.arange(len(test)), choice] - test.quality[:, best]
    asked = np.isfinite(train.quality[:, column])
    encoder = trained.encoder
    alone = _alone(encoder.encode(train.take(asked).texts), truth[asked], encoder.encode(test.texts), seed)
    figures = {
        "auc": _auc(test, column, said[:, column]),
        "difficulty": _auc(test, column, said[:, others].mean(axis=1)),
        "alone": _auc(test, column, alone),
        "gain": 100 * float(won.mean()),
        "share": float((choice == column).mean()),
    }
    # A candidate with too few probes to be taught has no entry.
    for one in trained.report["newcomers"]:
        error = one["mean"] - float(truth.mean())
        figures |= {
            "mean_error": error, "se": one["se"], "covered": float(abs(error) <= 1.96 * one["se"]),
            "probes_needed": one["probes_needed"],
        }  # fmt: skip
    return figures


def _auc(test: Table, column: int, said: Floats) -> float:
    return auc(test.quality[:, [column]], said[:, None])


def _alone(encoding: NDArray[np.float32], truth: Floats, asked: NDArray[np.float32], seed: int) -> Floats:
    """Return P(success) of the encodings asked (n, columns), by a logistic regression of the probes alone.

    A graded outcome is a success from one half. Where the probes are all alike the answer is their mean.
    """
    won = (truth >= 0.5).astype(int)
    fewest = int(min(won.sum(), len(won) - won.sum()))
    if fewest < 2:
        return np.full(len(asked), float(truth.mean()))
    folds = StratifiedKFold(min(5, fewest), shuffle=True, random_state=seed)
    x = clipped(encoding)
    made = [LogisticRegression(C=strength, max_iter=2000) for strength in STRENGTHS]
    best = max(made, key=lambda one: cross_val_score(one, x, won, cv=folds, scoring="neg_log_loss").mean())
    return np.asarray(best.fit(x, won).predict_proba(clipped(asked))[:, 1])


def summary(
    rows: Sequence[Mapping[str, Any]], models: Sequence[str], probes: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Return means over the models left out with their standard errors, and those of the first, by number of probes."""
    return {str(n): {**_means(rows, models, n), "first_three": _means(rows, models[:FIRST], n)} for n in probes}


def _means(rows: Sequence[Mapping[str, Any]], models: Sequence[str], probes: int) -> dict[str, dict[str, float]]:
    found = {}
    for name in FIGURES:
        of = [
            [row[name] for row in rows if row["model"] == model and row["probes"] == probes and name in row]
            for model in models
        ]
        each = np.array([np.mean(values) for values in of if values])
        se = float(each.std(ddof=1) / math.sqrt(len(each))) if len(each) > 1 else math.nan
        found[name] = {"mean": float(each.mean()) if len(each) else math.nan, "se": se}
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks coldstart", description=__doc__.split("\n")[0])
    parser.add_argument("--set", nargs="+", required=True, help="candidate sets by name")
    parser.add_argument("--data", help="folder of outcome tables and candidate_sets.json; BEASTMODE_DATA by default")
    parser.add_argument("--probes", type=int, nargs="+", default=[50, 100, 300], help="of the model left out")
    parser.add_argument("--left-out", nargs="+", help="models to leave out, one at a time; all of the set by default")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="averaged for each model")
    parser.add_argument("--small", action="store_true", help="the settings of a demonstration")
    parser.add_argument("--json", help="file to write")
    return parser
