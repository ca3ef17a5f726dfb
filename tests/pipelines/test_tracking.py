import json
from pathlib import Path

import pytest

from pipelines import plots
from pipelines.context import Context
from pipelines.plots import Point
from pipelines.settings import flat, parse
from pipelines.tracking import Tracker, TrackingError, trials
from pipelines.workspace import Workspace


def test_a_run_holds_the_whole_configuration(context: Context, tmp_path: Path) -> None:
    with context.tracker.run("one", "train-selector") as run:
        run.settings(context.settings)
    data = context.tracker.client.get_run(run.run_id).data
    assert data.params == {key: value[:500] for key, value in flat(context.settings).items()}
    known = json.loads(run.download("config.json", tmp_path).read_text())
    assert parse(known) == context.settings


def test_a_run_names_its_data_by_hash(context: Context) -> None:
    with context.tracker.run("one", "train-selector") as run:
        run.dataset("lake, training", "ab" * 32, "file:///lake", {"rows": 3}, "training")
    found = context.tracker.client.get_run(run.run_id)
    (known,) = found.inputs.dataset_inputs
    assert known.dataset.digest == "ab" * 8
    assert json.loads(known.dataset.profile) == {"rows": 3}


def test_what_no_chart_can_show_is_left_out(context: Context) -> None:
    with context.tracker.run("one", "x") as run:
        run.metrics({"value": 1.0, "unknown": float("nan"), "endless": float("inf")})
    assert context.tracker.client.get_run(run.run_id).data.metrics == {"value": 1.0}


def test_a_failed_run_says_why(context: Context) -> None:
    with pytest.raises(ZeroDivisionError), context.tracker.run("one", "train-selector"):
        raise ZeroDivisionError("nothing to divide by")
    (found,) = context.tracker.client.search_runs([context.tracker.experiment_id])
    assert found.info.status == "FAILED"
    assert "nothing to divide by" in found.data.tags["mlflow.note.content"]
    with pytest.raises(TrackingError, match="python -m pipelines train-selector"):
        context.tracker.latest("train-selector")


def test_the_latest_finished_run_of_a_kind_is_found(context: Context) -> None:
    for name, kind in (("old", "train-selector"), ("new", "train-selector"), ("other", "bundle")):
        with context.tracker.run(name, kind) as run:
            run.metrics({"value": 1.0})
    latest = context.tracker.latest("train-selector")
    assert context.tracker.of(latest).tags["mlflow.runName"] == "new"


def test_an_unknown_run_is_named(context: Context) -> None:
    with pytest.raises(TrackingError, match="no run 'nowhere'"):
        context.tracker.of("nowhere")


def test_figures_lie_below_plots(context: Context) -> None:
    with context.tracker.run("one", "x") as run:
        run.figures({"frontier": plots.frontier([Point("a", "ours", 0.1, 0.5)])})
    (found,) = context.tracker.client.list_artifacts(run.run_id, "plots")
    assert found.path == "plots/frontier.png"


def test_only_the_best_trials_get_a_run(context: Context) -> None:
    tried = [{"number": i, "value": i / 10, "params": {"rank": i}, "state": "COMPLETE"} for i in range(8)]
    tried.append({"number": 8, "value": None, "params": {}, "state": "PRUNED"})
    with context.tracker.run("parent", "train-selector") as run:
        assert trials(context.tracker, run, tried, 3) == 3
    below = context.tracker.client.search_runs(
        [context.tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{run.run_id}'"
    )
    assert sorted(found.data.metrics["cross_validated_value"] for found in below) == [0.5, 0.6, 0.7]
    assert {artifact.path for artifact in context.tracker.client.list_artifacts(run.run_id)} == {"tuning"}


def test_a_tracking_server_that_is_not_there_is_named(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match="unset MLFLOW_TRACKING_URI"):
        Tracker.open(settings, Workspace.of(settings.paths.root)).ready()
