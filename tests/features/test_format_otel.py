"""What the reader of OpenTelemetry's spans promises beyond the contract of all formats."""

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from beastmode.interactions import Interaction
from features.formats import FORMATS, detect
from features.formats.events import Event, Note, Rating, Refusal, Row, Skipped, Source, event_id
from tests.features.requests import attempts, requests

DATA = Path(__file__).resolve().parents[1] / "data"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOURCE = Source("shop", NOW)
START = 1_772_355_600_000_000_000
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
CHAT: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "small"}
NEWEST = CHAT | {
    "gen_ai.provider.name": "openai", "gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 60,
    "gen_ai.usage.cache_read.input_tokens": 512, "gen_ai.usage.cache_write.input_tokens": 128,
    "gen_ai.usage.reasoning.output_tokens": 20, "gen_ai.conversation.id": "c1",
}  # fmt: skip


def value(known: Any) -> dict[str, Any]:
    match known:
        case bool():
            return {"boolValue": known}
        case int():
            return {"intValue": str(known)}
        case float():
            return {"doubleValue": known}
        case list():
            return {"arrayValue": {"values": [value(item) for item in known]}}
        case dict():
            return {"kvlistValue": {"values": pairs(known)}}
    return {"stringValue": known}


def pairs(known: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": value(item)} for name, item in known.items()]


def span(
    known: dict[str, Any], *, ms: float = 800, events: tuple[tuple[str, dict[str, Any]], ...] = (), **more: Any
) -> Any:
    return {
        "traceId": TRACE, "spanId": SPAN, "name": "chat", "kind": 3, "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + round(ms * 1e6)), "attributes": pairs(known), "status": {},
        "events": [
            {"timeUnixNano": str(START + 10**9), "name": name, "attributes": pairs(inner)} for name, inner in events
        ],
    } | more  # fmt: skip


def request(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {"name": "test"}, "spans": list(spans)}]}]}


def evaluated(known: dict[str, Any], **more: Any) -> dict[str, Any]:
    record = {"timeUnixNano": str(START + 10**9), "attributes": pairs(known), "traceId": TRACE, "spanId": SPAN} | more
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}


def read(*lines: Any) -> list[Event]:
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return list(FORMATS["otel"].read(io.BytesIO(data), SOURCE))


def only(*lines: Any) -> Interaction:
    (row,) = [event.interaction for event in read(*lines) if isinstance(event, Row)]
    return row


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gen_ai.system", "gen_ai.provider.name"),
        ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"),
        ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens"),
        ("gen_ai.usage.cached_tokens", "gen_ai.usage.cache_read.input_tokens"),
        ("gen_ai.usage.cached_input_tokens", "gen_ai.usage.cache_read.input_tokens"),
        ("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_read.input_tokens"),
        ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"),
        ("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_write.input_tokens"),
        ("gen_ai.usage.reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
        ("session.id", "gen_ai.conversation.id"),
        ("llm.request.type", "gen_ai.operation.name"),
    ],
)
def test_an_old_spelling_says_what_the_newest_says(old: str, new: str) -> None:
    renamed = {old if name == new else name: item for name, item in NEWEST.items()}
    assert old in renamed
    assert only(request(span(renamed))) == only(request(span(NEWEST)))
    stale = {old: 1 if isinstance(NEWEST[new], int) else "stale", **NEWEST}
    assert only(request(span(stale))) == only(request(span(NEWEST))), "the newest spelling wins"


def test_a_span_without_an_operation_is_a_call_if_it_names_a_model() -> None:
    bare = {name: item for name, item in NEWEST.items() if name != "gen_ai.operation.name"}
    assert only(request(span(bare))) == only(request(span(NEWEST)))


