"""The champion is compared with the baseline of its promotion, on what it serves now."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines import flows
from pipelines.baseline import Measures, run_of
from pipelines.context import Context
from pipelines.monitor import monitor
from tests.pipelines.traffic import Traffic, bundle, champion, settings


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def opened(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "workspace"
    root.mkdir()
    shutil.copy(database, root / "mlflow.db")
    return Context.open(settings(root, monitor={"minimum": 100}))


@pytest.fixture
def served(opened: Context) -> tuple[Context, Traffic]:
    """A champion with a baseline made of the first requests that it served."""
    champion(opened, bundle("first", (0.3, 0.9), epsilon=0.2))
    traffic = Traffic(opened)
    assert monitor(opened, now()).reason == "0 of 100 fresh requests that a look at first takes."
    traffic.serve(150)
    assert "baseline of first was made of its first 150 requests" in monitor(opened, now()).reason
    return opened, traffic


def test_a_champion_that_serves_as_it_did_is_left_alone(served) -> None:
    context, traffic = served
    traffic.serve(150)
    found = monitor(context, now())
    assert found.retrain is None, found.reason
    assert {check.name for check in found.checks} == {
        "calibration", "quality", "log cost", "log latency", "failures", "prompts",
    }  # fmt: skip
    assert found.limit == pytest.approx(0.1 / 30 / 6)
    assert found.path is not None
    page = found.path.read_text()
    assert "Quiet: nothing has changed." in page
    assert "0.1 false alarms a month" in page
    assert found.run_id is not None
    assert context.tracker.of(found.run_id).tags["alarm"] == "False"


def test_a_model_that_became_worse_asks_for_a_retrain(served) -> None:
    context, traffic = served
    traffic.quality["large"] = 0.4
    traffic.serve(150)
    found = monitor(context, now())
    assert found.retrain is not None
    assert "mean quality of what was served: 0.3" in found.retrain.reason or "0.4" in found.retrain.reason
    assert {check.name for check in found.checks if check.p < found.limit} >= {"quality", "calibration"}
    assert found.report is not None
    assert found.report.sentence == "Alarm: the router should be trained again."


def test_other_prompts_ask_for_a_retrain(served) -> None:
    context, traffic = served
    traffic.words = ("def merge(a, b): return sorted(a + b)  # what is its complexity, and why? " * 5,)
    traffic.serve(150)
    found = monitor(context, now())
    assert found.retrain is not None
    assert "spread of the prompts" in found.retrain.reason


def test_failures_ask_for_a_retrain(served) -> None:
    context, traffic = served
    traffic.fails = {"large": 0.2}
    traffic.serve(150)
    found = monitor(context, now())
    assert found.retrain is not None
    assert "share of calls that failed" in found.retrain.reason


def test_a_single_candidate_that_is_better_by_now_asks_for_a_retrain(served) -> None:
    context, traffic = served
    run_of(context, context.store.load_champion()).tag({"best_single": "small"})
    traffic.quality.update(small=0.95, large=0.3)
    traffic.serve(400)
    (value,) = [check for check in monitor(context, now()).checks if check.name == "value"]
    assert value.now.endswith("over small")
    assert value.p < 1e-4


def test_the_baseline_comes_back_as_it_was_kept(served) -> None:
    context, _ = served
    kept = Measures.kept(run_of(context, context.store.load_champion()))
    assert kept is not None
    assert kept.failed == (0, 150)
    assert kept.prompts is not None
    assert kept.levels["quality"].n == 150


def test_nothing_in_service_is_nothing_to_monitor(opened: Context) -> None:
    assert "improve" in monitor(opened, now()).reason


@pytest.mark.parametrize("retrain", [True, False])
def test_an_alarm_starts_improve_where_the_settings_say_so(served, retrain: bool, monkeypatch) -> None:
    """The flows themselves, without Prefect's server: an alarm must reach `improve` with the same configuration."""
    context, traffic = served
    traffic.quality["large"] = 0.3
    traffic.serve(150)
    asked: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(flows, "step", lambda name, call: call())
    monkeypatch.setattr(flows, "_tell", lambda key, markdown: None)
    monkeypatch.setattr(flows, "improve_flow", lambda config, overrides: asked.append((config, overrides)))
    chosen = context.settings.model_copy(
        update={"monitor": type(context.settings.monitor)(minimum=100, retrain=retrain)}
    )
    monkeypatch.setattr(flows, "load", lambda config, overrides: chosen)
    monkeypatch.setattr(flows, "get_run_logger", lambda: __import__("logging").getLogger("test"))
    found = flows.monitor_flow.fn("mine", ("seed=3",))
    assert found.retrain is not None
    assert asked == ([("mine", ("seed=3",))] if retrain else [])
