"""OpenAI's requests and responses: what a line may look like, when it was, what failed, and both halves of a batch."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from openai.types.responses import ResponseUsage

from beastmode.errors import ERROR_TYPES
from beastmode.interactions import Interaction
from features.formats import FORMATS, read
from features.formats.events import Event, Note, Refusal, Row, Skipped, Source, Waiting
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from tests.features.requests import attempts, requests

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ASKED = {"model": "mini", "messages": [{"role": "user", "content": "2+2?"}]}
USAGE = {
    "prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 4},
}  # fmt: skip
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1764000000, "model": "mini-2026", "usage": USAGE,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}],
}  # fmt: skip
INPUT = {"custom_id": "q-1", "method": "POST", "url": "/v1/chat/completions", "body": ASKED}
OUTPUT = {
    "id": "batch_req_1", "custom_id": "q-1", "error": None,
    "response": {"status_code": 200, "request_id": "req_1", "body": ANSWER},
}  # fmt: skip


def events(*lines: Mapping[str, Any], start: datetime | None = None) -> list[Event]:
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    source = Source("shop", NOW) if start is None else Source("shop", NOW, start=start)
    return list(read("openai", io.BytesIO(data), source))


def rows(found: Sequence[Event]) -> list[Interaction]:
    return [event.interaction for event in found if isinstance(event, Row)]


def test_the_answers_here_have_the_shape_of_the_installed_client() -> None:
    answer = ChatCompletion.model_validate(ANSWER, strict=True)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 8
    assert {"prompt_tokens_details", "completion_tokens_details"} <= CompletionUsage.model_fields.keys()
    assert {"input_tokens_details", "output_tokens_details"} <= ResponseUsage.model_fields.keys()


def test_what_the_client_dumps_is_read() -> None:
    answer = ChatCompletion.model_validate(ANSWER).model_dump(mode="json")
    (row,) = rows(events({"request": ASKED, "response": answer, "latency_ms": 400}))
    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens) == (12, 8, 2)
    assert (row.output_tokens, row.reasoning_tokens) == (5, 4)
    assert (row.model_requested, row.model_served, row.request_id) == ("mini", "mini-2026", "chatcmpl-1")


def test_created_is_when_the_answer_was_made_so_the_call_began_earlier() -> None:
    (row,) = rows(events({"request": ASKED, "response": ANSWER, "latency_ms": 2500}))
    assert row.at == datetime(2025, 11, 24, 15, 59, 57, 500_000, tzinfo=UTC)
    (row,) = rows(events({"request": ASKED, "response": ANSWER, "latency_ms": 2500, "timestamp": 1764000000}))
    assert row.at == datetime(2025, 11, 24, 16, 0, tzinfo=UTC)


def test_a_failure_without_a_moment_takes_that_of_the_record_before_and_a_note_says_so_once() -> None:
    failed = {"request": ASKED, "response": None, "error": {"message": "no", "code": "invalid_api_key"}}
    found = events({"request": ASKED, "response": ANSWER}, failed, {**failed, "latency_ms": 3})
    assert [row.at for row in rows(found)] == [datetime(2025, 11, 24, 16, 0, tzinfo=UTC)] * 3
    assert [type(event) for event in found].count(Note) == 1
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert [row.at for row in rows(events(failed, start=start))] == [start]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ({"error": {"message": "m", "code": "invalid_api_key", "type": "invalid_request_error"}, "status_code": 401},
         "provider_authentication"),
        ({"error": {"message": "m", "code": None, "type": "invalid_request_error"}, "status_code": 403},
         "provider_permission"),
        ({"error": {"message": "m", "code": "unsupported_value", "type": "invalid_request_error"}, "status_code": 400},
         "caller_invalid_request"),
        ({"error": {"message": "m", "code": "context_length_exceeded"}, "status_code": 400}, "caller_context_length"),
        ({"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}, "status_code": 429},
         "provider_quota_exceeded"),
        ({"error": "openai.APITimeoutError"}, "provider_timeout"),
        ({"status_code": 503}, "provider_server_error"),
        ({}, "provider_unknown"),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_code_status_or_class(line: dict[str, Any], kind: str) -> None:
    (row,) = rows(events({"request": ASKED, "response": None, "timestamp": 1764000000, **line}))
    assert (row.status, row.error_type, row.model_served) == ("failure", kind, None)


@pytest.mark.parametrize("lines", [(INPUT, OUTPUT), (OUTPUT, INPUT)])
def test_both_halves_of_a_batch_join_in_either_order(lines: tuple[dict[str, Any], ...]) -> None:
    (event,) = events(*lines)
    assert isinstance(event, Row)
    assert (event.lines, event.joined) == (2, 1)
    row = event.interaction
    assert (row.request_id, row.trace_id, row.messages) == ("chatcmpl-1", "q-1", tuple(ASKED["messages"]))


def test_custom_ids_of_two_batches_in_one_log_join_in_turn() -> None:
    again = {**OUTPUT, "id": "batch_req_2", "response": {"status_code": 200, "body": {**ANSWER, "id": "chatcmpl-2"}}}
    other = {**INPUT, "body": {**ASKED, "messages": [{"role": "user", "content": "3+3?"}]}}
    first, second = rows(events(INPUT, OUTPUT, other, again))
    assert [row.messages and row.messages[0]["content"] for row in (first, second)] == ["2+2?", "3+3?"]
    assert first.event_id != second.event_id


def test_an_output_alone_has_no_prompt_and_an_input_alone_is_no_call() -> None:
    (row,) = rows(events(OUTPUT))
    assert (row.messages, row.model_requested, row.model_served) == (None, None, "mini-2026")
    (alone,) = events(INPUT)
    assert isinstance(alone, Skipped)
    assert "put the input and the output file into one" in alone.reason
    assert [type(event) for event in events(INPUT, OUTPUT, {**INPUT, "custom_id": "q-2"})].count(Waiting) == 1


@pytest.mark.parametrize(
    ("half", "status", "kind"),
    [
        ({"response": None, "error": {"code": "batch_expired", "message": "late"}}, "failure", "provider_timeout"),
        ({"response": None, "error": {"code": "batch_cancelled", "message": "off"}}, "cancelled", "caller_cancelled"),
        ({"response": {"status_code": 429, "body": {"error": {"message": "slow", "code": "rate_limit_exceeded"}}}},
         "failure", "provider_rate_limited"),
    ],
)  # fmt: skip
def test_a_request_of_a_batch_may_fail(half: dict[str, Any], status: str, kind: str) -> None:
    (row,) = rows(events(INPUT, {**OUTPUT, **half}))
    assert (row.status, row.error_type, row.request_id) == (status, kind, "batch_req_1")


def test_the_responses_api_is_read_too() -> None:
    answer = {
        "id": "resp_1", "object": "response", "created_at": 1764000000.0, "model": "big", "status": "completed",
        "usage": {"input_tokens": 36, "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 0},
                  "output_tokens": 87, "output_tokens_details": {"reasoning_tokens": 64}, "total_tokens": 123},
    }  # fmt: skip
    ResponseUsage.model_validate(answer["usage"])
    (row,) = rows(events({"request": {"model": "big", "instructions": "Be kind.", "input": "Hi"}, "response": answer}))
    assert row.messages == ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"})
    assert (row.input_tokens, row.cache_read_tokens, row.output_tokens, row.reasoning_tokens) == (36, 30, 87, 64)
    wrong = {**answer, "status": "failed", "error": {"code": "server_error", "message": "sorry"}, "usage": None}
    (row,) = rows(events({"request": {"input": "Hi"}, "response": wrong}))
    assert (row.status, row.error_type, row.error_message) == ("failure", "provider_server_error", "sorry")


@pytest.mark.parametrize("where", ["request", "response", "line"])
def test_a_decision_stands_in_metadata_as_text_since_openai_keeps_strings_alone(where: str) -> None:
    decision = {"request_id": "r9", "plan": "mini", "candidates": ["mini", "big"], "propensity": 0.25,
                "probabilities": {"mini": 0.25, "big": 0.75}}  # fmt: skip
    metadata = {"task": "sums", "beastmode": json.dumps(decision)}
    line: dict[str, Any] = {"request": dict(ASKED), "response": dict(ANSWER)}
    (line if where == "line" else line[where])["metadata"] = metadata
    (row,) = rows(events(line))
    assert (row.request_id, row.plan, row.propensity, row.propensity_source) == ("r9", "mini", 0.25, "logged")
    if where != "line":
        assert row.context == {"task": "sums"}


def test_what_answers_no_prompt_is_skipped_and_what_is_nothing_known_is_refused() -> None:
    vectors = {"object": "list", "data": [], "model": "embed", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    found = events(
        {"messages": ASKED["messages"]}, {"request": {"model": "embed", "input": "x"}, "response": vectors}, {"a": 1}
    )
    assert [type(event) for event in found] == [Skipped, Skipped, Refusal]
    assert isinstance(found[2], Refusal)
    assert found[2].reason == "no request, response, body or choices among a; this is no call of OpenAI's API"


def test_a_bad_line_leaves_its_neighbours_alone() -> None:
    bad = {"request": ASKED, "response": {**ANSWER, "usage": {"prompt_tokens": -1}}}
    found = events({"request": ASKED, "response": ANSWER}, bad, {"request": ASKED, "response": {**ANSWER, "id": "c2"}})
    assert sorted(type(event).__name__ for event in found) == ["Refusal", "Row", "Row"]
    refused = next(event for event in found if isinstance(event, Refusal))
    assert refused.reason.startswith("input_tokens = -1: must be at least 0")


def test_a_failed_call_and_its_retry_in_one_trace_become_one_request() -> None:
    failed = {"id": "a", "trace_id": "t", "request": ASKED, "response": None, "status_code": 500,
              "timestamp": 1763999998, "latency_ms": 900}  # fmt: skip
    found = events(failed, {"id": "b", "trace_id": "t", "request": ASKED, "response": ANSWER, "latency_ms": 500})
    (known,) = requests(event.interaction for event in found if isinstance(event, Row)).values()
    assert attempts(known) == [("primary", "failure"), ("retry", "success")]


@pytest.mark.parametrize("kind", sorted(ERROR_TYPES))
def test_every_failure_survives_being_written(kind: str) -> None:
    status = {"caller_cancelled": "cancelled", "router_process_ended": "unknown"}.get(kind, "failure")
    row = Interaction(event_id="", request_id="r", at=NOW, status=status, error_type=kind, error_message="it broke")
    stream = io.BytesIO()
    assert FORMATS["openai"].write is not None
    FORMATS["openai"].write(stream, [row])
    (back,) = rows(list(read("openai", io.BytesIO(stream.getvalue()), Source("shop", NOW))))
    assert (back.status, back.error_type, back.error_message) == (status, kind, "it broke")


@pytest.mark.parametrize("strip", [False, True])
def test_a_worlds_log_comes_back_as_it_was(strip: bool) -> None:
    settings = WorldSettings(requests=150, probe_share=0.1, failures=0.05, strip_decisions=strip)
    log = synthetic(SyntheticSettings(prompts=150), settings, seed=3).interactions
    stream = io.BytesIO()
    known = FORMATS["openai"]
    assert known.write is not None
    known.write(stream, log)
    found = list(known.read(io.BytesIO(stream.getvalue()), Source("shop", NOW)))
    lost = {name: getattr(log[0], name) for name in known.cannot_carry}
    kept = [field.name for field in fields(Interaction) if field.name not in lost]
    for before, after in zip(log, rows(found), strict=True):
        assert [getattr(replace(after, **lost), name) for name in kept] == [getattr(before, name) for name in kept]
