from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from features.table import Table
from pipelines.compare import Compared, compare, evaluate, recall
from pipelines.context import Context
from pipelines.evaluation import BEST_SINGLE, CHAMPION, KNN, contestant
from pipelines.stage_settings import StageSettings
from pipelines.tracking import TrackingError
from pipelines.train import Training, train_selector

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def training(context: Context, table: Table, candidates) -> Training:
    return train_selector(context, table, candidates, AT)


def judged(context: Context, training: Training) -> Compared:
    return compare(context, training, training.first, AT)


def test_the_verdict_opens_the_run_page(context: Context, training: Training) -> None:
    compared = judged(context, training)
    found = context.tracker.client.get_run(training.run_id)
    tags, metrics = found.data.tags, found.data.metrics
    assert tags["verdict"] == compared.judgement.verdict
    assert tags["reason"] == compared.judgement.reason
    page = tags["mlflow.note.content"]
    assert page.startswith(f"**{compared.report.sentence}** On a scale from 0 to 100, this router's answers are ")
    assert compared.judgement.reason in page.splitlines()[0]
    for reference in ("champion", "best_single", "tuned_knn"):
        key = f"utility_gain/over_{reference}"
        assert {key, f"{key}_se", f"{key}_low", f"{key}_high"} <= set(metrics)
    assert {"utility/challenger", "quality/champion", "cost_usd/best_single"} <= set(metrics)
    paths = {artifact.path for artifact in context.tracker.client.list_artifacts(training.run_id, "plots")}
    assert {f"plots/{name}.png" for name in ("frontier", "differences", "savings", "calibration", "traffic")} <= paths


def test_a_champion_that_is_challenged_again_is_held_to_bounds_of_all_looks(
    context: Context, training: Training, table: Table, candidates
) -> None:
    """Else a year of nights promotes a router that is no better with near certainty."""
    unweighed = replace(context, settings=context.settings.model_copy(
        update={"gate": replace(context.settings.gate, min_rows=10_000)}))  # fmt: skip
    compare(unweighed, train_selector(context, table, candidates, AT), training.first, AT)
    first = judged(context, training).judgement.comparison(CHAMPION, "utility")
    assert judged(context, training).judgement.comparison(CHAMPION, "utility") == first, "the same look"
    night = train_selector(context, table, candidates, AT + timedelta(days=1))
    second = compare(context, night, training.first, AT + timedelta(days=1))
    wider = second.judgement.comparison(CHAMPION, "utility")
    assert wider.difference == first.difference
    assert wider.high - wider.low > 1.5 * (first.high - first.low)
    assert "hold at all looks" in second.report.html
    staged = replace(context, settings=context.settings.model_copy(update={"stages": StageSettings()}))
    assert compare(staged, night, training.first, AT).judgement.comparison(CHAMPION, "utility") == first


def test_the_report_is_a_file_and_an_artifact(context: Context, training: Training, tmp_path: Path) -> None:
    compared = judged(context, training)
    artifact = context.tracker.of(training.run_id).download("report.html", tmp_path)
    assert compared.path.read_text() == artifact.read_text() == compared.report.html


def test_differences_are_paired_and_right(training: Training, context: Context) -> None:
    evaluation = evaluate(
        training.bundle, training.first, training.baseline, training.best_single, training.test, context.settings.gate
    )
    test, objective = training.test, training.bundle.objective
    utility = objective.utility(test.quality, test.cost_usd, test.latency_ms)
    ours, theirs = (contestant(b, test).probabilities for b in (training.bundle, training.first))
    exact = ((ours - theirs) * utility).sum(axis=1)
    found = evaluation.judgement.comparison(CHAMPION, "utility")
    assert found.difference == pytest.approx(exact.mean())
    assert found.low < found.difference < found.high
    same = evaluation.judgement.comparison(BEST_SINGLE, "utility")
    assert same.difference == pytest.approx(found.difference)
    assert evaluation.judgement.comparison(KNN, "utility").n == len(test)


def test_a_candidate_that_is_gone_gets_no_request(training: Training) -> None:
    test = training.test
    kept = [name for name in test.candidates if name != training.best_single]
    columns = [test.candidates.index(name) for name in kept]
    narrow = replace(
        test,
        candidates=tuple(kept),
        served=np.full(len(test), -1),
        **{n: getattr(test, n)[:, columns] for n in ("quality", "cost_usd", "latency_ms", "output_tokens")},
    )
    drawn = contestant(training.first, narrow).probabilities
    assert drawn.shape == (len(test), len(kept))
    assert np.allclose(drawn.sum(axis=1), 1)


def test_bundles_without_a_common_candidate_are_refused(training: Training) -> None:
    other = replace(training.test, candidates=tuple(f"other-{name}" for name in training.test.candidates))
    with pytest.raises(ValueError, match="none in common"):
        contestant(training.bundle, other)


def test_where_nothing_can_be_estimated_there_is_no_number(context: Context, training: Training) -> None:
    test = training.test.take(np.arange(20))
    served = np.arange(20) % len(test.candidates)
    seen = np.arange(len(test.candidates))[None, :] == served[:, None]
    blind = replace(
        test,
        served=served,
        propensity=np.full(20, np.nan),
        probed=np.zeros(20, dtype=bool),
        **{n: np.where(seen, getattr(test, n), np.nan) for n in ("quality", "cost_usd", "latency_ms", "output_tokens")},
    )
    compared = judged(context, replace(training, test=blind))
    assert compared.judgement.verdict == "hold"
    assert "the propensity of 20 of 20 held-out requests is unknown" in compared.judgement.reason
    assert "Estimated propensities are no way out" in compared.judgement.reason
    assert compared.judgement.values == {}
    metrics = context.tracker.client.get_run(training.run_id).data.metrics
    assert not [key for key in metrics if key.startswith(("utility", "quality"))]


def test_recall_gives_the_same_training_again(context: Context, training: Training, table: Table) -> None:
    again = recall(context, None, lambda as_of: table)
    assert again.run_id == training.run_id
    assert again.bundle.sha256 == training.bundle.sha256
    assert again.first.sha256 == training.first.sha256
    assert again.as_of == AT
    one, two = (judged(context, t).judgement for t in (training, again))
    assert one == two


def test_a_lake_that_gives_another_table_is_refused(context: Context, training: Training, table: Table) -> None:
    with pytest.raises(TrackingError, match="train-selector` again"):
        recall(context, training.run_id, lambda as_of: table.take(np.arange(len(table) - 9)))


def test_a_run_that_is_no_training_is_refused(context: Context, table: Table) -> None:
    with context.tracker.run("other", "bundle") as run:
        pass
    with pytest.raises(TrackingError, match="is no finished training run"):
        recall(context, run.run_id, lambda as_of: table)
