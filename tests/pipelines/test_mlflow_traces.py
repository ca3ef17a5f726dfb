"""Traces that the real MLflow writes are read as they were meant, from JSON lines and from its table in any file."""

import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import AssessmentSource, SpanType

from beastmode.interactions import Interaction
from features.formats import FORMATS, detect, expect, read
from features.formats.events import Event, Rating, Refusal, Row, Skipped, Source
from tests.features.requests import attempts, requests

# MLflow 3.17 warns of its own types when the first span is made (November 2026).
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
SAID = [{"role": "user", "content": "2+2?"}]
MODEL = {"mlflow.llm.model": "small", "mlflow.llm.provider": "openai"}
USAGE = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15, "cache_read_input_tokens": 8}
DECISION = {"request_id": "r1", "plan": "small", "probabilities": {"small": 0.5, "large": 0.5}, "propensity": 0.5}


def _call(outputs: Any = None, **attributes: Any) -> str:
    with mlflow.start_span("chat", span_type=SpanType.CHAT_MODEL) as span:
        span.set_inputs({"model": "small", "messages": SAID})
        span.set_attributes(MODEL | attributes)
        if outputs is None:
            raise TimeoutError("took too long")
        span.set_outputs(outputs)
    return str(span.span_id)


@pytest.fixture(scope="module")
def trace_id(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An agent's trace in a store of MLflow's: a call that timed out, its retry, a tool, and what was said of them."""
    store = tmp_path_factory.mktemp("traces") / "mlflow.db"
    shutil.copy(database, store)
    with pytest.MonkeyPatch.context() as patch:
        # By its variables, not by its setters: those would outlive this module.
        patch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        # The default experiment keeps its artifacts in the working folder.
        client = mlflow.MlflowClient(f"sqlite:///{store}")
        named = client.create_experiment("traces", artifact_location=str(store.parent / "artifacts"))
        patch.setenv("MLFLOW_EXPERIMENT_ID", named)
        yield _traced()
        mlflow.tracing.reset()


def _traced() -> str:
    with mlflow.start_span("agent", span_type=SpanType.AGENT) as agent:
        mlflow.update_current_trace(metadata={"mlflow.trace.session": "s1", "mlflow.trace.user": "u1"})
        with pytest.raises(TimeoutError):
            _call(beastmode=DECISION)
        answered = _call(
            {"model": "small-1", "choices": []},
            **{"mlflow.chat.tokenUsage": USAGE, "mlflow.llm.cost": {"total_cost": 2e-06}},
        )
        with mlflow.start_span("add", span_type=SpanType.TOOL):
            pass
    mlflow.flush_trace_async_logging()
    named = str(agent.trace_id)
    human = AssessmentSource(source_type="HUMAN", source_id="u1")
    thumb = mlflow.log_feedback(trace_id=named, name="thumb", value=True, source=human)
    mlflow.override_feedback(trace_id=named, assessment_id=thumb.assessment_id, value=False, source=human)
    mlflow.log_feedback(trace_id=named, name="judge", value="good", span_id=answered)
    mlflow.log_feedback(trace_id=named, name="broken", error=ValueError("no answer"))
    mlflow.log_expectation(trace_id=named, name="expected", value="4")
    return named


@pytest.fixture
def source() -> Source:
    return Source("shop", datetime.now(UTC) + timedelta(days=1))


def _events(data: bytes, source: Source) -> list[Event]:
    assert detect(data)[0] == "mlflow"
    return list(FORMATS["mlflow"].read(io.BytesIO(data), source))


def _rows(events: list[Event]) -> list[Interaction]:
    assert not [event for event in events if isinstance(event, Refusal)]
    return [event.interaction for event in events if isinstance(event, Row)]


def test_a_real_trace_holds_its_calls_its_decision_and_its_feedback(trace_id: str, source: Source) -> None:
    line = mlflow.get_trace(trace_id).to_json().encode() + b"\n"
    events = _events(line, source)
    failed, answered = _rows(events)
    assert (failed.status, failed.error_type, failed.request_id) == ("failure", "provider_timeout", "r1")
    assert failed.propensity == 0.5
    assert answered.trace_id == failed.trace_id == trace_id
    assert (answered.session_id, answered.unit, answered.provider) == ("s1", "u1", "openai")
    assert (answered.model_requested, answered.model_served) == ("small", "small-1")
    assert (answered.input_tokens, answered.cache_read_tokens, answered.output_tokens) == (12, 8, 3)
    assert (answered.cost_logged_usd, answered.messages) == (2e-06, tuple(SAID))
    assert answered.latency_ms is not None
    said = [event.feedback for event in events if isinstance(event, Rating)]
    assert sorted((word.signal, word.value, word.label, word.event_id) for word in said if word.value is None) == [
        ("judge", None, "good", answered.event_id)
    ]
    thumbs = sorted((word for word in said if word.signal == "thumb"), key=lambda word: word.at)
    assert [word.value for word in thumbs] == [1.0, 0.0]
    assert thumbs[1].supersedes
    assert {word.trace_id for word in said} == {trace_id}
    assert sorted(event.reason.rpartition(": ")[2] for event in events if isinstance(event, Skipped)) == [
        "AGENT", "TOOL", "an expectation or an issue", "it failed",
    ]  # fmt: skip
    found = [event.interaction for event in read("mlflow", io.BytesIO(line), source) if isinstance(event, Row)]
    (whole,) = requests(found).values()
    assert [role for role, _ in attempts(whole)] == ["primary", "retry"]
    assert (whole["request_id"], whole["propensity"]) == ("r1", 0.5)


def test_the_table_of_search_traces_says_the_same_in_every_kind_of_file(trace_id: str, source: Source) -> None:
    trace = mlflow.get_trace(trace_id)
    rows = _rows(_events(trace.to_json().encode() + b"\n", source))
    table = mlflow.search_traces(locations=[trace.info.experiment_id], return_type="pandas")
    lines = table.to_json(orient="records", lines=True).encode()
    assert _rows(_events(lines, source)) == rows
    assert _rows(_events(table.to_json(orient="records", indent=2).encode(), source)) == rows
    assert _rows(_events(table.to_csv(index=False).encode(), source)) == rows
    bare = table.drop(columns="trace")
    assert _rows(_events(bare.to_json(orient="records", lines=True).encode(), source)) == rows
    # pandas cannot write a column of assessments whose values are of several types.
    for known in (table, bare):
        parquet = io.BytesIO(known.drop(columns="assessments").to_parquet())
        assert expect("mlflow", parquet.getvalue()) is FORMATS["mlflow"]
        assert _rows(list(FORMATS["mlflow"].read(parquet, source))) == rows


def test_a_pretty_printed_trace_is_read_too(trace_id: str, source: Source) -> None:
    trace = mlflow.get_trace(trace_id)
    plain, pretty = trace.to_json().encode() + b"\n", trace.to_json(pretty=True).encode()
    assert json.loads(pretty) == json.loads(plain)
    assert _rows(_events(pretty, source)) == _rows(_events(plain, source))
