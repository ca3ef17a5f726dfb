"""What stands beside the gate: the log's own word on the challenger, its gain by kind of request, the money saved."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from beastmode.bundle import Bundle
from features.joins import SERVING
from features.ledger import COLUMNS, once
from features.spending import filed, spending
from features.table import Table
from models.comparison import Contestant, Settings, by_metric
from models.estimators import EvaluationRefused
from models.offpolicy import Valuation, by_segment, log, value
from models.savings import Overhead, Saved, saved
from pipelines import evidence_tables as tables
from pipelines import held, stage_plots
from pipelines.context import Context
from pipelines.evaluation import Evaluation, always, contestant
from pipelines.report import Section
from pipelines.train import Training

Pair = tuple[Contestant, Contestant]
"""Challenger and champion on the held-out requests."""
CHOICE = "the log's own choices"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Tables, pictures and facts of a report, with their numbers."""

    sections: tuple[Section, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def gather(context: Context, training: Training, champion: Bundle, evaluation: Evaluation) -> Evidence:
    """Return what the held-out requests say of the challenger, and of the money that the champion saved."""
    judgement, gate = evaluation.judgement, context.settings.gate
    pair = contestant(training.bundle, evaluation.table), contestant(champion, evaluation.table)
    lake = held.rows(context, evaluation.table)
    found = []
    if judgement.refused is None:
        found.append(_by_kind(training.bundle, pair, evaluation.table, lake, gate))
    alone, gain = _alone(context, training, pair, lake)
    found.append(alone)
    hidden = judgement.estimated.hidden["utility"] if judgement.estimated else gain.hidden if gain else ()
    if hidden:
        found.append(Evidence((tables.hidden(hidden, gate),)))
    found.append(_money(context, training, champion, evaluation.table))
    return Evidence(
        tuple(section for part in found for section in part.sections),
        {name: figure for part in found for name, figure in part.figures.items()},
        {name: fact for part in found for name, fact in part.facts.items()},
        {name: metric for part in found for name, metric in part.metrics.items()},
    )


def _by_kind(bundle: Bundle, pair: Pair, table: Table, lake: pd.DataFrame, gate: Settings) -> Evidence:
    """Return the challenger's gain in utility on each kind of request."""
    ours, theirs = pair
    kinds = held.kinds(lake, table, ours.probabilities)
    found = by_segment(
        table, by_metric(bundle.objective, table)["utility"], ours.probabilities, kinds, theirs.probabilities,
        by_metric(bundle.objective, ours)["utility"], level=gate.level, min_rows=gate.min_rows,
        min_effective=gate.min_effective,
    )  # fmt: skip
    if not found:
        return Evidence()
    bars = [(s.name, s.estimate.value, s.estimate.low, s.estimate.high, s.n) for s in found if s.estimate is not None]
    return Evidence((tables.segments(found, gate.level),), {"segments": stage_plots.segments(bars)} if bars else {})


def _alone(
    context: Context, training: Training, pair: Pair, lake: pd.DataFrame
) -> tuple[Evidence, Valuation | None]:  # fmt: skip
    """Return the challenger's value by the served requests alone, and its gain; of what carries none, why.

    The training's own table: what the log does not say of its choices is estimated here too, and labelled so.
    """
    bundle, test, level = training.bundle, training.test, context.settings.gate.level
    outcome = by_metric(bundle.objective, test)["utility"]
    try:
        known = log(
            test, outcome, bundle.encoder.encode(test.texts), seed=context.settings.seed, estimate_behaviour=True,
            probabilities=held.probabilities(lake, test),
        )  # fmt: skip
    except EvaluationRefused as refusal:
        return Evidence(facts={"from the log alone": str(refusal)}), None
    ours, theirs = (each.probabilities for each in pair)
    own, gain = value(known, ours, level=level), value(known, ours, theirs, level)
    weights = stage_plots.weights(known.terms(ours).weight, "requests of the log, for this router")
    told = Evidence(tuple(tables.alone(own, gain, level)), {"weights": weights}, metrics=_metrics(own))
    return told, gain


def _metrics(found: Valuation) -> dict[str, float]:
    metrics = {f"log_alone/{name}": estimate.value for name, estimate in found.estimates.items()}
    dr = found.estimates["dr"]
    return metrics | {
        "log_alone/dr_low": dr.low,
        "log_alone/dr_high": dr.high,
        "log_alone/effective": found.overlap.effective,
        "log_alone/largest_weight": found.overlap.largest,
        "log_alone/unsupported": found.overlap.unsupported,
    }


def _money(context: Context, training: Training, champion: Bundle, test: Table) -> Evidence:
    """Return what the champion saved, in sentences."""
    said: list[str] = []
    metrics: dict[str, float] = {}
    for name, one in savings(context, champion, test, training.best_single).items():
        said.append(one if isinstance(one, str) else tables.money_said(one))
        if isinstance(one, Saved):
            key = f"saved/against_{name}"
            metrics |= {key: one.share.value, f"{key}_low": one.share.low, f"{key}_high": one.share.high}
    return Evidence((tables.money_section(said),), metrics=metrics)


def savings(context: Context, champion: Bundle, test: Table, best_single: str) -> dict[str, Saved | str]:
    """Return what the champion saves on requests that it did not learn from, by reference; where there is none, why."""
    overhead, requests = _overhead(context, test)
    gate = context.settings.gate
    ours = contestant(champion, test)
    single = always(test, test.candidates.index(best_single), ours).probabilities
    references = {"best_single": (single, f"asking {best_single} every time"), "the_log_itself": (None, CHOICE)}
    found: dict[str, Saved | str] = {}
    for name, (reference, called) in references.items():
        if reference is not None and np.array_equal(reference, ours.probabilities):
            found[name] = f"The champion asks {best_single} every time, so against that it saves nothing."
            continue
        try:
            found[name] = saved(
                test, ours.probabilities, reference, ours.cost_usd, overhead=overhead, requests=requests,
                name=called, level=gate.level, min_rows=gate.min_rows, min_effective=gate.min_effective,
            )  # fmt: skip
        except (EvaluationRefused, ValueError) as refusal:
            found[name] = f"Against {called}: {refusal}"
    return found


def _overhead(context: Context, test: Table) -> tuple[Overhead, int]:
    """Return what probes (shadows included), grading and warming cost in the days of the held-out slice.

    And how many requests were served in them. The router runs on the application's own processor: it costs nothing
    that a bill shows.
    """
    if not len(test):
        return Overhead(), 0
    since, until = (pd.Timestamp(moment).date() for moment in (test.at.min(), test.at.max()))
    frame = context.lake.interactions(since, until, COLUMNS)
    if not len(frame):
        return Overhead(), len(test)
    lines = {line.name: line for line in spending(filed(once(frame))).by["purpose"]}
    usd = {name: line.usd for name, line in lines.items()}
    spent = Overhead(
        probes=usd.get("probe", 0.0) + usd.get("shadow", 0.0), judge=usd.get("judge", 0.0), warming=usd.get("warm", 0.0)
    )
    return spent, max(sum(lines[name].calls for name in SERVING if name in lines), len(test))
