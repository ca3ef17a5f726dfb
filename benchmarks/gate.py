"""Does the paired gate keep the harmful out and let the better in, watched every day while probes are added?

    python -m benchmarks gate --set NAME ... --data DIR --json OUT
    python -m benchmarks gate --train FILE [--models a,b] --json OUT
    python -m benchmarks gate --set NAME --data DIR --units --json OUT

The champion is the best single candidate of an outcome table. A challenger answers as the champion does, but for a
share of the prompts as whoever answers best there (or worst), so that its true difference is exact. A *mixture* takes
one of the two; a *churning* challenger takes both, so that `--churn` of the answers change and most of it cancels: what
real challengers look like. A world draws its probes from the table with replacement and looks after every `--daily` of
them; the first verdict other than hold counts. Judged by `models.comparison`'s own functions, some worlds by `judge`.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

from beastmode.objective import Objective
from beastmode.validity import plain
from benchmarks.candidate_sets import candidate_sets, priced, read_prices
from benchmarks.gate_units import units
from features.outcomes import outcomes
from features.table import Table
from models import comparison
from models.comparison import Contestant, Settings
from models.exact import lower, upper
from models.experiments.sequences import cautious, critical, running

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

DIFFERENCES = (-0.02, -0.01, -0.0075, -0.005, 0.0, 0.005, 0.01, 0.02)
HARMFUL = -0.005
"""A challenger truly worse by more than this must not be promoted."""
CHECKED = 2
"""Worlds of a cell that `comparison.judge` judges too, look by look."""


@dataclass(frozen=True, slots=True)
class Population:
    """An outcome table with its champion, and for each prompt who answers best and worst."""

    table: Table
    champion: int
    best: Indices
    worst: Indices

    @classmethod
    def of(cls, table: Table) -> "Population":
        """Return the population of a table; the champion is its best single candidate."""
        champion = int(np.argmax(table.quality.mean(axis=0)))
        return cls(table, champion, table.quality.argmax(axis=1), table.quality.argmin(axis=1))

    def gains(self, choice: Indices) -> Floats:
        """Return what the chosen candidates answer better than the champion, (prompts,)."""
        quality = self.table.quality
        return np.asarray(quality[np.arange(len(quality)), choice] - quality[:, self.champion])

    def shares(self, difference: float, churn: float) -> tuple[float, float] | None:
        """Return how often a challenger takes the best and the worst answer to differ by exactly so much.

        None where the table leaves no room for it.
        """
        up, down = float(self.gains(self.best).mean()), -float(self.gains(self.worst).mean())
        won, lost = max(difference, 0.0), max(-difference, 0.0)
        if churn:
            won, lost = (churn + difference) / 2, (churn - difference) / 2
        if won < 0 or lost < 0 or (won and not up) or (lost and not down):
            return None
        shares = (won / up if won else 0.0), (lost / down if lost else 0.0)
        return shares if sum(shares) <= 1 else None

    def draw(
        self, rng: np.random.Generator, shares: tuple[float, float], shape: tuple[int, ...]
    ) -> tuple[Indices, Indices]:
        """Return prompts and the challenger's choices on them, both of a shape."""
        rows = rng.integers(len(self.table), size=shape)
        lot = rng.random(shape)
        other = np.where(lot < sum(shares), self.worst[rows], self.champion)
        return rows, np.where(lot < shares[0], self.best[rows], other)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and write its JSON; 1 where a harmful challenger is promoted beyond 2% and chance."""
    options = _parser().parse_args(arguments)
    measure = units if options.units else cells
    result: dict[str, Any] = {}
    for name, table in tables(options):
        if len(table) < options.min_prompts:
            result[name] = {"left_out": f"{len(table)} prompts, under {options.min_prompts}"}
            continue
        result[name] = measure(Population.of(table), options)
        if options.json:
            Path(options.json).write_text(json.dumps(plain(result), indent=1) + "\n")
    print(json.dumps(plain(result), indent=1))
    broken = [name for name, found in result.items() if found.get("harmful", {}).get("low", 0) > 0.02]
    return 1 if broken else 0


def tables(options: argparse.Namespace) -> Iterator[tuple[str, Table]]:
    """Yield the outcome tables that are asked for, by name; raises SystemExit on options that do not fit together."""
    if options.train is not None:
        prices = read_prices(Path(options.prices)) if options.prices else {}
        models = options.models.split(",") if options.models else None
        yield Path(options.train).stem, priced(outcomes(pd.read_parquet(options.train), models), prices)
        return
    try:
        chosen = candidate_sets(options.set, options.data)
    except ValueError as error:
        raise SystemExit(f"{error}, or a table by --train") from None
    for name, one in chosen.items():
        yield name, one.table()


def cells(population: Population, options: argparse.Namespace) -> dict[str, Any]:
    """Return what every gate does with challengers of every true difference."""
    settings = Settings(planned=options.probes)
    looks = np.arange(options.daily, options.probes + 1, options.daily)
    found: dict[str, Any] = {
        "prompts": len(population.table),
        "champion": population.table.candidates[population.champion],
    }
    for kind, churn in (("mixture", 0.0), ("churning", options.churn)):
        found[kind] = {}
        for at, difference in enumerate(DIFFERENCES):
            shares = population.shares(difference, churn)
            if shares is None:
                found[kind][f"{100 * difference:+g}"] = None
                continue
            rng = np.random.default_rng([options.seed, at, int(churn > 0)])
            cell = world_by_world(population, shares, looks, settings, options.worlds, rng)
            found[kind][f"{100 * difference:+g}"] = {"true_difference": difference, **cell}
    harmful = [
        cell["gate"]["promote"] for kind in ("mixture", "churning") for cell in found[kind].values()
        if cell and cell["true_difference"] < HARMFUL
    ]  # fmt: skip
    promoted, worlds = round(sum(harmful) * options.worlds), len(harmful) * options.worlds
    found["harmful"] = {"cells": len(harmful), **_share(promoted, worlds), "worst_cell": max(harmful, default=0.0)}
    return found


def world_by_world(
    population: Population, shares: tuple[float, float], looks: Indices, settings: Settings, worlds: int,
    rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    """Return the verdicts of the gate, of the point estimate and of a t-test, over worlds of one kind of challenger."""
    rows, choice = population.draw(rng, shares, (worlds, int(looks[-1])))
    quality = population.table.quality
    gained = quality[rows, choice] - quality[rows, population.champion]
    mean, se = running(gained, looks)
    known = comparison.bounds(mean, se, looks, settings)
    span = (known.low, known.high)
    watched = comparison.verdicts(span, span, settings)
    with np.errstate(invalid="ignore"):
        half = t.ppf(1 - settings.alpha, looks - 1) * se
    tested = np.select([mean - half > 0, mean + half < 0], ["promote", "reject"], "hold")
    wide = critical(looks, settings.planned, settings.alpha, 1) * cautious(se, looks)
    unplanned = np.select([mean - wide > 0, mean + wide < 0], ["promote", "reject"], "hold")
    naive = np.select([mean > 0, mean < 0], ["promote", "reject"], "hold")
    return {
        "answers_changed": float((gained != 0).mean()),
        "deviation": float(gained.std()),
        "gate": _fared(watched, looks),
        "sequence_without_a_plan": _fared(unplanned, looks),
        "naive": _fared(naive, looks),
        "t_test_once": _fared(tested[:, -1:], looks[-1:]),
        "t_test_daily": _fared(tested, looks),
        "judge_disagrees": _disagreements(population, rows, choice, watched, looks, settings),
    }


def _fared(verdicts: NDArray[np.str_], looks: Indices) -> dict[str, Any]:
    """Return the shares of the first verdicts of (worlds, looks), the bounds of promotion, and the probes it took."""
    acted = verdicts != "hold"
    first = acted.argmax(axis=1)
    ended = np.where(acted.any(axis=1), np.take_along_axis(verdicts, first[:, None], 1)[:, 0], "hold")
    counts = {verdict: int((ended == verdict).sum()) for verdict in ("promote", "hold", "reject")}
    bounds = _share(counts["promote"], len(ended))
    took = looks[first[ended == "promote"]]
    return {
        **{verdict: count / len(ended) for verdict, count in counts.items()},
        "promote_low": bounds["low"],
        "promote_high": bounds["high"],
        "probes_to_promote": float(np.median(took)) if len(took) else None,
    }


def _share(count: int, of: int) -> dict[str, float]:
    """Return a share with its exact 95% interval."""
    return {"share": count / max(of, 1), "low": lower(count, of, 0.025), "high": upper(count, of, 0.025)}


def _disagreements(
    population: Population,
    rows: Indices,
    choice: Indices,
    watched: NDArray[np.str_],
    looks: Indices,
    settings: Settings,
) -> int:
    """Return at how many looks of the first worlds `comparison.judge` says otherwise: none, or this is not the gate."""
    differ = 0
    for world in range(min(CHECKED, len(rows))):
        for at, n in enumerate(looks.tolist()):
            probed = population.table.take(rows[world, :n])
            # A prompt that is drawn twice is two probes here, as it is in the mean above.
            table = replace(probed, sessions=np.arange(n).astype(str))
            contestants = {
                "challenger": _always(table, choice[world, :n]),
                "champion": _always(table, np.full(n, population.champion)),
            }
            said = comparison.judge(contestants, table, Objective(), settings, watched=True)
            differ += said.verdict != watched[world, at]
    return differ


def _always(table: Table, choice: Indices) -> Contestant:
    drawn = np.zeros(table.quality.shape)
    drawn[np.arange(len(choice)), choice] = 1.0
    return Contestant(drawn, table.quality, table.cost_usd, table.latency_ms)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate", description=__doc__.split("\n")[0])
    parser.add_argument("--set", nargs="+", help="candidate sets by name; all of the folder by default")
    parser.add_argument("--data", help="folder of outcome tables and candidate_sets.json; BEASTMODE_DATA by default")
    parser.add_argument("--train", help="an outcome table, Parquet, in place of --set")
    parser.add_argument("--models", help="comma-separated; all models of the table by default")
    parser.add_argument("--prices", help="JSON file of US dollars a request by model")
    parser.add_argument("--min-prompts", type=int, default=1000, help="smaller tables are left out")
    parser.add_argument("--worlds", type=int, default=1000, help="of a cell")
    parser.add_argument("--probes", type=int, default=3000, help="that a challenger is given")
    parser.add_argument("--daily", type=int, default=100, help="probes between two looks")
    parser.add_argument("--churn", type=float, default=0.05, help="share of answers that a churning challenger changes")
    parser.add_argument("--units", action="store_true", help="what proves a difference: probes, logs or A/B units")
    parser.add_argument("--difference", type=float, default=0.01, help="with --units: the difference to prove")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", nargs="?", const="", help="file to write; JSON is printed in any case")
    return parser
