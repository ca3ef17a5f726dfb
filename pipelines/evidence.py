"""What the log itself says of policies, beside the gate: values by every estimator, and what the champion saved."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from beastmode.bundle import Bundle
from features.ledger import COLUMNS, once
from features.spending import filed, spending
from features.table import Table
from models.estimators import EvaluationRefused
from models.offpolicy import Valuation, log, value
from models.savings import Overhead, Saved, saved
from pipelines.context import Context
from pipelines.evaluation import always, contestant
from pipelines.train import Training

NAMES = {"dr": "doubly robust", "snips": "SNIPS", "ips": "IPS", "switch": "SWITCH-DR", "dm": "direct method"}
"""Estimators in the order in which they are read."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Facts as sentences, and their numbers."""

    facts: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def gather(context: Context, training: Training, champion: Bundle) -> Evidence:
    """Return what the held-out log says of the challenger's utility, and of the money that the champion saved."""
    facts: dict[str, str] = {}
    metrics: dict[str, float] = {}
    test = training.test
    facts["off-policy, from the log alone"] = _valued(training.bundle, test, context.settings.seed)
    overhead, requests = _overhead(context, test)
    for name, one in _savings(champion, test, training.best_single, overhead, requests, context).items():
        facts[f"the champion saved, {name}"] = one if isinstance(one, str) else one.sentence
        if isinstance(one, Saved):
            key = f"saved/{name.replace(' ', '_')}"
            metrics |= {key: one.share.value, f"{key}_low": one.share.low, f"{key}_high": one.share.high}
    return Evidence(facts, metrics)


def side_by_side(found: Valuation) -> str:
    """Return a valuation as one line: every estimator with its interval, then what it rests on."""
    told = [
        f"{NAMES[name]} {found.estimates[name].value:.3f} "
        f"[{found.estimates[name].low:.3f}, {found.estimates[name].high:.3f}]"
        for name in NAMES
    ]
    seen = found.overlap
    rests = (
        f"{seen.n:,} logged requests worth {seen.effective:,.0f}, the largest weight {seen.largest:.1f}, "
        f"{seen.unsupported:.1%} of the policy unsupported, propensities {found.source}"
    )
    return f"{'; '.join(told)}; {rests}"


def _valued(bundle: Bundle, test: Table, seed: int) -> str:
    outcome = bundle.objective.utility(test.quality, test.cost_usd, test.latency_ms)
    try:
        known = log(test, outcome, bundle.encoder.encode(test.texts), seed=seed)
        found = value(known, contestant(bundle, test).probabilities)
    except EvaluationRefused as refusal:
        return str(refusal)
    return side_by_side(found) if found.refused is None else f"no value: {found.refused}"


def _savings(
    champion: Bundle, test: Table, best_single: str, overhead: Overhead, requests: int, context: Context
) -> dict[str, Saved | str]:
    gate = context.settings.gate
    ours = contestant(champion, test)
    single = always(test, test.candidates.index(best_single), ours).probabilities
    references = {"against best single": single, "against the log itself": None}
    found: dict[str, Saved | str] = {}
    for name, reference in references.items():
        if reference is not None and np.array_equal(reference, ours.probabilities):
            found[name] = "the champion is the best single candidate: it saves nothing"
            continue
        try:
            found[name] = saved(
                test, ours.probabilities, reference, ours.cost_usd, overhead=overhead, requests=requests,
                name=best_single if reference is not None else "what was asked", level=gate.level,
                min_rows=gate.min_rows, min_effective=gate.min_effective,
            )  # fmt: skip
        except (EvaluationRefused, ValueError) as refusal:
            found[name] = str(refusal)
    return found


def _overhead(context: Context, test: Table) -> tuple[Overhead, int]:
    """Return what probes (grading and shadows included) and warming cost in the days of the held-out slice.

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
    spent = Overhead(probes=usd.get("probe", 0.0) + usd.get("shadow", 0.0), warming=usd.get("warm", 0.0))
    return spent, max(lines["serve"].calls if "serve" in lines else 0, len(test))