def test_ids_in_hex_and_in_base64_and_names_in_both_cases_are_one_identity() -> None:
    plain = span(NEWEST)
    coded = plain | {
        "traceId": base64.b64encode(bytes.fromhex(TRACE)).decode(),
        "spanId": base64.b64encode(bytes.fromhex(SPAN)).decode(),
        "kind": "SPAN_KIND_CLIENT",
    }
    snake = {"trace_id": TRACE.upper(), "span_id": SPAN, "start_time_unix_nano": START,
             "end_time_unix_nano": START + 800_000_000, "status": {"code": "STATUS_CODE_UNSET"}}  # fmt: skip
    names = {"stringValue": "string_value", "intValue": "int_value"}
    snake["attributes"] = [
        {"key": pair["key"], "value": {names[kind]: inner for kind, inner in pair["value"].items()}}
        for pair in plain["attributes"]
    ]
    other = {"resource_spans": [{"scope_spans": [{"spans": [snake]}]}]}
    row = only(request(plain))
    assert row.request_id == f"{TRACE}-{SPAN}"
    assert row.trace_id == TRACE
    assert only(request(coded)) == only(other) == row


SAID = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "2+2?"})
PARTS = [{"role": said["role"], "parts": [{"type": "text", "content": said["content"]}]} for said in SAID]
OPENAI = [dict(said) for said in SAID]


