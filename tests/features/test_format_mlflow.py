"""What the reader of MLflow's traces promises beyond the contract of all formats."""

import base64
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Trace

from beastmode.interactions import Interaction
from features.formats import FORMATS, detect
from features.formats.events import Event, Note, Rating, Refusal, Row, Skipped, Source, Waiting
from tests.features.requests import attempts, requests

DATA = Path(__file__).resolve().parents[1] / "data"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOURCE = Source("shop", NOW)
START = 1_772_355_600_000_000_000
AT = "2026-03-01T09:00:00.000Z"
OTEL, OWN, ROOT = "ea853d75e2cefb3d084b4b67af5d1481", "3dfebcb14aa1db02", "e2c04d148d87b9af"
TRACE = f"tr-{OTEL}"
SAID = [{"role": "user", "content": "2+2?"}]
CHAT: dict[str, Any] = {
    "mlflow.spanType": "CHAT_MODEL", "mlflow.spanInputs": {"model": "small", "messages": SAID},
    "mlflow.llm.model": "small", "mlflow.llm.provider": "openai",
    "mlflow.chat.tokenUsage": {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15},
    "mlflow.llm.cost": {"input_cost": 1e-06, "output_cost": 2e-06, "total_cost": 3e-06},
}  # fmt: skip


def coded(plain: str) -> str:
    return base64.b64encode(bytes.fromhex(plain)).decode()


def span(known: dict[str, Any] = CHAT, own: str = OWN, parent: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "trace_id": coded(OTEL), "span_id": coded(own), "parent_span_id": parent and coded(parent), "name": "chat",
        "start_time_unix_nano": START, "end_time_unix_nano": START + 800_000_000, "events": [], "links": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {name: json.dumps(value) for name, value in known.items()},
    } | more  # fmt: skip


def trace(*spans: Any, **info: Any) -> dict[str, Any]:
    whole = {"trace_id": TRACE, "request_time": AT, "state": "OK", "trace_metadata": {}, "tags": {},
             "execution_duration_ms": 900} | info  # fmt: skip
    return {"info": whole, "data": {"spans": list(spans)}}


def read(*lines: Any, source: Source = SOURCE) -> list[Event]:
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return list(FORMATS["mlflow"].read(io.BytesIO(data), source))


def only(*lines: Any) -> Interaction:
    (row,) = [event.interaction for event in read(*lines) if isinstance(event, Row)]
    return row


def test_a_span_of_a_chat_model_is_an_interaction_of_its_trace() -> None:
    row = only(trace(span(), trace_metadata={"mlflow.trace.session": "s1", "mlflow.trace.user": "u1"}))
    assert (row.request_id, row.trace_id) == (f"{TRACE}-{OWN}", TRACE)
    assert (row.session_id, row.unit) == ("s1", "u1")
    assert (row.model_requested, row.model_served, row.provider) == ("small", "small", "openai")
    assert (row.input_tokens, row.output_tokens, row.cost_logged_usd) == (12, 3, 3e-06)
    assert (row.latency_ms, row.messages) == (800, tuple(SAID))


def test_ids_of_every_version_are_one_identity() -> None:
    row = only(trace(span()))
    # 3.5.0 wrote ids and status as its objects hold them.
    middle = span(trace_id=TRACE, span_id=OWN, status={"code": "OK", "message": ""})
    assert only(trace(middle)) == row
    old = {
        "name": "chat", "context": {"span_id": f"0x{OWN}", "trace_id": f"0x{OTEL}"}, "parent_id": None,
        "start_time": START, "end_time": START + 800_000_000, "status_code": "OK", "status_message": "",
        "attributes": span()["attributes"], "events": [],
    }  # fmt: skip
    info = {"request_id": TRACE, "timestamp_ms": START // 10**6, "status": "OK", "request_metadata": {}, "tags": {},
            "execution_time_ms": 900}  # fmt: skip
    assert only({"info": info, "data": {"spans": [old]}}) == row


def test_a_row_of_the_table_is_its_trace_with_and_without_the_trace_beside_it() -> None:
    row = only(trace(span()))
    columns = {
        "trace_id": TRACE, "state": "OK", "request_time": START // 10**6, "execution_duration": 900, "request": None,
        "response": None, "trace_metadata": {}, "tags": {}, "spans": [span()], "assessments": [],
    }  # fmt: skip
    assert detect(json.dumps(columns).encode())[0] == "mlflow"
    assert only(columns) == row
    assert only(columns | {"spans": "[...]", "trace": json.dumps(trace(span()))}) == row


