"""What the log says beside the gate: every estimator in one line, and what the champion saved."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from beastmode.bundle import Bundle
from features.table import Table
from pipelines.compare import compare, evaluate
from pipelines.context import Context
from pipelines.evidence import Evidence, gather
from pipelines.report import Section
from pipelines.settings import parse
from pipelines.train import Training, train_selector

AT = datetime(2026, 3, 1, tzinfo=UTC)


def blinded(table: Table) -> Table:
    """The table without a word of how its candidates were chosen."""
    return replace(table, propensity=np.full(len(table), np.nan))


def logged(table: Table, rows: np.ndarray) -> Table:
    """The table with some rows known for one candidate alone, drawn from all alike."""
    rng = np.random.default_rng(0)
    n, m = table.quality.shape
    served = np.where(rows, rng.integers(m, size=n), -1)
    hidden = rows[:, None] & (np.arange(m) != served[:, None])
    values = {
        name: np.where(hidden, np.nan, getattr(table, name))
        for name in ("quality", "cost_usd", "latency_ms", "output_tokens")
    }
    return replace(
        table, served=served, propensity=np.where(rows, 1 / m, np.nan), probed=~rows, **values
    )  # fmt: skip


@pytest.fixture
def context(context: Context) -> Context:
    """A configuration that routes on little evidence, so that there is something to tell."""
    known = context.settings.model_dump(mode="json")
    known["objective"]["per_dollar"], known["recipe"]["learning"]["caution"] = 40.0, 0.0
    return replace(context, settings=parse(known))


@pytest.fixture
def training(context: Context, table: Table, candidates) -> Training:
    late = np.arange(len(table)) >= 0.6 * len(table)
    return train_selector(context, logged(table, late), candidates, AT)


def found(context: Context, training: Training, champion: Bundle) -> Evidence:
    evaluation = evaluate(
        training.bundle, champion, training.baseline, training.best_single, training.test, context.settings.gate
    )
    return gather(context, training, champion, evaluation)


def section(evidence: Evidence, title: str) -> Section:
    return next(one for one in evidence.sections if one.title == title)


def test_every_estimator_is_told_and_what_the_champion_saved(context: Context, training: Training) -> None:
    evidence = found(context, training, training.bundle)
    alone = section(evidence, "What the log alone says")
    assert [row[0] for row in alone.rows] == ["doubly robust", "SNIPS", "IPS", "SWITCH-DR", "direct method"]
    assert {row[2] for row in alone.rows} == {"0.000 (0.000 to 0.000)"}  # the champion is itself
    assert dict(row[:2] for row in section(evidence, "What that rests on").rows)["propensities"] == "logged"
    assert set(evidence.figures) >= {"weights", "segments"}
    share = evidence.metrics["saved/against_the_log_itself"]
    said = section(evidence, "What the champion saves").rows[-1][0]
    assert f"per 1,000 requests {'against' if share >= 0 else 'than'} the log's own choices" in said
    assert evidence.metrics["saved/against_the_log_itself_low"] < share
    assert evidence.metrics["log_alone/effective"] > 20

    first = found(context, training, training.first)
    assert "against that it saves nothing" in section(first, "What the champion saves").rows[0][0]
    told = section(first, "By kind of request")
    assert sum(row[0].startswith("sent to ") for row in told.rows) > 1


def test_a_log_without_propensities_is_estimated_and_says_so(context: Context, training: Training) -> None:
    blind = replace(training, test=blinded(training.test))
    evidence = found(context, blind, training.first)
    assert section(evidence, "What the log alone says").note.startswith("Estimated: the log does not say")
    bounds = section(evidence, "If there were hidden reasons for the choices")
    assert [row[0] for row in bounds.rows][:2] == ["none", "a factor of 1.25"]
    assert "promotes nothing here" in bounds.note


def test_a_verdict_on_an_estimate_is_labelled_and_holds(context: Context, training: Training) -> None:
    compared = compare(context, replace(training, test=blinded(training.test)), training.first, AT)
    assert compared.judgement.verdict == "hold"
    assert compared.judgement.estimated is not None
    tags = context.tracker.client.get_run(training.run_id).data.tags
    assert tags["propensities"] == "estimated"
    assert "If there were hidden reasons for the choices" in compared.report.html
    for page in (compared.report.html, tags["mlflow.note.content"]):
        assert "All of these numbers are estimates" in page
        assert "MLflow run" in page  # the description is not cut short


def test_a_log_that_nothing_can_be_estimated_from_gives_no_number(context: Context, training: Training) -> None:
    few = replace(training, test=blinded(training.test.take(np.arange(20))))
    evidence = found(context, few, training.first)
    assert "30 are needed" in evidence.facts["from the log alone"]
    assert not evidence.figures
    assert evidence.metrics == {}
