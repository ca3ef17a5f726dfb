"""Langfuse's exports in every spelling and container, and which call a score speaks of."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beastmode.interactions import Feedback, Interaction
from features import formats
from features.formats import langfuse
from features.formats.events import Event, Note, Rating, Refusal, Row, Skipped, Source, Waiting, event_id
from features.joins import table
from features.prices import PriceBook
from pipelines.columns import feedback_table, interactions_table
from tests.features.requests import attempts, requests

NO_PRICES = PriceBook(listed=False)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "langfuse.jsonl"
CALL: dict[str, Any] = {
    "id": "o1", "traceId": "t1", "type": "GENERATION", "startTime": "2026-03-01T09:00:00.000Z",
    "endTime": "2026-03-01T09:00:02.000Z", "completionStartTime": "2026-03-01T09:00:00.250Z", "level": "DEFAULT",
    "providedModelName": "small-1", "usageDetails": {"input": 10, "input_cached_tokens": 30, "output": 5, "total": 45},
    "costDetails": {"input": 0.001, "output": 0.002}, "totalCost": 0.003, "metadata": {"team": "a"},
    "input": [{"role": "user", "content": "hi"}], "output": "hello", "userId": "u1", "sessionId": "s1",
}  # fmt: skip
SCORE: dict[str, Any] = {
    "id": "c1", "traceId": "t1", "observationId": "o1", "name": "thumb", "value": 1, "dataType": "BOOLEAN",
    "source": "API", "timestamp": "2026-03-01T09:05:00.000Z",
}  # fmt: skip
SNAKE = {
    "id": "id", "traceId": "trace_id", "type": "type", "startTime": "start_time", "endTime": "end_time",
    "completionStartTime": "completion_start_time", "level": "level", "providedModelName": "provided_model_name",
    "usageDetails": "usage_details", "costDetails": "cost_details", "totalCost": "total_cost", "metadata": "metadata",
    "input": "input", "output": "output", "userId": "user_id", "sessionId": "session_id", "name": "name",
    "observationId": "observation_id", "value": "value", "dataType": "data_type", "source": "source",
    "timestamp": "timestamp",
}  # fmt: skip


def lines(*records: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(data: bytes, at: datetime = NOW, deployment: str = "shop") -> list[Event]:
    return list(langfuse.read(io.BytesIO(data), Source(deployment, at)))


def taken(events: list[Event]) -> list[int]:
    return [event.lines for event in events if not isinstance(event, Note)]


def one(**known: Any) -> Interaction:
    (event,) = read(lines({**CALL, **known}))
    assert isinstance(event, Row), event
    return event.interaction


def said(**known: Any) -> Feedback:
    (event,) = read(lines({**SCORE, **known}))
    assert isinstance(event, Rating), event
    return event.feedback


def test_a_generation_is_a_call_and_its_input_tokens_include_the_cached_ones() -> None:
    row = one()
    assert (row.request_id, row.trace_id, row.session_id, row.unit) == ("o1", "t1", "s1", "u1")
    assert (row.input_tokens, row.cache_read_tokens, row.output_tokens) == (40, 30, 5)
    assert (row.latency_ms, row.ttft_ms, row.cost_logged_usd) == (2000.0, 250.0, 0.003)
    assert row.messages == ({"role": "user", "content": "hi"},)
    assert row.model_served == "small-1"


@pytest.mark.parametrize(
    ("usage", "into", "cached"),
    [
        ({"input": 86, "input_cached_tokens": 17817, "output": 120, "total": 18023}, 17903, 17817),
        ({"input": 86, "cache_read_input_tokens": 17817, "output": 120}, 17903, 17817),
        # Sent twice by the client: its own total tells.
        ({"input": 117231, "cache_read_input_tokens": 115584, "output": 225, "total": 117456}, 117231, 115584),
        # Anthropic's total leaves out what was cached, so it cannot be the whole.
        ({"input": 86, "cache_read_input_tokens": 17817, "output": 120, "total": 206}, 17903, 17817),
        ({"input": "7", "input_audio_tokens": "3", "output": "1", "total": "11"}, 10, None),
        ({"promptTokens": 7, "completionTokens": 1, "totalTokens": 8}, 7, None),
    ],
)
def test_the_parts_of_a_usage_add_up_to_one_meaning(usage: dict[str, Any], into: int, cached: int | None) -> None:
    row = one(usageDetails=usage)
    assert (row.input_tokens, row.cache_read_tokens) == (into, cached)


def test_written_cache_and_reasoning_are_parts_too() -> None:
    row = one(usageDetails={"input": 5, "cache_creation_input_tokens": 20, "output": 3, "output_reasoning_tokens": 9})
    assert (row.input_tokens, row.cache_write_tokens, row.output_tokens, row.reasoning_tokens) == (25, 20, 12, 9)


def test_the_first_versions_of_usage_and_cost_are_read() -> None:
    old = {name: value for name, value in CALL.items() if not name.startswith(("usage", "cost", "total", "provided"))}
    usage = {"input": 40, "output": 10, "total": 50, "unit": "TOKENS", "inputCost": 1.0}
    (event,) = read(lines({**old, "model": "gpt-3.5-turbo", "usage": usage, "calculatedTotalCost": 0.00035}))
    assert isinstance(event, Row)
    row = event.interaction
    assert (row.input_tokens, row.output_tokens, row.cost_logged_usd, row.model_served) == (
        40,
        10,
        0.00035,
        "gpt-3.5-turbo",
    )
    assert one(usageDetails={}, usage={"input": 900, "unit": "CHARACTERS"}).input_tokens is None


def test_a_zero_is_no_cost_unless_a_cache_answered() -> None:
    assert one(totalCost=0, costDetails={}).cost_logged_usd is None
    assert one(totalCost=None, costDetails={"input": 0.001, "output": 0.002}).cost_logged_usd == pytest.approx(0.003)
    cached = one(totalCost=0, metadata={"cache_hit": "True"})
    assert (cached.cost_logged_usd, cached.cache_tier) == (0.0, "gateway")


@pytest.mark.parametrize(
    ("message", "sort"),
    [
        ("429 rate limit", "provider_rate_limited"),
        ("Error code: 401 - {'error': 'bad key'}", "provider_authentication"),
        ("TimeoutError: too late", "provider_timeout"),
        ("something odd", "provider_unknown"),
    ],
)
def test_an_error_is_a_failure_with_a_kind_and_without_a_duration_that_none_measured(message: str, sort: str) -> None:
    row = one(level="ERROR", statusMessage=message, endTime=CALL["startTime"], usageDetails={}, totalCost=0)
    assert (row.status, row.error_type, row.error_message) == ("failure", sort, message)
    assert {row.latency_ms, row.ttft_ms, row.input_tokens, row.cost_logged_usd, row.model_served} == {None}
    assert one(level="ERROR", metadata={"attributes": '{"error.type": "timeout"}'}).error_type == "provider_timeout"


def test_seconds_become_milliseconds_where_the_moments_are_missing() -> None:
    row = one(endTime=None, completionStartTime=None, latency=1.5, timeToFirstToken=0.125)
    assert (row.latency_ms, row.ttft_ms) == (1500.0, 125.0)
    # Without a stream some integrations put the end here.
    assert one(completionStartTime=CALL["endTime"]).ttft_ms is None


def test_what_has_not_ended_waits_and_is_unknown_when_it_is_old() -> None:
    open_call = {**CALL, "endTime": None, "output": None, "usageDetails": {}}
    (event,) = read(lines(open_call), at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC))
    assert isinstance(event, Waiting)
    assert one(endTime=None, output=None, usageDetails={}).status == "unknown"


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"type": "SPAN"}, "an observation of type SPAN"),
        ({"type": "EMBEDDING"}, "an observation of type EMBEDDING"),
        ({"environment": "langfuse-llm-as-a-judge"}, "a record of Langfuse's own judges"),
        ({"is_deleted": 1}, "a deleted record"),
    ],
)
def test_what_is_no_call_of_the_application_is_told_and_not_refused(known: dict[str, Any], reason: str) -> None:
    assert read(lines({**CALL, **known})) == [Skipped(1, reason, 1)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hello", "hello"),
        ('[{"role":"user","content":"hello"}]', "hello"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "hello"),
        ({"role": "user", "content": "hello"}, "hello"),
        ({"prompt": "hello"}, "hello"),
        ({"args": [1, 2]}, None),
        ([1, 2], None),
        (None, None),
    ],
)
def test_a_prompt_is_found_in_every_shape_and_may_be_absent(given: Any, said: str | None) -> None:
    row = one(input=given)
    assert (row.messages and row.messages[0]["content"]) == said


def snake(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as ClickHouse prints it: other names, other moments, numbers and maps as text."""
    known = {SNAKE[name]: value for name, value in record.items()}
    for name, value in known.items():
        if isinstance(value, str) and value.startswith("2026-"):
            known[name] = value.replace("T", " ").removesuffix("Z")
    if "usage_details" in known:
        known["usage_details"] = {name: str(value) for name, value in known["usage_details"].items()}
    return known