@pytest.mark.parametrize(
    ("known", "events"),
    [
        ({"gen_ai.input.messages": json.dumps(PARTS)}, ()),
        ({"gen_ai.input.messages": PARTS}, ()),
        ({"gen_ai.input.messages": PARTS[1:], "gen_ai.system_instructions": PARTS[0]["parts"]}, ()),
        ({"gen_ai.input.messages": json.dumps(PARTS[1:]),
          "gen_ai.system_instructions": json.dumps(PARTS[0]["parts"])}, ()),
        ({}, (("gen_ai.client.inference.operation.details", {"gen_ai.input.messages": PARTS}),)),
        ({}, (("gen_ai.system.message", {"content": "Be kind."}), ("gen_ai.user.message", {"content": "2+2?"}),
              ("gen_ai.choice", {"message": "4"}))),
        ({}, (("gen_ai.system.message", {"gen_ai.event.content": json.dumps(OPENAI[0])}),
              ("gen_ai.user.message", {"gen_ai.event.content": json.dumps(OPENAI[1])}))),
        ({}, (("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps(OPENAI)}),)),
        ({"gen_ai.prompt": json.dumps(OPENAI)}, ()),
        ({"gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be kind.", "gen_ai.prompt.1.role": "user",
          "gen_ai.prompt.1.content": "2+2?", "gen_ai.completion.0.content": "4"}, ()),
    ],
)  # fmt: skip
def test_a_prompt_is_found_wherever_its_emitter_put_it(known: dict[str, Any], events: Any) -> None:
    assert only(request(span(CHAT | known, events=events))).messages == SAID


def test_parts_that_are_no_text_stay_beside_the_text() -> None:
    call = {"type": "tool_call", "id": "t1", "name": "add", "arguments": {"a": 2}}
    parts = [{"type": "text", "content": "one"}, call, {"type": "text", "content": "two"}]
    row = only(request(span(CHAT | {"gen_ai.input.messages": json.dumps([{"role": "user", "parts": parts}])})))
    assert row.messages == (
        {"role": "user", "content": [{"type": "text", "text": "one"}, call, {"type": "text", "text": "two"}]},
    )
    assert row.prompt_chars == len("one\ntwo")


def test_a_prompt_cut_by_an_attribute_limit_is_none_and_words_in_brackets_are_one() -> None:
    cut = json.dumps(PARTS)[:40]
    assert only(request(span(CHAT | {"gen_ai.input.messages": cut}))).messages is None
    row = only(request(span(CHAT | {"gen_ai.prompt": "[INST] 2+2? [/INST]"})))
    assert row.messages == ({"role": "user", "content": "[INST] 2+2? [/INST]"},)


@pytest.mark.parametrize(
    ("status", "known", "events", "expected"),
    [
        ({}, {}, (), ("success", None)),
        ({"code": 1}, {}, (), ("success", None)),
        ({"code": "STATUS_CODE_OK"}, {}, (), ("success", None)),
        ({"code": 2, "message": "Request timed out"}, {"error.type": "timeout"}, (), ("failure", "provider_timeout")),
        ({"code": "STATUS_CODE_ERROR"}, {"error.type": "429"}, (), ("failure", "provider_rate_limited")),
        ({}, {"error.type": "openai.AuthenticationError"}, (), ("failure", "provider_authentication")),
        ({"code": 2}, {"error.type": "_OTHER", "http.response.status_code": 503}, (),
         ("failure", "provider_server_error")),
        ({"code": 2}, {}, (("exception", {"exception.type": "TimeoutError"}),), ("failure", "provider_timeout")),
        ({"code": 2}, {"error.type": "_OTHER"}, (("exception", {"exception.type": "openai.RateLimitError"}),),
         ("failure", "provider_rate_limited")),
        ({"code": 2, "message": "overloaded"}, {}, (), ("failure", "provider_unknown")),
        ({"code": 2}, {"error.type": "asyncio.exceptions.CancelledError"}, (), ("cancelled", "caller_cancelled")),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_status_error_type_and_exception(
    status: Any, known: dict[str, Any], events: Any, expected: tuple[str, str | None]
) -> None:
    row = only(request(span(CHAT | known, events=events, status=status)))
    assert (row.status, row.error_type) == expected
    assert row.model_served == ("small" if row.status == "success" else None)


def test_a_failure_that_took_no_time_has_no_latency() -> None:
    row = only(request(span(CHAT | {"error.type": "500"}, ms=0)))
    assert row.latency_ms is None
    assert only(request(span(CHAT, ms=812.25))).latency_ms == 812.25
    assert only(request(span(CHAT | {"gen_ai.response.time_to_first_chunk": 0.25}))).ttft_ms == 250


@pytest.mark.parametrize(
    ("into", "read_", "write", "total", "expected"),
    [
        (900, 512, 128, None, 900),
        (900, 512, 128, 960, 900),
        (12, 2048, 0, None, 2060),
        (600, 512, 128, None, 1240),
        (900, 512, 128, 900 + 512 + 128 + 60, 1540),
    ],
)
def test_input_tokens_include_cached_ones_also_where_the_emitter_left_them_out(
    into: int, read_: int, write: int, total: int | None, expected: int
) -> None:
    known = CHAT | {
        "gen_ai.provider.name": "anthropic", "gen_ai.usage.input_tokens": into, "gen_ai.usage.output_tokens": 60,
        "gen_ai.usage.cache_read.input_tokens": read_, "gen_ai.usage.cache_write.input_tokens": write,
    }  # fmt: skip
    if total is not None:
        known["llm.usage.total_tokens"] = total
    events = read(request(span(known)), request(span(known, spanId="1" * 16)))
    rows = [event.interaction for event in events if isinstance(event, Row)]
    assert [row.input_tokens for row in rows] == [expected, expected]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert len(notes) == (expected != into)
    assert all("'anthropic' leave out what its cache held" in note for note in notes)


def test_spans_that_answer_no_prompt_are_skipped_and_an_agent_does_not_count_its_calls_again() -> None:
    agent = span(NEWEST | {"gen_ai.operation.name": "invoke_agent"}, spanId="1" * 16)
    tool = span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}, spanId="2" * 16)
    web = span({"http.route": "/chat"}, spanId="3" * 16)
    events = read(request(agent, span(NEWEST), tool, web))
    assert [type(event) for event in events] == [Row, Skipped, Skipped, Skipped]
    assert [event.lines for event in events if not isinstance(event, Note)] == [1, 0, 0, 0]
    reasons = [event.reason for event in events if isinstance(event, Skipped)]
    assert [reason.rpartition(": ")[2] for reason in reasons] == ["invoke_agent", "execute_tool", "it names no model"]


def test_a_broken_span_does_not_take_its_neighbours_along() -> None:
    late = span(CHAT, endTimeUnixNano=str(START - 1), spanId="1" * 16)
    nameless = span(CHAT, spanId="xyz")
    negative = span(CHAT | {"gen_ai.usage.input_tokens": -1}, spanId="2" * 16)
    events = read(request(late, nameless, 7, span(NEWEST), negative))
    assert [type(event) for event in events] == [Row] + [Refusal] * 4
    assert [event.lines for event in events if not isinstance(event, Note)] == [1, 0, 0, 0, 0]
    refusals = [event for event in events if isinstance(event, Refusal)]
    assert all(event.of_call for event in refusals)
    assert len({event.digest for event in refusals}) == 4
    said = " | ".join(event.reason for event in refusals)
    for words in ("lies before startTimeUnixNano", "an id of 8 bytes, in hex or in base64", "span = 7", "at least 0"):
        assert words in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"name": "chat"}, "a record of OTLP/JSON is an export request"),
        (request(span(CHAT, attributes="x")), "expected objects with a key and a value"),
        (request(span(CHAT, startTimeUnixNano="soon")), "expected nanoseconds since 1970"),
        (request(span(CHAT, startTimeUnixNano="0", endTimeUnixNano="0")), "at = None: every interaction needs it"),
        (request(span(CHAT | {"beastmode": "{"})), "metadata.beastmode"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(line: Any, said: str) -> None:
    (event,) = read(line)
    assert isinstance(event, Refusal)
    assert said in event.reason
    assert event.lines == 1


def test_values_nested_without_end_are_refused() -> None:
    deep: dict[str, Any] = {"stringValue": "x"}
    for _ in range(200):
        deep = {"arrayValue": {"values": [deep]}}
    (event,) = read(request(span({}, attributes=[{"key": "gen_ai.request.model", "value": deep}])))
    assert isinstance(event, Refusal)
    assert "nested deeper" in event.reason


SCORE: dict[str, Any] = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 4.0,
         "gen_ai.evaluation.score.label": "relevant"}  # fmt: skip
IDENTITY = event_id("otel", "shop", f"{TRACE}:{SPAN}")


def ratings(*lines: Any) -> list[Any]:
    return [event.feedback for event in read(*lines) if isinstance(event, Rating)]


def test_an_evaluation_speaks_of_the_call_whose_span_it_is_in() -> None:
    ours = json.dumps({"request_id": "r1", "plan": "small"})
    line = request(span(CHAT | {"beastmode": ours}, events=(("gen_ai.evaluation.result", SCORE),)))
    (said,) = ratings(line)
    assert (said.request_id, said.event_id, said.trace_id) == ("r1", IDENTITY, TRACE)
    assert (said.signal, said.value, said.label) == ("relevance", 4.0, "relevant")
    assert said.at == datetime.fromtimestamp(START / 1e9, UTC) + timedelta(seconds=1)
    assert only(line).event_id == IDENTITY


def test_an_evaluation_of_an_agent_speaks_of_its_whole_trace() -> None:
    agent = span({"gen_ai.operation.name": "invoke_agent"}, events=(("gen_ai.evaluation.result", SCORE),))
    (said,) = ratings(request(agent))
    assert (said.request_id, said.event_id, said.trace_id) == (None, None, TRACE)


def test_an_evaluation_as_a_log_record_names_its_span_its_trace_or_our_request() -> None:
    (said,) = ratings(evaluated(SCORE, observedTimeUnixNano=str(START + 3 * 10**9)))
    assert (said.request_id, said.event_id, said.trace_id) == (f"{TRACE}-{SPAN}", IDENTITY, TRACE)
    assert said.received_at - said.at == timedelta(seconds=2)
    (said,) = ratings(evaluated(SCORE, spanId=""))
    assert (said.request_id, said.event_id, said.trace_id) == (None, None, TRACE)
    (said,) = ratings(evaluated(SCORE | {"beastmode": '{"request_id": "r1"}'}, spanId="", traceId=""))
    assert (said.request_id, said.trace_id) == ("r1", None)
    (event,) = read(evaluated(SCORE, spanId="", traceId=""))
    assert isinstance(event, Refusal)
    assert "feedback joins by request id, or by trace id" in event.reason


def test_what_is_no_evaluation_or_has_no_score_is_skipped() -> None:
    for line in (
        evaluated({"event.name": "gen_ai.user.message"}),
        evaluated({"gen_ai.evaluation.name": "relevance", "error.type": "timeout"}),
        {"resourceMetrics": []},
        request(),
    ):
        (event,) = read(line)
        assert isinstance(event, Skipped)
        assert event.lines == 1


def test_one_request_in_a_file_in_lines_in_an_array_or_pretty_printed_is_the_same() -> None:
    lines = [json.loads(line) for line in (DATA / "otel.jsonl").read_bytes().splitlines()]

    def rows(data: bytes) -> list[Interaction]:
        assert detect(data)[0] == "otel"
        events = list(FORMATS["otel"].read(io.BytesIO(data), SOURCE))
        assert not [event for event in events if isinstance(event, Refusal)]
        return [event.interaction for event in events if isinstance(event, Row)]

    first = rows(json.dumps(lines[0]).encode())
    assert len(first) == 1
    assert rows(json.dumps(lines[0], indent=2).encode()) == first
    whole = rows("".join(json.dumps(line) + "\n" for line in lines).encode())
    assert rows(json.dumps(lines).encode()) == rows(json.dumps(lines, indent=1).encode()) == whole
    assert rows("".join(json.dumps(line, indent=2, ensure_ascii=False) + "\n" for line in lines).encode()) == whole


def test_a_timed_out_call_and_its_retry_become_one_request() -> None:
    with (DATA / "otel.jsonl").open("rb") as stream:
        rows = [event.interaction for event in FORMATS["otel"].read(stream, SOURCE) if isinstance(event, Row)]
    (row,) = [record for record in requests(rows).values() if len(record["attempts"])]
    assert attempts(row) == [("primary", "failure"), ("retry", "success")]
    assert row["latency_ms"] == 62_000


def test_spans_of_the_real_sdk_are_read_with_the_ids_that_protobuf_prints() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("invoke_agent shop", start_time=START) as agent:
        agent.set_attribute("gen_ai.operation.name", "invoke_agent")
        call = tracer.start_span("chat small", start_time=START, attributes=NEWEST)
        call.set_attribute("gen_ai.input.messages", json.dumps(PARTS))
        call.set_attribute("gen_ai.response.finish_reasons", ["stop"])
        call.add_event("gen_ai.evaluation.result", SCORE, timestamp=START + 10**9)
        call.end(START + 800_000_000)
        lost = tracer.start_span("chat small", start_time=START + 10**9, attributes=CHAT)
        lost.record_exception(TimeoutError("took too long"))
        lost.set_status(Status(StatusCode.ERROR))
        lost.end(START + 2 * 10**9)
    provider.shutdown()
    events = read(MessageToDict(exported(exporter.get_finished_spans())))
    rows = [event.interaction for event in events if isinstance(event, Row)]
    context = call.get_span_context()
    assert rows[0].request_id == f"{context.trace_id:032x}-{context.span_id:016x}"
    assert rows[0].messages == SAID
    assert (rows[0].input_tokens, rows[0].cache_read_tokens, rows[0].latency_ms) == (900, 512, 800)
    assert (rows[1].status, rows[1].error_type, rows[1].error_message) == (
        "failure", "provider_timeout", "took too long",
    )  # fmt: skip
    assert [event.feedback.value for event in events if isinstance(event, Rating)] == [4.0]
    assert [event.reason for event in events if isinstance(event, Skipped)] == [
        "a span that answers no prompt: invoke_agent"
    ]


def exported(spans: tuple[ReadableSpan, ...]) -> ExportTraceServiceRequest:
    """Return spans as the OTLP exporter would send them."""
    sent = ExportTraceServiceRequest()
    scope = sent.resource_spans.add().scope_spans.add()
    for known in spans:
        made = scope.spans.add(
            trace_id=known.context.trace_id.to_bytes(16, "big"),
            span_id=known.context.span_id.to_bytes(8, "big"),
            name=known.name,
            kind=3,
            start_time_unix_nano=known.start_time or 0,
            end_time_unix_nano=known.end_time or 0,
        )
        made.status.code = {"UNSET": 0, "OK": 1, "ERROR": 2}[known.status.status_code.name]
        _fill(made.attributes, dict(known.attributes or {}))
        for event in known.events:
            inner = made.events.add(name=event.name, time_unix_nano=event.timestamp)
            _fill(inner.attributes, dict(event.attributes or {}))
    return sent


def _fill(attributes: Any, known: dict[str, Any]) -> None:
    for name, item in known.items():
        pair = attributes.add(key=name)
        if isinstance(item, tuple | list):
            for part in item:
                pair.value.array_value.values.add(string_value=part)
        elif isinstance(item, float):
            pair.value.double_value = item
        elif isinstance(item, int):
            pair.value.int_value = item
        else:
            pair.value.string_value = item