@pytest.mark.parametrize(
    ("status", "events", "expected"),
    [
        ({"code": "STATUS_CODE_ERROR", "message": "TimeoutError: took too long"}, [], "provider_timeout"),
        ({"code": "ERROR", "message": "Error code: 401 - wrong key"}, [], "provider_authentication"),
        ({"code": "STATUS_CODE_ERROR", "message": ""},
         [{"name": "exception", "attributes": {"exception.type": "openai.RateLimitError"}}], "provider_rate_limited"),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_status_and_exception(status: Any, events: Any, expected: str) -> None:
    row = only(trace(span(status=status, events=events)))
    assert (row.status, row.error_type, row.model_served) == ("failure", expected, None)


def test_a_failed_call_and_its_retry_become_one_request() -> None:
    with (DATA / "mlflow.jsonl").open("rb") as stream:
        rows = [event.interaction for event in FORMATS["mlflow"].read(stream, SOURCE) if isinstance(event, Row)]
    (row,) = [record for record in requests(rows).values() if len(record["attempts"])]
    assert attempts(row) == [("primary", "failure"), ("retry", "success")]


def test_the_outer_of_two_traced_libraries_counts_and_a_function_around_a_call_does_not() -> None:
    bare = {"mlflow.spanType": "LLM", "mlflow.spanInputs": "2+2?"}
    inner = span(own="1" * 16, parent=OWN)
    for lines, counted in (
        (trace(inner, span()), OWN),
        (trace(span(bare), inner), "1" * 16),
        (trace(span({"mlflow.spanType": "AGENT"}, ROOT), span(parent=ROOT)), OWN),
        (trace(span(bare)), OWN),
        (trace(span(parent=OWN)), OWN),
    ):
        assert only(lines).request_id == f"{TRACE}-{counted}"
    skipped = [event.reason for event in read(trace(inner, span())) if isinstance(event, Skipped)]
    assert skipped == ["a span that answers no prompt: it is about a call that another span holds"]


def test_two_calls_of_one_trace_share_its_line_and_a_broken_one_leaves_the_other() -> None:
    events = read(trace(span(), span(own="1" * 16), span(own="2" * 16, start_time_unix_nano=None)))
    assert [(type(event), event.lines) for event in events if not isinstance(event, Note)] == [
        (Row, 1), (Row, 0), (Refusal, 0),
    ]  # fmt: skip
    refused = events[-1]
    assert isinstance(refused, Refusal)
    assert refused.of_call
    assert "every span has its start" in refused.reason


def test_a_trace_without_spans_is_one_call_if_it_took_tokens_or_failed() -> None:
    used = {"mlflow.trace.tokenUsage": '{"input_tokens": 8, "output_tokens": 2}',
            "mlflow.trace.cost": '{"total_cost": 2.4e-06}'}  # fmt: skip
    row = only(trace(trace_metadata=used, request_preview="hi"))
    assert (row.request_id, row.input_tokens, row.cost_logged_usd, row.latency_ms) == (TRACE, 8, 2.4e-06, 900)
    assert row.messages == ({"role": "user", "content": "hi"},)
    assert only(trace(state="ERROR")).status == "failure"
    (event,) = read(trace())
    assert isinstance(event, Skipped)


def test_a_young_trace_in_progress_waits_and_an_old_one_was_cut_off() -> None:
    running = trace(span(end_time_unix_nano=None), state="IN_PROGRESS")
    soon = replace(SOURCE, at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC))
    (event,) = read(running, source=soon)
    assert isinstance(event, Waiting)
    row = only(running)
    assert (row.status, row.error_type, row.latency_ms) == ("unknown", "router_process_ended", None)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"messages": SAID}, SAID),
        ({"system": "Be kind.", "messages": SAID}, [{"role": "system", "content": "Be kind."}, *SAID]),
        ({"input": "2+2?", "instructions": "Be kind."}, [{"role": "system", "content": "Be kind."}, *SAID]),
        ({"prompt": "[INST] 2+2? [/INST]"}, [{"role": "user", "content": "[INST] 2+2? [/INST]"}]),
        ({"contents": [{"role": "user", "parts": [{"text": "2+2?"}]}]},
         [{"role": "user", "content": [{"text": "2+2?"}]}]),
        ([[{"type": "system", "content": "Be kind."}, {"type": "human", "content": "2+2?"}]],
         [{"role": "system", "content": "Be kind."}, *SAID]),
        (["2+2?"], SAID),
        ("2+2?", SAID),
        ({"x": 1}, None),
        (7, None),
    ],
)  # fmt: skip
def test_a_prompt_is_found_in_the_inputs_of_every_client(inputs: Any, expected: Any) -> None:
    row = only(trace(span(CHAT | {"mlflow.spanInputs": inputs})))
    assert row.messages == (None if expected is None else tuple(expected))


def test_a_decision_is_taken_from_the_span_or_from_the_tags_for_the_first_call() -> None:
    ours = {"request_id": "r1", "decision_id": "d1", "plan": "small", "propensity": 0.5}
    for line in (
        trace(span(CHAT | {"beastmode": ours})),
        trace(span(CHAT | {"beastmode": json.dumps(ours)})),
        trace(span(), tags={"beastmode": json.dumps(ours)}),
    ):
        row = only(line)
        assert (row.request_id, row.plan, row.propensity, row.propensity_source) == ("r1", "small", 0.5, "logged")
    later = span(own="1" * 16, start_time_unix_nano=START + 10**8)
    rows = [e.interaction for e in read(trace(later, span(), tags={"beastmode": ours})) if isinstance(e, Row)]
    assert [(row.request_id, row.propensity) for row in rows] == [("r1", 0.5), (f"{TRACE}-{'1' * 16}", None)]