def test_both_spellings_are_the_same_record() -> None:
    assert read(lines(snake(CALL), snake(SCORE))) == read(lines(CALL, SCORE))


def as_csv(*records: Mapping[str, Any]) -> bytes:
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for record in records:
        cells = (record.get(name) for name in names)
        writer.writerow(["" if c is None else json.dumps(c) if isinstance(c, dict | list) else c for c in cells])
    return text.getvalue().encode()


def as_parquet(record: Mapping[str, Any]) -> bytes:
    known = snake(record)
    maps = pa.map_(pa.string(), pa.string())
    columns = {name: pa.array([value]) for name, value in known.items() if not isinstance(value, dict | list)}
    columns["total_cost"] = pa.array([Decimal("0.003")], pa.decimal128(18, 12))
    columns["usage_details"] = pa.array([list(known["usage_details"].items())], maps)
    columns["metadata"] = pa.array([[("team", "a")]], maps)
    columns["input"] = pa.array([json.dumps(known["input"])])
    columns["start_time"] = pa.array([datetime(2026, 3, 1, 9, tzinfo=UTC)])
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def test_every_container_holds_the_same_records() -> None:
    wanted = [event.interaction if isinstance(event, Row) else event.feedback for event in read(lines(CALL, SCORE))]  # type: ignore[union-attr]
    page = {"data": [CALL, SCORE], "meta": {"limit": 50}}
    for data in (json.dumps([CALL, SCORE]).encode(), json.dumps([CALL, SCORE], indent=1).encode(), lines(page)):
        events = read(data)
        assert [event.interaction if isinstance(event, Row) else event.feedback for event in events] == wanted  # type: ignore[union-attr]
    assert taken(read(lines(page))) == [1, 0]
    for data, want in ((as_csv(CALL), wanted[0]), (as_csv(SCORE), wanted[1]), (as_parquet(CALL), wanted[0])):
        (event,) = read(data)
        assert (event.interaction if isinstance(event, Row) else event.feedback) == want  # type: ignore[union-attr]


