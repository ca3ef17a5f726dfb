"""What single formats promise beyond the contract of all formats."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from beastmode.errors import ERROR_TYPES
from beastmode.journal import Journal
from beastmode.records import Decision, Plan, Prediction, Request
from features.formats import FORMATS, FormatError, expect
from features.formats.columns import choose, guess_unit
from features.formats.events import Event, Note, Rating, Refusal, Row, Source, Waiting
from features.formats.litellm.errors import CARRIED, error_information, error_type
from features.formats.litellm.text import GAP, restored, truncated
from features.formats.values import moment

DATA = Path(__file__).resolve().parents[1] / "data"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOURCE = Source("shop", NOW)


def read(name: str, data: bytes | list[dict[str, Any]], source: Source = SOURCE) -> list[Event]:
    if isinstance(data, list):
        data = "".join(json.dumps(item) + "\n" for item in data).encode()
    return list(FORMATS[name].read(io.BytesIO(data), source))


def only(events: list[Event]) -> Event:
    (event,) = [event for event in events if not isinstance(event, Note)]
    return event


BEGIN = {
    "kind": "begin", "v": 1, "decision_id": "d1", "request_id": "r1", "at": "2026-03-02T09:00:00+00:00",
    "candidates": ["small", "large"], "plan": "small", "probabilities": {"small": 0.9, "large": 0.1},
    "propensity": 0.9,
}  # fmt: skip
END = {"kind": "end", "v": 1, "decision_id": "d1", "status": "success", "latency_ms": 800.0, "output_tokens": 5}
SPEND = {
    "request_id": "c1", "call_type": "acompletion", "spend": 0.001, "prompt_tokens": 10, "completion_tokens": 5,
    "startTime": "2026-03-02T09:00:00Z", "endTime": "2026-03-02T09:00:01Z", "model": "small", "status": "success",
    "cache_hit": "False", "metadata": "{}",
}  # fmt: skip
CALL = {"at": "2026-03-02T09:00:00Z", "request_id": "a1", "model": "small", "latency_ms": 500, "output_tokens": 3}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"at": "2027-01-01T00:00:00+00:00"}, "at = '2027-01-01T00:00:00.*lies after the reading"),
        ({"at": "1970-01-21T00:00:00+00:00"}, "lies before 2000; mind the unit"),
        ({"at": None}, "at = None: every interaction needs it"),
        ({"at": -5.0}, "at = -5.0: is no moment since 1970"),
        ({"at": "yesterday"}, "at = 'yesterday': expected a moment"),
        ({"propensity": 0.0}, r"propensity = 0.0: must lie in \(0, 1\]"),
        ({"propensity": 1.5}, r"propensity = 1.5: must lie in \(0, 1\]"),
        ({"propensity": 0.5}, r"propensity = 0.5: differs from probabilities\['small'\]"),
        ({"probabilities": {"small": 0.9, "large": 0.3}}, "probabilities = 1.2: must sum to 1"),
        ({"probabilities": {"small": 1.1, "large": -0.1}}, r"probabilities\[\w+\] = \S+: must be"),
        ({"plan": "huge"}, "plan = 'huge': was not among the candidates small, large"),
        ({"candidates": [1]}, "expected a list of names"),
        ({"purpose": "fun"}, "purpose = 'fun': expected one of serve, probe"),
        ({"messages": [1, 2]}, "expected chat messages"),
        ({"colour": "red"}, "colour = 'red': no interaction has such a field"),
        ({"latency_ms": -1}, "latency_ms = -1: must be at least 0"),
        ({"latency_ms": 1e15}, "latency_ms = 10+.0: is more than thirty days"),
        ({"latency_ms": "fast"}, "latency_ms = 'fast': expected a number"),
        ({"latency_ms": True}, "latency_ms = True: expected a number"),
        ({"output_tokens": -5}, "output_tokens = -5: must be"),
        ({"output_tokens": 1.5}, "output_tokens = 1.5: must be a whole number"),
        ({"output_tokens": 10**30}, r"output_tokens = (10+|1e\+30): too large"),
        ({"cost_usd": -0.1}, "cost_usd = -0.1: must be at least 0"),
        ({"ttft_ms": 9000.0}, "ttft_ms = 9000.0: comes after the end of the call"),
        ({"input_tokens": 5, "cache_read_tokens": 6}, "cache_read_tokens = 6: is more than input_tokens = 5"),
        ({"status": "maybe"}, "status = 'maybe': expected one of success"),
        ({"attempts": [{"role": "primary"}]}, "an attempt needs its candidate"),
    ],
)
def test_a_journal_row_that_cannot_be_true_is_refused_with_field_value_and_remedy(
    change: dict[str, Any], said: str
) -> None:
    begin = {**BEGIN, **{name: value for name, value in change.items() if name not in END}}
    end = {**END, **{name: value for name, value in change.items() if name in END or name.endswith("_tokens")}}
    if "cost_usd" in change or "ttft_ms" in change or "attempts" in change:
        end |= change
    event = only(read("journal", [begin, end]))
    assert isinstance(event, Refusal)
    assert event.lines == 2
    with pytest.raises(ValueError, match=said):
        raise ValueError(event.reason)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"not json", "not JSON at character 0"),
        (b"[1]", "a list where a JSON object is expected"),
        (b'{"kind":"begin","decision_id":"d","latency_ms":NaN}', "NaN is no JSON number"),
        (b'{"kind":"begin","decision_id":"d","tenant":"\xff"}', "byte 44 is not UTF-8"),
        (b'{"kind":"middle"}', "kind = 'middle': a journal line is a begin, an end or feedback"),
        (b'{"kind":"begin"}', "decision_id is missing"),
        (b'{"kind":"end","decision_id":"d"}', "ended without a begin in this file"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_the_reason(line: bytes, said: str) -> None:
    event = only(read("journal", line + b"\n"))
    assert isinstance(event, Refusal)
    assert said in event.reason


def test_a_call_that_never_ended_waits_for_an_hour_and_is_then_unknown() -> None:
    began = datetime.fromisoformat(str(BEGIN["at"]))
    young = only(read("journal", [BEGIN], Source("shop", began + timedelta(minutes=59))))
    assert isinstance(young, Waiting)
    old = only(read("journal", [BEGIN], Source("shop", began + timedelta(minutes=61))))
    assert isinstance(old, Row)
    assert (old.interaction.status, old.interaction.error_type) == ("unknown", "router_process_ended")
    assert "router_process_ended" in ERROR_TYPES


def test_a_lone_surrogate_does_not_reach_the_lake() -> None:
    line = json.dumps({**BEGIN, "messages": [{"role": "user", "content": "\ud800 hi"}]})
    event = only(read("journal", f"{line}\n{json.dumps(END)}\n".encode()))
    assert isinstance(event, Row)
    assert event.interaction.messages == ({"role": "user", "content": "? hi"},)


def spend(**changed: Any) -> Event:
    return only(read("litellm", [{**SPEND, **changed}]))


def test_litellm_zero_costs_are_unknown_unless_a_cache_answered() -> None:
    def cost(**changed: Any) -> float | None:
        event = spend(**changed)
        assert isinstance(event, Row)
        return event.interaction.cost_logged_usd

    assert cost() == 0.001
    assert cost(spend=0.0) is None
    assert cost(spend=0.0, metadata='{"cost_breakdown": {"total_cost": 0.002}}') == 0.002
    assert cost(spend=0.0, cache_hit="True") == 0.0
    assert cost(spend=0.0, status="failure") is None


def test_litellm_failures_have_no_latency_where_it_is_made_up() -> None:
    event = spend(status="failure", endTime=SPEND["startTime"], request_duration_ms=0, prompt_tokens=0)
    assert isinstance(event, Row)
    row = event.interaction
    assert (row.latency_ms, row.ttft_ms, row.input_tokens, row.model_served) == (None, None, None, None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"endTime": "2026-03-02T08:00:00Z"}, "endTime = .*lies before startTime"),
        ({"prompt_tokens": -1}, "prompt_tokens = -1"),
        ({"spend": -0.5}, "spend = -0.5"),
        ({"startTime": None}, "startTime = None"),
        ({"metadata": "{broken"}, "metadata = '{broken': expected a JSON object"),
        ({"metadata": {"beastmode": {"plan": "x", "propensity": 2}}}, "propensity = 2"),
        ({"call_type": "aembedding"}, "call_type = 'aembedding': answers no prompt"),
        ({"request_id": None}, "request_id = None"),
    ],
)
def test_a_litellm_row_that_cannot_be_true_is_refused(changed: dict[str, Any], said: str) -> None:
    event = spend(**changed)
    assert isinstance(event, Refusal)
    with pytest.raises(ValueError, match=said):
        raise ValueError(event.reason)


@pytest.mark.parametrize("place", ["metadata", "spend_logs_metadata", "requester_metadata", "proxy_server_request"])
def test_our_decision_is_found_wherever_litellm_puts_it(place: str) -> None:
    ours = {"beastmode": {"request_id": "r7", "plan": "small", "propensity": 0.4}}
    if place == "metadata":
        event = spend(metadata=json.dumps(ours))
    elif place == "proxy_server_request":
        event = spend(proxy_server_request={"metadata": ours})
    else:
        event = spend(metadata=json.dumps({place: ours}))
    assert isinstance(event, Row)
    row = event.interaction
    assert (row.request_id, row.plan, row.propensity, row.propensity_source) == ("r7", "small", 0.4, "logged")
    other = spend()
    assert isinstance(other, Row)
    assert (other.interaction.propensity_source, other.interaction.propensity) == ("unknown", None)


def test_litellm_truncation_is_written_as_litellm_does_and_recognised() -> None:
    text = "".join(chr(97 + i % 26) for i in range(5000))
    cut = truncated(text)
    # litellm 1.109.1, proxy/spend_tracking/spend_tracking_utils.py: 716 characters, a remark, 1331 characters.
    assert cut.startswith(
        text[:716] + "... (litellm_truncated skipped 2953 chars. Truncation is a DB storage safeguard."
    )
    assert cut.endswith(") ..." + text[-1331:])
    assert truncated("x" * 2048) == "x" * 2048
    (message,), skipped, gaps = restored([{"role": "user", "content": cut}])
    assert (message["content"], skipped, gaps) == (text[:716] + GAP + text[-1331:], 2953, 1)
    event = spend(proxy_server_request={"messages": truncated([{"role": "user", "content": text}])})
    assert isinstance(event, Row)
    assert event.truncated_chars == 2953
    assert event.interaction.prompt_chars == 5000
    assert event.interaction.prompt_sha256 is None


@pytest.mark.parametrize("said", [{}, "{}", None, "", []])
def test_a_litellm_row_without_a_prompt_is_a_row(said: Any) -> None:
    event = spend(messages=said)
    assert isinstance(event, Row)
    assert event.interaction.messages is None


@pytest.mark.parametrize("kind", sorted(CARRIED))
def test_error_types_survive_litellm_spelling(kind: str) -> None:
    known = error_information(kind, "it failed")
    assert kind in ERROR_TYPES
    assert error_type(known, known["error_message"]) == kind


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        ({"error_code": "429", "error_class": "RateLimitError"}, "provider_rate_limited"),
        ({"error_code": "401", "error_class": "AuthenticationError"}, "provider_authentication"),
        ({"error_code": "408", "error_class": "Timeout"}, "provider_timeout"),
        ({"error_code": "500", "error_class": "APIConnectionError"}, "provider_connection_lost"),
        ({"error_code": "503", "error_class": "ServiceUnavailableError"}, "provider_server_error"),
        ({}, "provider_unknown"),
    ],
)
def test_older_litellm_errors_are_known_by_class_and_code(known: dict[str, str], kind: str) -> None:
    assert error_type(known, "") == kind


def csv_and_array(rows: list[dict[str, Any]]) -> tuple[bytes, bytes]:
    flat = [{k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()} for row in rows]
    return pd.DataFrame(flat).to_csv(index=False).encode(), json.dumps(rows, indent=1).encode()


def test_a_csv_dump_and_a_json_array_of_spend_logs_are_the_same_rows() -> None:
    lines = (DATA / "litellm_spend_logs.jsonl").read_bytes()
    dump, array = csv_and_array([json.loads(line) for line in lines.splitlines()])
    expected = [event.interaction for event in read("litellm", lines) if isinstance(event, Row)]
    for data in (dump, array):
        assert FORMATS["litellm"].sniff(data) > 0.9
        assert [event.interaction for event in read("litellm", data) if isinstance(event, Row)] == expected


def test_a_broken_array_says_where_it_broke_and_a_cut_one_waits() -> None:
    array = json.dumps([SPEND, {**SPEND, "request_id": "c2"}]).encode()
    cut = read("litellm", array[:-30])
    assert [type(event) for event in cut] == [Row, Waiting]


@pytest.mark.parametrize(
    ("column", "values", "ms"),
    [
        ("latency", [0.5, 2.0, 1.0], 500.0), ("latency", [500, 2000, 1000], 500.0),
        ("latency", [5e5, 2e6, 1e6], 500.0), ("latency", [5e8, 2e9, 1e9], 500.0),
        ("duration_seconds", [500, 2000, 1000], 500_000.0), ("latencyMs", [0.5, 2, 1], 0.5),
    ],
)  # fmt: skip
def test_units_of_latency_are_told_or_guessed_and_reported(column: str, values: list[float], ms: float) -> None:
    rows = [{"timestamp": 1772359200 + i, "model": "m", column: value} for i, value in enumerate(values)]
    events = read("table", rows)
    first = next(event for event in events if isinstance(event, Row))
    assert first.interaction.latency_ms == pytest.approx(ms)
    guessed = [event.text for event in events if isinstance(event, Note) and "guessed" in event.text]
    assert bool(guessed) == (column == "latency")


def test_a_column_map_states_names_and_units() -> None:
    rows = [{"wann": "2026-03-01", "wer": "small", "dauer": 700, "frage": "hi?", "kosten": 12.5}]
    columns = {"at": "wann", "model": "wer", "latency_us": "dauer", "prompt": "frage", "cost_usd": "kosten"}
    event = only(read("table", rows, Source("shop", NOW, columns)))
    assert isinstance(event, Row)
    assert event.interaction.latency_ms == pytest.approx(0.7)
    assert event.interaction.cost_logged_usd == 12.5
    with pytest.raises(FormatError, match="'latenzy' is no column of ours; did you mean 'latency'"):
        read("table", rows, Source("shop", NOW, {"latenzy": "dauer"}))
    with pytest.raises(FormatError, match="the log has no such column; it has wann, wer"):
        read("table", rows, Source("shop", NOW, {"at": "when"}))


def test_an_absurd_cost_is_not_read_and_said() -> None:
    rows = [{"timestamp": 1772359200 + i, "model": "m", "price": 15.0} for i in range(3)]
    events = read("table", rows)
    assert all(event.interaction.cost_logged_usd is None for event in events if isinstance(event, Row))
    assert any("is no price of one request" in event.text for event in events if isinstance(event, Note))


def test_a_table_without_time_or_model_names_what_is_missing() -> None:
    with pytest.raises(FormatError, match="no column for 'at' among model"):
        read("table", [{"model": "m"}])
    with pytest.raises(FormatError, match=r"CSV header: .*; the first line must name the columns"):
        read("table", b"at,\rmodel\n2026-03-01,m\n")
    with pytest.raises(FormatError, match="no column for 'model_served' among timestamp"):
        read("table", [{"timestamp": 1772359200, "latency": 3}])


@pytest.mark.parametrize(
    ("known", "status", "kind"),
    [
        ({"status": 200}, "success", None), ({"status": "ok"}, "success", None), ({"success": True}, "success", None),
        ({"success": "False"}, "failure", "provider_unknown"), ({"status": 504}, "failure", "provider_timeout"),
        ({"error": "ReadTimeout"}, "failure", "provider_timeout"),
        ({"status": "timeout"}, "failure", "provider_timeout"),
        ({"status": "error", "error_code": 429}, "failure", "provider_rate_limited"),
        ({"status": "failure", "error_type": "provider_dns"}, "failure", "provider_dns"),
    ],
)  # fmt: skip
def test_statuses_of_any_spelling_become_ours(known: dict[str, Any], status: str, kind: str | None) -> None:
    event = only(read("table", [{**CALL, **known, "cost": 0}]))
    assert isinstance(event, Row)
    assert (event.interaction.status, event.interaction.error_type) == (status, kind)
    assert event.interaction.cost_logged_usd == (None if status == "failure" else 0.0)


def test_a_table_of_quality_rates_its_rows_and_an_impossible_quality_costs_the_rating_alone() -> None:
    rows = [{**CALL, "quality": 0.75}, {**CALL, "request_id": "a2", "quality": "inf"}, {**CALL, "request_id": "a3"}]
    events = [event for event in read("table", rows) if not isinstance(event, Note)]
    assert [type(event) for event in events] == [Row, Rating, Row, Refusal, Row]
    assert isinstance(events[1], Rating)
    assert events[1].feedback.at == datetime(2026, 3, 2, 9, 0, 0, 500_000, tzinfo=UTC)
    assert events[3] == Refusal(2, "quality = inf: must be finite; leave it out where it is unknown",
                                json.dumps(rows[1]), events[3].digest, 0,  # type: ignore[union-attr]
                                kind="quality: must be finite; leave it out where it is unknown")  # fmt: skip


def test_parquet_tables_are_read_and_broken_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "calls.parquet"
    pd.DataFrame([{**CALL, "at": pd.Timestamp("2026-03-02T09:00:00Z")}]).to_parquet(path)
    event = only(read("table", path.read_bytes()))
    assert isinstance(event, Row)
    assert event.interaction.at == datetime(2026, 3, 2, 9, tzinfo=UTC)
    with pytest.raises(FormatError, match=r"broken Parquet file.*cut off"):
        read("table", path.read_bytes()[:-20])
    pd.DataFrame([{"request_id": "a1", "value": True, "at": "2026-03-02"}]).to_parquet(path)
    rating = only(read("table", path.read_bytes()))
    assert isinstance(rating, Rating)
    assert rating.feedback.value == 1.0


def test_spend_logs_in_parquet_are_not_taken_for_any_table(tmp_path: Path) -> None:
    path = tmp_path / "spend.parquet"
    pd.DataFrame([SPEND]).to_parquet(path)
    with pytest.raises(FormatError, match="columns of LiteLLM's spend logs; set format = 'litellm'"):
        read("table", path.read_bytes())
    event = only(read("litellm", path.read_bytes()))
    assert isinstance(event, Row)
    assert event.interaction.latency_ms == 1000.0
    assert expect("litellm", path.read_bytes()) is FORMATS["litellm"]


def test_a_stray_quote_in_a_csv_costs_one_line() -> None:
    head = b"timestamp,request_id,model,prompt\n"
    data = head + b'2026-03-01,a1,m,"ok"\n2026-03-01,a2,m,"open\n2026-03-01,a3,m,ok\n2026-03-01,a4,m,"b\n\nc"\n'
    events = [event for event in read("table", data) if not isinstance(event, Note)]
    assert [type(event) for event in events] == [Row, Refusal, Row, Row]
    assert isinstance(events[3], Row)
    assert events[3].interaction.messages == ({"role": "user", "content": "b\n\nc"},)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": "nan"}, "value = nan"), ({"value": None}, "value = None"), ({"request_id": ""}, "request_id = None"),
        ({"at": None}, "at = None"), ({"received_at": "2026-03-01"}, "lies before the feedback"),
        ({"at": "2027-01-01"}, "lies after the reading"),
    ],
)  # fmt: skip
def test_feedback_that_cannot_be_true_is_refused(change: dict[str, Any], said: str) -> None:
    event = only(read("feedback", [{"request_id": "r1", "value": 1, "at": "2026-03-02", **change}]))
    assert isinstance(event, Refusal)
    assert said in event.reason


@pytest.mark.parametrize("value", [1772359200, 1772359200e3, 1772359200e6, 1772359200e9, "1772359200",
                                   "2026-03-01T10:00:00Z", "2026-03-01 10:00:00", "2026-03-01T11:00:00+01:00",
                                   "2026-03-01T10:00:00.000000000Z"])  # fmt: skip
def test_moments_of_any_unit_are_the_same_moment(value: object) -> None:
    assert moment("at", value) == datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_guesses_come_from_the_middle_of_the_values() -> None:
    assert guess_unit([0.001, 1.2, 900.0]) == "s"
    assert choose([{"latency": 1, "ts": 1}], {}).names["at"] == "ts"


def test_what_our_own_journal_writes_is_read(tmp_path: Path) -> None:
    request = Request.of("Größe?", session_id="s1", tenant="t1", context={"task": "geo"})
    decision = Decision(
        request=request, plan=Plan.single("small"), probabilities={"small": 0.75, "large": 0.25}, propensity=0.75,
        policy="epsilon", bundle_sha256="ab" * 32, predictions=(Prediction("small", 0.5, None, None, 0.4),),
        reason="drawn",
    )  # fmt: skip
    with Journal(tmp_path) as journal:
        with journal.attempt(decision) as attempt:
            attempt.tokens(input=12, output=3, cache_read=4)
            attempt.cost(0.002)
        failing = replace(decision, decision_id="d2", request=Request.of("again"))
        with pytest.raises(TimeoutError), journal.attempt(failing, purpose="probe", parent=request.request_id):
            raise TimeoutError("no byte within 30 s")
        journal.feedback(request.request_id, "thumb", 1.0, source="app")
    (path,) = tmp_path.glob("*.jsonl")
    assert FORMATS["journal"].sniff(path.read_bytes()) > 0.9
    events = read("journal", path.read_bytes(), Source("shop", datetime.now(UTC)))
    ok, probe, said = events
    assert isinstance(ok, Row)
    row = ok.interaction
    assert (row.request_id, row.plan, row.propensity, row.status) == (request.request_id, "small", 0.75, "success")
    assert (row.input_tokens, row.cache_read_tokens, row.output_tokens, row.cost_usd) == (12, 4, 3, 0.002)
    assert (row.messages, row.session_id, row.context) == (request.messages, "s1", {"task": "geo"})
    assert row.attempts[0].candidate == "small"
    assert isinstance(probe, Row)
    assert (probe.interaction.status, probe.interaction.error_type) == ("failure", "provider_timeout")
    assert (probe.interaction.purpose, probe.interaction.parent_request_id) == ("probe", request.request_id)
    assert isinstance(said, Rating)
    assert said.feedback.value == 1.0