def test_usage_is_taken_from_an_old_answer_and_claude_codes_habit_is_noticed() -> None:
    used = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    plain = {name: value for name, value in CHAT.items() if name != "mlflow.chat.tokenUsage"}
    row = only(trace(span(plain | {"mlflow.spanOutputs": {"model": "small-1", "usage": used}})))
    assert (row.input_tokens, row.cache_read_tokens, row.output_tokens, row.model_served) == (12, 8, 3, "small-1")
    beside = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15, "cache_read_input_tokens": 2048}
    events = read(trace(span(CHAT | {"mlflow.chat.tokenUsage": beside})))
    assert [event.interaction.input_tokens for event in events if isinstance(event, Row)] == [2060]
    assert any(isinstance(event, Note) and "leave out what its cache held" in event.text for event in events)


def given(**more: Any) -> dict[str, Any]:
    at = "2026-03-01T10:00:00Z"
    word = {"assessment_name": "thumb", "create_time": at, "last_update_time": at, "feedback": {"value": True}}
    return word | {"source": {"source_type": "HUMAN", "source_id": "a"}} | more


def test_an_assessment_speaks_of_its_trace_or_of_the_call_of_its_span() -> None:
    def said(word: Any) -> Any:
        events = read(trace(span(parent=ROOT), span({"mlflow.spanType": "AGENT"}, ROOT), assessments=[word]))
        (rating,) = [event.feedback for event in events if isinstance(event, Rating)]
        return rating

    whole = said(given())
    assert (whole.request_id, whole.event_id, whole.trace_id) == (None, None, TRACE)
    assert (whole.signal, whole.value, whole.source) == ("thumb", 1.0, "HUMAN")
    row = only(trace(span()))
    one = said(given(span_id=OWN))
    assert (one.request_id, one.event_id) == (row.request_id, row.event_id)
    assert said(given(span_id=ROOT)).request_id is None
    changed = said(given(last_update_time="2026-03-02T10:00:00Z", feedback={"value": "good"}, overrides="a-1"))
    assert changed.received_at - changed.at == timedelta(days=1)
    assert (changed.value, changed.label, changed.supersedes) == (None, "good", "a-1")


def test_an_assessment_without_an_opinion_is_skipped_and_a_broken_one_costs_the_assessment_alone() -> None:
    for word in (
        given(feedback=None, expectation={"value": "4"}),
        given(feedback={"value": None, "error": {"error_code": "ValueError"}}),
        given(feedback={"value": {"a": 1.0}}),
    ):
        row, event = read(trace(span(), assessments=[word]))
        assert isinstance(row, Row)
        assert isinstance(event, Skipped)
        assert event.lines == 0
    for word in (given(create_time="soon"), 7):
        row, event = read(trace(span(), assessments=[word]))
        assert isinstance(row, Row)
        assert isinstance(event, Refusal)
        assert (event.lines, event.of_call) == (0, False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"info": {"request_time": AT}, "data": {}}, "an MLflow trace has info.trace_id"),
        ({"info": {"trace_id": TRACE}, "data": {}}, "every record needs its moment"),
        ({"trace": "{", "trace_id": TRACE}, "expected a JSON object"),
        (trace(trace_metadata=7), "trace_metadata = 7: expected a JSON object"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_reason(line: Any, said: str) -> None:
    (event,) = read(line)
    assert isinstance(event, Refusal)
    assert said in event.reason


def test_what_is_written_is_a_trace_that_mlflow_itself_reads() -> None:
    written, again = io.BytesIO(), io.BytesIO()
    decided = trace(span(CHAT | {"beastmode": {"request_id": "r1", "plan": "small"}}))
    rows = [event.interaction for event in read(decided) if isinstance(event, Row)]
    FORMATS["mlflow"].write(written, rows)  # type: ignore[misc]
    known = Trace.from_json(written.getvalue().decode())
    assert known.info.trace_id == TRACE
    assert (known.info.state, known.info.execution_duration) == ("OK", 800)
    (call,) = known.search_spans(span_type="CHAT_MODEL")
    assert call.inputs == {"model": "small", "messages": SAID}
    assert call.get_attribute("mlflow.chat.tokenUsage")["total_tokens"] == 15
    again.write(known.to_json().encode() + b"\n")
    again.seek(0)
    (back,) = [e.interaction for e in FORMATS["mlflow"].read(again, SOURCE) if isinstance(e, Row)]
    assert replace(back, event_id=rows[0].event_id) == rows[0]