def test_a_trace_may_hold_its_observations_and_scores() -> None:
    call = {name: value for name, value in CALL.items() if name not in ("userId", "sessionId")}
    trace = {"id": "t1", "timestamp": CALL["startTime"], "userId": "u1", "sessionId": "s1", "input": "hi"}
    events = read(
        lines({**trace, "observations": [call], "scores": [SCORE]}, {**trace, "observations": ["o1"], "scores": []})
    )
    assert isinstance(events[0], Row)
    assert isinstance(events[1], Rating)
    assert (events[0].interaction.session_id, events[0].interaction.unit) == ("s1", "u1")
    assert events[2] == Skipped(2, "a trace", 1)
    assert taken(events) == [1, 0, 1]


def test_a_bad_record_of_a_page_takes_no_other_along() -> None:
    broken = {**CALL, "id": "o2", "endTime": "2026-03-01T08:00:00Z"}
    events = read(lines({"data": [CALL, broken, 5, {**SCORE, "value": "nan"}, {**CALL, "id": "o3"}]}, {"data": []}))
    assert [type(event) for event in events] == [Row, Refusal, Refusal, Refusal, Row, Skipped]
    refused = [event for event in events if isinstance(event, Refusal)]
    assert [(event.lines, event.of_call) for event in refused] == [(0, True), (0, False), (0, False)]
    assert "endTime" in refused[0].reason
    assert len({event.digest for event in refused}) == 3


