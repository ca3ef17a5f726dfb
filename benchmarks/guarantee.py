"""Does the quality guarantee hold? Certify on many resampled worlds, and ask the population for the true risk.

    python -m benchmarks guarantee --train FILE [--models a,b] [--prices FILE] --alpha .05 --delta .1 --json OUT
    python -m benchmarks guarantee --set mmlu_pro_ten dcrouter_nine --data DIR --json OUT

The second form takes candidate sets by their names in `candidate_sets.json` of the data folder. The selector is trained
once, on a part of the deduplicated prompts, and exported; the rest is the population, whose risk under every policy is
known exactly. A world is a calibration sample drawn from it with replacement. The guarantee holds in a world when the
policy certified there has a true risk of at most alpha, or when none is certified. Beside it stands the naive rule: the
cheapest policy whose risk *in the sample* is at most alpha.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from beastmode.bundle import Bundle
from beastmode.objective import Objective
from beastmode.validity import plain
from benchmarks.candidate_sets import candidate_sets, priced, read_prices
from features.outcomes import catalogue, outcomes
from features.table import Table
from models import exporting, guarantee, recipes
from models.encoders import Teacher
from models.exact import lower, upper
from models.guarantee import Settings, Step, Trial
from models.rehearsal import rehearse
from pipelines.teaching import sentence_transformer

SIZES = (300, 1000, 2000)
"""Requests of a calibration sample."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write its JSON; 1 where the guarantee is broken beyond chance."""
    options = _parser().parse_args(arguments)
    try:
        tables = _tables(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    teacher = sentence_transformer(Path(options.embeddings)) if options.encoder == "static" else None
    settings = Settings(options.loss, options.alpha, options.delta, options.of)
    results = {name: measure(*known, settings, options, teacher) for name, known in tables.items()}
    text = json.dumps(plain({"sets": results} if options.set else results[options.train]), indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    print(text)
    due = 1 - options.delta
    broken = [
        f"{name}: with {size} calibration requests the guarantee holds too seldom"
        for name, result in results.items()
        for size, known in result["worlds"].items()
        if known["certified"]["holds_high"] < due
    ]
    print("\n".join(broken), file=sys.stderr, end="\n" if broken else "")
    return 1 if broken else 0


def _tables(options: argparse.Namespace) -> dict[str, tuple[Table, Mapping[str, float]]]:
    """Return each table with the prices that stand in for its costs; raises ValueError on what names none."""
    if (options.train is None) == (options.set is None):
        raise ValueError("name either one outcome table by --train, or candidate sets by --set")
    if options.set:
        sets = candidate_sets(options.set, options.data)
        return {name: (chosen.table(), chosen.prices) for name, chosen in sets.items()}
    models = options.models.split(",") if options.models else None
    prices = read_prices(Path(options.prices)) if options.prices else {}
    return {options.train: (priced(outcomes(pd.read_parquet(options.train), models), prices), prices)}


def measure(
    table: Table,
    prices: Mapping[str, float],
    settings: Settings,
    options: argparse.Namespace,
    teacher: Teacher | None,
) -> dict[str, Any]:
    """Train on a share of the prompts, and return what certifying on samples of the others is worth."""
    inside = np.random.default_rng(options.seed).permutation(len(table)) < options.train_share * len(table)
    train, rest = table.take(inside), table.take(~inside)
    bundle, steps, reference = trained(train, prices, settings, options, teacher)
    kept, rehearsal = rehearse(bundle, rest, options.seed)
    population = [guarantee.trial(step, rehearsal, bundle.objective, reference, settings.loss) for step in steps]
    due = float(rehearsal.cost_usd[:, reference].mean())
    safe = [t for t in population if (t.risk(settings.of) or 0.0) <= settings.alpha]
    return {
        "n_train": len(train),
        "n_population": len(kept),
        "candidates": list(table.candidates),
        "reference": table.candidates[reference],
        "selector": options.selector,
        "loss": settings.loss,
        "alpha": settings.alpha,
        "delta": settings.delta,
        "of": settings.of,
        "policies": [_curve(t, due, settings) for t in population],
        "oracle": _curve(guarantee.cheapest(safe), due, settings),
        "worlds": {
            str(size): resampled(population, due, settings, size, options.worlds, options.seed)
            for size in options.sizes
        },
    }


def trained(
    train: Table,
    prices: Mapping[str, float],
    settings: Settings,
    options: argparse.Namespace,
    teacher: Teacher | None,
) -> tuple[Bundle, tuple[Step, ...], int]:
    """Return a bundle that was written and read again, the policies to test, and the column of the reference."""
    recipe = recipes.Settings.small() if options.small else recipes.Settings()
    recipe = recipes.Settings(selector=options.selector, encoder=recipe.encoder, learning=recipe.learning)
    made = recipes.train(
        train, recipe, options.seed, candidates=catalogue(train, prices), objective=Objective(), teacher=teacher
    )
    with tempfile.TemporaryDirectory() as folder:
        written = exporting.bundle(
            made, name="benchmark", created="2026-01-01T00:00:00+00:00", training={}, evaluation={}
        ).write(Path(folder) / "bundle")
        bundle = Bundle.read(Path(folder) / "bundle", written.sha256)
    steps = guarantee.ladder(made.rehearsal, made.objective, settings)
    return bundle, steps, train.candidates.index(made.reference)


def resampled(
    population: Sequence[Trial], due: float, settings: Settings, size: int, worlds: int, seed: int
) -> dict[str, Any]:
    """Return how the certified and the naive choice fare over worlds of so many calibration requests."""
    rng = np.random.default_rng([seed, size])
    n = len(population[0].lost) if population else 0
    certified: list[Trial | None] = []
    naive: list[Trial | None] = []
    for _ in range(worlds):
        rows = rng.integers(n, size=size) if n else np.zeros(0, dtype=np.intp)
        sample = [t.take(rows) for t in population]
        certified.append(_of(guarantee.cheapest(guarantee.safe(sample, settings)), population))
        passing = [t for t in sample if (t.risk(settings.of) or 0.0) <= settings.alpha]
        naive.append(_of(guarantee.cheapest(passing), population))
    return {
        "certified": _fared(certified, due, settings),
        "naive": _fared(naive, due, settings),
    }


def _of(chosen: Trial | None, population: Sequence[Trial]) -> Trial | None:
    """Return the chosen policy on the whole population."""
    return next((t for t in population if chosen is not None and t.step == chosen.step), None)


def _fared(chosen: Sequence[Trial | None], due: float, settings: Settings) -> dict[str, Any]:
    risks = np.array([0.0 if t is None else t.risk(settings.of) or 0.0 for t in chosen])
    broken, worlds = int((risks > settings.alpha).sum()), len(chosen)
    return {
        "worlds": worlds,
        "holds": 1 - broken / worlds,
        "holds_low": 1 - upper(broken, worlds, 0.025),
        "holds_high": 1 - lower(broken, worlds, 0.025),
        "certified": float(np.mean([t is not None for t in chosen])),
        "diverted": float(np.mean([0.0 if t is None else t.leaves.mean() for t in chosen])),
        "saving": float(np.mean([0.0 if t is None else 1 - t.spent.mean() / due for t in chosen])),
        "risk": float(risks.mean()),
        "worst_risk": float(risks.max()),
    }


def _curve(one: Trial | None, due: float, settings: Settings) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "per_dollar": one.step.per_dollar,
        "margin": one.step.margin,
        "diverted": float(one.leaves.mean()),
        "saving": 1 - float(one.spent.mean()) / due,
        "risk": one.risk(settings.of),
    }


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _parser() -> argparse.ArgumentParser:
    known = Settings()
    parser = argparse.ArgumentParser(prog="python -m benchmarks guarantee", description=__doc__.split("\n")[0])
    parser.add_argument("--train", help="outcome table, Parquet")
    parser.add_argument("--set", nargs="+", help="candidate sets by name, in place of --train, --models and --prices")
    parser.add_argument("--data", help="folder of outcome tables and candidate_sets.json; BEASTMODE_DATA by default")
    parser.add_argument("--models", help="comma-separated; all models of the table by default")
    parser.add_argument("--prices", help="JSON file of US dollars a request by model, in place of the table's costs")
    parser.add_argument("--train-share", type=float, default=0.4, help="of the prompts, to train on")
    parser.add_argument("--loss", type=float, default=known.loss, help="what a request may lose in quality")
    parser.add_argument("--alpha", type=float, default=known.alpha, help="the largest share that may lose more")
    parser.add_argument("--delta", type=float, default=known.delta, help="the chance that the certificate errs")
    parser.add_argument("--of", choices=("all", "diverted"), default=known.of, help="what the share is of")
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="calibration requests of a world, comma-separated")
    parser.add_argument("--selector", default="blend")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="the settings of a demonstration")
    parser.add_argument("--encoder", choices=("static", "terms"), default="static",
                        help="static: distilled from a sentence-transformer; terms: without one")  # fmt: skip
    parser.add_argument("--embeddings", default="workspace/embeddings", help="where the teacher's vectors are kept")
    parser.add_argument("--json", help="file to write")
    return parser
