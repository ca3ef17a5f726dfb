"""Helicone's exports: what its statuses, tokens, zeros, bodies and scores mean."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastmode.interactions import Feedback, Interaction
from features import formats
from features.formats import FormatError, helicone
from features.formats.events import Event, Note, Rating, Refusal, Row, Skipped, Source, Waiting
from tests.features.requests import attempts, requests

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DATA = Path(__file__).resolve().parents[1] / "data"
CALL: dict[str, Any] = {
    "request_id": "r1", "request_created_at": "2026-03-01T09:00:00.000Z", "response_id": "p1",
    "response_created_at": "2026-03-01T09:00:00.900Z", "response_status": 200, "request_model": "gpt-4o",
    "response_model": "gpt-4o-2024-08-06", "provider": "OPENAI", "delay_ms": 900, "time_to_first_token": 310,
    "prompt_tokens": 120, "completion_tokens": 40, "request_user_id": "u9", "costUSD": 0.0007,
    "request_properties": {"app": "chat", "Helicone-Session-Id": "s1"},
    "request_body": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
}  # fmt: skip


def lines(*records: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(data: bytes, at: datetime = NOW) -> list[Event]:
    return list(helicone.read(io.BytesIO(data), Source("shop", at)))


def one(**known: Any) -> Interaction:
    (event,) = read(lines({**CALL, **known}))
    assert isinstance(event, Row), event
    return event.interaction


def words(**known: Any) -> list[Feedback]:
    row, *events = read(lines({**CALL, **known}))
    assert isinstance(row, Row)
    assert all(isinstance(event, Rating) and event.lines == 0 for event in events)
    return [event.feedback for event in events if isinstance(event, Rating)]


def test_a_row_is_a_call() -> None:
    row = one()
    assert (row.request_id, row.session_id, row.unit, row.context) == ("r1", "s1", "u9", {"app": "chat"})
    assert (row.model_requested, row.model_served, row.provider) == ("gpt-4o", "gpt-4o-2024-08-06", "openai")
    assert (row.latency_ms, row.ttft_ms, row.cost_logged_usd) == (900.0, 310.0, 0.0007)
    assert row.messages == ({"role": "user", "content": "hi"},)


@pytest.mark.parametrize("provider", ["ANTHROPIC", "OPENAI"])
def test_prompt_tokens_hold_none_that_were_cached_whoever_the_provider(provider: str) -> None:
    row = one(provider=provider, prompt_cache_read_tokens=100, prompt_cache_write_tokens=7)
    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens, row.output_tokens) == (227, 100, 7, 40)


def test_reasoning_belongs_to_the_output_whether_or_not_the_row_counts_it() -> None:
    assert (one(reasoning_tokens=60).output_tokens, one(reasoning_tokens=60).reasoning_tokens) == (100, 60)
    usage = {"completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 60}}
    for completion in (40, 100):
        row = one(completion_tokens=completion, response_body={"usage": usage})
        assert (row.output_tokens, row.reasoning_tokens) == (100, 60)
    assert one(response_body={"usage": {"completion_tokens": "?"}}).output_tokens == 40


@pytest.mark.parametrize(
    ("code", "status", "sort"),
    [
        (200, "success", None),
        ("201", "success", None),
        (429, "failure", "provider_rate_limited"),
        (500, "failure", "provider_server_error"),
        (-1, "failure", "provider_timeout"),
        (-3, "cancelled", "caller_cancelled"),
        (-4, "failure", "policy_content_filtered"),
        (-7, "failure", "provider_unknown"),
        (-2, "unknown", "router_process_ended"),
        (None, "unknown", "router_process_ended"),
    ],
)
def test_statuses_below_zero_are_helicones_own(code: object, status: str, sort: str | None) -> None:
    row = one(response_status=code)
    assert (row.status, row.error_type) == (status, sort)


def test_a_young_pending_request_waits() -> None:
    (event,) = read(lines({**CALL, "response_status": -2}), at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC))
    assert isinstance(event, Waiting)


def test_a_failure_says_what_the_provider_said_and_a_zero_is_no_duration() -> None:
    error = {"error": {"message": "You exceeded your quota", "type": "insufficient_quota"}}
    zeros = {"delay_ms": 0, "costUSD": 0, "prompt_tokens": 0, "completion_tokens": 0, "response_created_at": None}
    row = one(response_status=429, response_body=error, **zeros)
    assert (row.error_type, row.error_message) == ("provider_quota_exceeded", "You exceeded your quota")
    assert {row.latency_ms, row.ttft_ms, row.input_tokens, row.cost_logged_usd, row.model_served} == {None}
    long = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
    assert one(response_status=400, response_body=long).error_type == "caller_context_length"
    assert one(response_status=400, response_body={"error": "no"}).error_message == "no"


def test_a_zero_is_a_cost_only_where_helicones_cache_answered() -> None:
    assert one(costUSD=0.0).cost_logged_usd is None
    assert one(costUSD=0.0, cache_enabled=True).cache_tier is None
    hit = one(costUSD=0.0, cache_enabled=True, delay_ms=2, time_to_first_token=0)
    assert (hit.cost_logged_usd, hit.cache_tier) == (0.0, "gateway")
    named = one(
        costUSD=0, cache_reference_id="7d1f0e2a-1b7d-4c59-9a7e-0d7f7e2f1c11", prompt_tokens=0, completion_tokens=0
    )
    assert (named.cost_logged_usd, named.cache_tier, named.input_tokens) == (0.0, "gateway", None)


def test_clickhouse_columns_are_the_same_call() -> None:
    theirs = {
        "request_id": "r1", "request_created_at": "2026-03-01 09:00:00.000", "response_id": "p1", "status": "200",
        "response_created_at": "2026-03-01 09:00:00.900", "model": "gpt-4o", "provider": "OPENAI", "latency": "900",
        "time_to_first_token": "310", "prompt_tokens": "120", "completion_tokens": "40", "user_id": "u9",
        "cost": "700000", "properties": '{"app":"chat","Helicone-Session-Id":"s1"}', "request_body": "hi",
    }  # fmt: skip
    (event,) = read(lines(theirs))
    assert isinstance(event, Row)
    row, api = event.interaction, one(response_model=None)
    assert row.cost_logged_usd == pytest.approx(0.0007)
    assert (row.event_id, row.messages, row.latency_ms, row.session_id) == (
        api.event_id, api.messages, api.latency_ms, api.session_id,
    )  # fmt: skip
    (nobody,) = read(lines({**theirs, "user_id": "undefined"}))
    assert isinstance(nobody, Row)
    assert nobody.interaction.unit is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "c", "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}]}, ["Be brief.", "hi"]),
        ({"model": "g", "input": "hi", "instructions": "Be kind."}, ["Be kind.", "hi"]),
        ({"prompt": "hi"}, ["hi"]),
        ({"contents": [{"role": "user", "parts": [{"text": "h"}, {"text": "i"}]}]}, ["h\ni"]),
        ('{"messages":[{"role":"user","content":"hi"}]}', ["hi"]),
        ("hi", ["hi"]),
        ({"helicone_message": "fetching body from signed_url..."}, []),
        ('{"helicone_message": "fetching body', []),
        ({"messages": [1, 2]}, []),
        (None, []),
    ],
)
def test_a_prompt_is_found_in_every_providers_body_and_may_lie_elsewhere(body: Any, said: list[str]) -> None:
    assert [message["content"] for message in one(request_body=body).messages or ()] == said


def test_the_decision_travels_as_a_property_in_any_case_or_as_metadata() -> None:
    ours = {"request_id": "ask-1", "plan": "gpt-4o", "propensity": 0.25}
    for known in (
        {"request_properties": {"Beastmode": json.dumps(ours)}},
        {"request_body": {"messages": [], "metadata": {"beastmode": json.dumps(ours)}}},
    ):
        row = one(**known)
        assert (row.request_id, row.propensity, row.propensity_source) == ("ask-1", 0.25, "logged")
        assert row.context in (None, {"app": "chat"})


def test_each_score_is_a_word_of_its_own_with_its_raw_value() -> None:
    scores = {"quality": 87, "helpful-hcone-bool": 1, "tone": {"value": 3, "valueType": "number"}}
    said = words(feedback_rating=False, scores={**scores, "helicone-score-feedback": 0})
    assert [(word.signal, word.value) for word in said] == [
        ("thumb", 0.0), ("quality", 87.0), ("helpful", 1.0), ("tone", 3.0),
    ]  # fmt: skip
    assert {(word.request_id, word.event_id, word.source) for word in said} == {("r1", one().event_id, "helicone")}
    assert {word.at for word in said} == {datetime(2026, 3, 1, 9, 0, 0, 900_000, tzinfo=UTC)}
    (thumb,) = words(scores='{"helicone-score-feedback": 1}', updated_at="2026-03-02T00:00:00Z")
    assert (thumb.value, thumb.received_at) == (1.0, datetime(2026, 3, 2, tzinfo=UTC))


def test_an_impossible_score_costs_itself_alone() -> None:
    events = read(lines({**CALL, "scores": {"quality": [1], "tone": 2}}))
    assert [type(event) for event in events] == [Row, Refusal, Rating]
    assert isinstance(events[1], Refusal)
    assert (events[1].lines, events[1].of_call) == (0, False)


@pytest.mark.parametrize(
    "known",
    [
        {"request_path": "https://oai.helicone.ai/v1/embeddings"},
        {"request_body": {"_type": "vector_db", "operation": "search"}},
    ],
)
def test_what_is_no_call_of_a_chat_model_is_told(known: dict[str, Any]) -> None:
    assert read(lines({**CALL, **known})) == [Skipped(1, "a request that is no chat or completion", 1)]


def test_a_page_of_the_api_is_many_records_in_one_line() -> None:
    page = {"data": [CALL, {**CALL, "request_id": "r2", "request_created_at": None}, 7], "error": None}
    events = read(lines(page, {"data": [], "error": None}))
    assert [type(event) for event in events] == [Row, Refusal, Refusal, Skipped]
    assert [event.lines for event in events if not isinstance(event, Note)] == [1, 0, 0, 1]
    assert [event.of_call for event in events if isinstance(event, Refusal)] == [True, True]
    # The export tool's own array, with the comma that it leaves behind.
    array = b"[\n" + json.dumps(CALL, indent=2).encode() + b",\n]\n"
    assert [type(event) for event in read(array)] == [Row]


def test_the_tools_csv_is_read_although_it_doubles_quotes_twice() -> None:
    with (DATA / "helicone.csv").open("rb") as stream:
        events = list(formats.read("helicone", stream, Source("shop", NOW)))
    rows = {event.interaction.request_id: event.interaction for event in events if isinstance(event, Row)}
    assert set(rows) == {"p1", "p2", "p8"}
    assert rows["p1"].messages == ({"role": "user", "content": 'Say "hi",\nplease'},)
    assert (rows["p1"].session_id, rows["p1"].latency_ms, rows["p1"].model_served) == ("s-9", 900.0, "gpt-4o")
    assert rows["p2"].error_type == "provider_rate_limited"
    assert rows["p2"].messages is None


def test_a_row_without_any_id_is_known_by_its_content() -> None:
    nameless = {**CALL, "request_id": None, "response_id": ""}
    first, again, other = read(lines(nameless, nameless, {**nameless, "delay_ms": 901}))
    identities = [event.interaction.event_id for event in (first, again, other) if isinstance(event, Row)]
    assert identities[0] == identities[1] != identities[2]


def test_a_fallback_in_a_session_is_one_call_with_its_attempts() -> None:
    with (DATA / "helicone.jsonl").open("rb") as stream:
        events = list(formats.read("helicone", stream, Source("shop", NOW)))
    rows = {event.interaction.request_id: event.interaction for event in events if isinstance(event, Row)}
    assert attempts(requests(rows.values())["r2b"]) == [("primary", "failure"), ("fallback", "success")]
    assert rows["r3"].input_tokens == 220
    assert rows["r3"].messages is None
    assert rows["r3"].cost_logged_usd is None
    assert rows["ask-1"].output_tokens == 56


FRAGMENTS = [b'"', b'""', b",", b"\n", b"{", b"}", b"\\", b"-1", b"NaN", b"\xff", b"9" * 30, b"\x00", b"[]", b"true"]
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(FRAGMENTS) | st.binary(max_size=6)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(edits=EDITS)
def test_no_mutation_of_the_csv_crashes_and_no_line_gets_lost(edits: list[tuple[float, int, bytes]]) -> None:
    data = (DATA / "helicone.csv").read_bytes()
    header = data.index(b"\n") + 1
    for place, removed, added in edits:
        at = header + int(place * (len(data) - header))
        data = data[:at] + added + data[at + removed :]
    try:
        events = read(data)
    except FormatError:
        return
    body = sum(bool(line.strip()) for line in data[header:].split(b"\n"))
    assert sum(event.lines for event in events if not isinstance(event, Note)) == body


def as_csv(record: Mapping[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(record)
    cells = record.values()
    writer.writerow(["" if c is None else json.dumps(c) if isinstance(c, dict) else c for c in cells])
    return text.getvalue().encode()


def test_a_csv_with_all_columns_is_the_same_as_json() -> None:
    (event,) = read(as_csv(CALL))
    assert isinstance(event, Row)
    assert event.interaction == one()