@pytest.mark.parametrize(
    ("known", "value", "label"),
    [
        ({}, 1.0, None),
        ({"value": True}, 1.0, None),
        ({"value": 87.5, "dataType": "NUMERIC"}, 87.5, None),
        ({"value": "good", "dataType": "CATEGORICAL"}, None, "good"),
        ({"value": 0, "stringValue": "good", "dataType": "CATEGORICAL"}, None, "good"),
        ({"value": 2, "stringValue": "good", "dataType": "CATEGORICAL", "configId": "k"}, 2.0, "good"),
        ({"value": 0, "stringValue": "well put", "dataType": "TEXT"}, None, "well put"),
    ],
)
def test_a_score_keeps_its_raw_value_or_its_word(known: dict[str, Any], value: float | None, label: str | None) -> None:
    word = said(**known)
    assert (word.signal, word.value, word.label, word.source) == ("thumb", value, label, "API")


def test_a_score_was_received_when_it_was_last_changed_and_replaces_what_had_its_id() -> None:
    word = said(createdAt="2026-03-01T09:05:01Z", updatedAt="2026-03-02T08:00:00Z")
    assert word.at == datetime(2026, 3, 1, 9, 5, tzinfo=UTC)
    assert word.received_at == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert word.supersedes == "c1"
    assert said().received_at == said().at


def test_scores_that_speak_of_no_call_are_told() -> None:
    nobody = {**SCORE, "traceId": None, "observationId": None}
    events = read(
        lines({**nobody, "sessionId": "s1"}, {**nobody, "datasetRunId": "r"}, {**SCORE, "dataType": "CORRECTION"})
    )
    assert [event.reason for event in events if isinstance(event, Skipped)] == [
        "a score of a whole session", "a score of a run over a dataset", "a corrected answer",
    ]  # fmt: skip
    (event,) = read(lines(nobody))
    assert isinstance(event, Refusal)


def test_a_score_days_later_in_another_file_finds_the_call_that_carries_our_request_id() -> None:
    ours = {"request_id": "ask-1", "decision_id": "d1", "plan": "small", "propensity": 1.0}
    row = one(metadata={"beastmode": ours})
    assert row.request_id == "ask-1"
    word = said(timestamp="2026-03-09T09:00:00Z", value=0)
    assert word.event_id == event_id("langfuse", "shop", "o1") == row.event_id
    other = one(id="o2", metadata={})
    frames = interactions_table([row, other], NO_PRICES).to_pandas(), feedback_table([word]).to_pandas()
    got = table(*frames, NOW + timedelta(days=1))
    quality = dict(zip(got.request_ids.tolist(), got.quality[:, 0].tolist(), strict=True))
    assert quality["ask-1"] == 0.0
    # The other call of the trace was not spoken of.
    assert quality["o2"] != quality["o2"]
    # A score of the trace speaks of every call in it.
    assert (said(observationId=None).request_id, said(observationId=None).trace_id) == (None, "t1")
    assert said(metadata={"beastmode": {"request_id": "ask-1"}}).request_id == "ask-1"


def test_the_sample_reads_as_it_should() -> None:
    with SAMPLE.open("rb") as stream:
        events = list(formats.read("langfuse", stream, Source("shop", NOW)))
    known = requests(event.interaction for event in events if isinstance(event, Row))
    assert set(known) == {"ask-1", "obs-3", "obs-4", "obs-5"}
    assert known["ask-1"]["input_tokens"] == 17903
    assert attempts(known["obs-3"]) == [("primary", "failure"), ("fallback", "success")]
    assert known["obs-3"]["latency_ms"] == 2500.0
    thumbs = [event.feedback for event in events if isinstance(event, Rating) and event.feedback.signal == "user_thumb"]
    assert [word.value for word in thumbs] == [1.0, 0.0]


@pytest.mark.parametrize(
    "data",
    [
        lines(SCORE),
        lines({**SCORE, "metadata": {"request_id": "a"}}),
        lines(snake(SCORE)),
        as_csv(SCORE),
        as_csv(snake(CALL)),
        lines({"data": [SCORE], "meta": {}}),
        json.dumps([CALL], indent=1).encode(),
        lines({"id": "t1", "timestamp": CALL["startTime"], "observations": [CALL], "scores": []}),
    ],
)
def test_every_kind_of_export_is_recognised(data: bytes) -> None:
    assert formats.detect(data)[0] == "langfuse"
