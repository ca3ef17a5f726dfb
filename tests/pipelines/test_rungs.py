"""The flow climbs the ladder: trains every rung, times what it exported, keeps one and the evidence of both."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from beastmode.bundle import Bundle
from pipelines import history
from pipelines.compare import compare
from pipelines.context import Context
from pipelines.rungs import climb
from pipelines.settings import SettingsError, parse
from pipelines.train import train_selector
from tests.graphs import graph, remember

pytest.importorskip("onnx", reason="install the extra 'embeddings'")
pytest.importorskip("onnxruntime", reason="install the extra 'onnx'")

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def both(context: Context) -> Context:
    """A context whose ladder has two rungs, and a graph that an earlier training exported."""
    remember(context.workspace.embeddings)
    ladder = parse({"ladder": {"rungs": ["static", "onnx"]}}).ladder
    return replace(context, settings=context.settings.model_copy(update={"ladder": ladder}))


def test_a_run_keeps_the_figures_of_every_rung(both: Context, table, candidates, tmp_path: Path) -> None:
    stages: list[tuple[str, float]] = []
    training = train_selector(
        both, table, candidates, AT, teachers=history.teachers(both),
        progress=lambda stage, share: stages.append((stage, share)),
    )  # fmt: skip
    run = both.tracker.of(training.run_id)
    rows = json.loads(run.download("ladder.json", tmp_path).read_text())
    assert [row["rung"] for row in rows] == ["static", "onnx"]
    (taken,) = [row["rung"] for row in rows if row["chosen"]]
    assert run.tags["encoder"] == training.bundle.encoder.kind == taken
    assert run.tags["ladder"].startswith(f"{taken}: the cheapest")
    assert all(row["milliseconds"] > 0 and row["size_bytes"] > 1000 and row["value_se"] > 0 for row in rows)
    metrics = both.tracker.client.get_run(training.run_id).data.metrics
    assert {
        f"ladder/{name}/{what}" for name in ("static", "onnx") for what in ("value", "milliseconds", "size_bytes")
    } <= set(metrics)
    read = Bundle.read(run.download("bundle", tmp_path), training.bundle.sha256)
    assert read.evaluation["ladder"] == rows
    shares = [share for _, share in stages]
    assert shares == sorted(shares)
    assert {stage.partition(":")[0] for stage, _ in stages} == {"static", "onnx", "done"}
    compared = compare(both, training, training.first, AT)
    assert f"encoder {taken}, taken" in compared.report.html


def test_the_onnx_rung_alone_is_trained_exported_and_remembered(both: Context, table, candidates) -> None:
    teachers = {"onnx": history.teachers(both)["onnx"]}
    training = train_selector(both, table, candidates, AT, teachers=teachers)
    assert training.bundle.encoder.kind == "onnx"
    assert training.bundle.encoder.files == {"encoder.onnx": graph(1)}
    assert "ladder" not in training.bundle.evaluation
    (memory,) = both.workspace.embeddings.glob("*int8*.db")
    assert not any(text[:40].encode() in memory.read_bytes() for text in table.texts if len(text) >= 40)


def test_rungs_are_judged_on_the_same_rows_and_timed_without_a_memory(both: Context, table, candidates) -> None:
    settings = both.settings
    trained, standings = climb(
        table, settings.recipe, 0, history.teachers(both), candidates=candidates, objective=settings.objective,
        errors=settings.ladder.errors,
    )  # fmt: skip
    static, onnx = standings
    assert min(static.milliseconds, onnx.milliseconds) > 0
    assert onnx.behind == pytest.approx(max(static.value - onnx.value, 0.0))
    assert len(trained.earned) == len(table)


@pytest.mark.parametrize(
    ("rungs", "message"),
    [(["static", "static"], "name each rung once"), ([], "at least 1"), (["torch"], "'static' or 'onnx'")],
)
def test_a_ladder_that_is_none_is_refused(rungs: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse({"ladder": {"rungs": rungs}})
