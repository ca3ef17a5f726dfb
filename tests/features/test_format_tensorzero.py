"""TensorZero's tables: what joins what, which variant was drawn with what probability, and what cannot be told."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beastmode.interactions import Interaction
from features.formats import FORMATS, FormatError, detect, read
from features.formats.events import Event, Note, Rating, Refusal, Row, Skipped, Source, Waiting, event_id
from features.formats.tensorzero.experiments import Experiment, snapshot
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "tensorzero.jsonl"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
AT = datetime(2026, 4, 1, 10, 0, 0, 250_000, tzinfo=UTC)
COLUMNS = {"variants.answer": "mini=0.8|large=0.2"}
CONFIG: dict[str, Any] = {
    "functions": {
        "answer": {
            "variants": {"mini": {"model": "m"}, "large": {"model": "l"}, "spare": {"model": "s"}},
            "experimentation": {"type": "static", "candidate_variants": {"mini": 4, "large": 1},
                                "fallback_variants": ["spare"]},
        }
    }
}  # fmt: skip
SNAPSHOT = {"table": "ConfigSnapshot", "snapshot_hash": "77", "config": CONFIG}
EXPERIMENT = Experiment({"large": 1.0, "mini": 4.0}, ("spare",))


def v7(at: datetime, number: int) -> UUID:
    """Return an id as TensorZero makes it at a moment."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | number)


def episode(drawn: str, start: int = 0) -> str:
    """Return an episode in which the gateway draws a variant."""
    ids = (v7(AT, start + number) for number in range(10_000))
    return str(next(one for one in ids if EXPERIMENT.order("answer", one)[0] == drawn))


def chat(number: int, variant: str = "mini", drawn: str = "mini", **more: Any) -> dict[str, Any]:
    at = AT + timedelta(seconds=number)
    return {
        "id": str(v7(at, number)), "function_name": "answer", "variant_name": variant,
        "episode_id": episode(drawn, 1000 * number), "input": '{"messages":[{"role":"user","content":"hi"}]}',
        "output": "[]", "processing_time_ms": 400, "timestamp": f"{at:%Y-%m-%d %H:%M:%S}", "tags": {}, **more,
    }  # fmt: skip


def called(owner: Mapping[str, Any], number: int = 1, **more: Any) -> dict[str, Any]:
    at = AT + timedelta(seconds=number)
    return {
        "id": str(v7(at, 500 + number)), "inference_id": owner["id"], "model_name": "m", "model_provider_name": "p",
        "input_tokens": "12", "output_tokens": 3, "cost": "0.5", "response_time_ms": "380", "cached": False,
        "finish_reason": "stop", "timestamp": f"{at:%Y-%m-%d %H:%M:%S}", **more,
    }  # fmt: skip


def jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def events(rows: bytes | Iterable[Mapping[str, Any]], columns: Mapping[str, str] | None = None) -> list[Event]:
    data = rows if isinstance(rows, bytes) else jsonl(rows)
    found = read("tensorzero", io.BytesIO(data), Source("shop", NOW, columns or {}))
    return [event for event in found if not isinstance(event, Note)]


def interactions(found: Sequence[Event]) -> list[Interaction]:
    return [event.interaction for event in found if isinstance(event, Row)]


def only(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str] | None = None) -> Interaction:
    (row,) = interactions(events(rows, columns))
    return row


def sample() -> list[dict[str, Any]]:
    return [json.loads(line) for line in SAMPLE.read_text("utf-8").splitlines()]


# What joins what


def test_an_inference_and_its_model_call_are_one_interaction() -> None:
    owner = chat(1)
    (event,) = events([owner, called(owner)])
    assert isinstance(event, Row)
    assert (event.lines, event.joined) == (2, 1)
    row = event.interaction
    assert (row.request_id, row.at) == (owner["id"], AT + timedelta(seconds=1))
    assert (row.model_served, row.provider, row.input_tokens, row.output_tokens) == ("m", "p", 12, 3)
    assert (row.cost_logged_usd, row.latency_ms, row.attempts) == (0.5, 400.0, ())
    assert (row.trace_id, row.session_id) == (owner["episode_id"], owner["episode_id"])
    assert row.messages == ({"role": "user", "content": "hi"},)


def test_the_order_of_the_rows_and_the_names_of_the_tables_change_nothing() -> None:
    whole = {row.event_id: row for row in interactions(events(sample()))}
    assert len(whole) == 6
    for seed in range(5):
        shuffled = sample()
        Random(seed).shuffle(shuffled)
        unnamed = [{key: value for key, value in row.items() if key != "table"} for row in shuffled]
        for rows in (shuffled, unnamed):
            found = events(rows)
            assert {row.event_id: row for row in interactions(found)} == whole
            assert sum(event.lines for event in found if not isinstance(event, Note)) == len(rows)


@pytest.mark.parametrize(
    ("clickhouse", "postgres"),
    [
        ("ChatInference", "tensorzero.chat_inferences"), ("ModelInference", "tensorzero.model_inferences"),
        ("JsonInference", "json_inferences"), ("BooleanMetricFeedback", "tensorzero.boolean_metric_feedback"),
        ("FloatMetricFeedback", "float_metric_feedback"), ("CommentFeedback", "comment_feedback"),
        ("DemonstrationFeedback", "demonstration_feedback"), ("ConfigSnapshot", "tensorzero.config_snapshots"),
    ],
)  # fmt: skip
def test_both_databases_names_of_a_table_mean_the_same(clickhouse: str, postgres: str) -> None:
    def spelled(row: dict[str, Any]) -> dict[str, Any]:
        known = {**row, "table": postgres} if row["table"] == clickhouse else row
        return {"created_at" if key == "timestamp" else key: value for key, value in known.items()}

    assert events([spelled(row) for row in sample()]) == events(sample())


def test_native_files_one_table_each_make_the_same_events_as_the_merged_file_so_nothing_doubles() -> None:
    merged = {row.event_id: row for row in interactions(events(sample()))}
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in sample():
        tables.setdefault(row["table"], []).append({key: value for key, value in row.items() if key != "table"})
    alone = {name: events(rows) for name, rows in tables.items()}
    ids = {name: [row.event_id for row in interactions(found)] for name, found in alone.items()}
    assert set(ids["ChatInference"]) | set(ids["JsonInference"]) < set(merged)
    assert set(ids["ModelInference"]) == set(merged)
    assert [type(event) for name in ("ConfigSnapshot", "DemonstrationFeedback") for event in alone[name]] == [
        Skipped
    ] * 2
    for name, rows in tables.items():
        assert detect(jsonl(rows))[0] == "tensorzero", name


def test_a_table_alone_says_what_the_others_would_tell() -> None:
    owner = chat(1)
    told = list(read("tensorzero", io.BytesIO(jsonl([owner])), Source("shop", NOW)))
    assert Note("no ModelInference rows, which tell model, tokens and cost; put that table into the same file") in told
    told = list(read("tensorzero", io.BytesIO(jsonl([called(owner)])), Source("shop", NOW)))
    assert Note("1 inferences have ModelInference rows alone; put ChatInference and JsonInference beside") in told


def test_a_model_call_alone_is_an_interaction_by_itself_with_the_inferences_moment() -> None:
    owner = chat(1)
    said = {"system": "Be brief.", "input_messages": '[{"role":"user","content":[{"type":"text","text":"hi"}]}]'}
    row = only([called(owner, 2, variant_name="mini", function_name="answer", **said)])
    assert (row.request_id, row.at) == (owner["id"], AT + timedelta(seconds=1))
    assert (row.plan, row.model_served, row.latency_ms) == ("mini", "m", 380.0)
    assert row.messages == ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"})
    assert row.event_id == only([owner]).event_id


def test_several_answers_of_one_inference_are_consulted_together_and_cost_together() -> None:
    owner = chat(1)
    calls = [called(owner, 3, model_name="judge", output_tokens=1), called(owner, 1), called(owner, 2, model_name="n")]
    row = only([*calls, owner])
    assert [(call.candidate, call.role) for call in row.attempts] == [
        ("m", "primary"), ("n", "consult"), ("judge", "consult"),
    ]  # fmt: skip
    assert (row.input_tokens, row.output_tokens, row.cost_logged_usd) == (36, 7, 1.5)
    assert (row.model_served, row.provider) == (None, "p")
    unpriced = only([owner, calls[0], {**calls[1], "cost": None}])
    assert unpriced.cost_logged_usd is None


def test_an_empty_row_before_an_answer_is_a_failed_call_that_was_retried_or_fallen_back_from() -> None:
    owner = chat(1)
    empty = {"output_tokens": None, "finish_reason": None, "cost": None, "input_tokens": None}
    row = only([owner, called(owner, 1, **empty), called(owner, 2, **empty), called(owner, 3, model_name="n")])
    assert [(call.candidate, call.role, call.status) for call in row.attempts] == [
        ("m", "primary", "failure"), ("m", "retry", "failure"), ("n", "fallback", "success"),
    ]  # fmt: skip
    assert (row.model_served, row.input_tokens, row.cost_logged_usd) == ("n", 12, 0.5)


def test_a_row_that_is_there_twice_is_one_call() -> None:
    owner = chat(1)
    found = events([owner, called(owner), called(owner)])
    assert [event.lines for event in found if isinstance(event, Row)] == [3]
    assert interactions(found)[0].attempts == ()


def test_a_cached_answer_is_the_gateways_and_cached_tokens_are_among_the_input() -> None:
    owner = chat(1)
    row = only([owner, called(owner, cached="true", provider_cache_read_input_tokens=8)])
    assert (row.cache_tier, row.input_tokens, row.cache_read_tokens) == ("gateway", 12, 8)


def test_postgres_keeps_prompts_in_a_table_of_their_own() -> None:
    owner = chat(1)
    data = {"id": owner["id"], "input": owner.pop("input"), "output": [], "inference_params": {}, "created_at": "x"}
    (event,) = events([data, owner, called(owner)])
    assert isinstance(event, Row)
    assert (event.lines, event.interaction.messages) == (3, ({"role": "user", "content": "hi"},))
    assert events([data]) == [Skipped(1, "a prompt without its inference", 1)]


def test_an_absent_prompt_is_none() -> None:
    for value in ("", "{}", None, '{"messages":[]}'):
        row = only([chat(1, input=value)])
        assert (row.messages, row.prompt_sha256) == (None, None)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "value": "hi"}], "hi"), ([{"type": "raw_text", "value": "hi"}], "hi"),
        ([{"type": "template", "name": "user", "arguments": {"a": 1}}], '{"a": 1}'),
        ([{"type": "text", "arguments": {"a": 1}}], '{"a": 1}'), ({"a": 1}, '{"a": 1}'),
    ],
)  # fmt: skip
def test_blocks_of_every_age_become_text(content: object, text: str) -> None:
    row = only([chat(1, input={"system": {"tone": "kind"}, "messages": [{"role": "user", "content": content}]})])
    assert row.messages == ({"role": "system", "content": '{"tone": "kind"}'}, {"role": "user", "content": text})


def test_a_bad_row_costs_itself_alone() -> None:
    owner, other = chat(1), chat(2)
    found = events([owner, called(owner, input_tokens=-4), other, called(other, 2)])
    (refused,) = [event for event in found if isinstance(event, Refusal)]
    assert (refused.line, refused.lines) == (2, 1)
    assert refused.reason.startswith("input_tokens = -4: must be at least 0")
    assert [(row.request_id, row.input_tokens) for row in interactions(found)] == [
        (owner["id"], None),
        (other["id"], 12),
    ]
    found = events([{**owner, "processing_time_ms": -1}, called(owner)])
    assert [(type(event), event.lines) for event in found if not isinstance(event, Note)] == [(Refusal, 2)]


def test_a_torn_log_waits_for_what_may_be_in_its_missing_end() -> None:
    first, second = chat(1), chat(2)
    data = jsonl([first, called(first), second, called(second, 2)])
    found = events(data[:-9])
    assert [row.request_id for row in interactions(found)] == [first["id"]]
    assert [event.lines for event in found if isinstance(event, Waiting)] == [1, 1]
    found = events(jsonl([first, second, called(first), called(second, 2)])[:-9])
    assert [row.request_id for row in interactions(found)] == []


def test_a_parquet_export_reads_alike() -> None:
    owner = chat(1, tags=[("plan", "pro"), ("user_id", "9")])
    stream = io.BytesIO()
    kinds = {"tags": pa.map_(pa.string(), pa.string())}
    schema = pa.schema([(key, kinds.get(key) or pa.array([value]).type) for key, value in owner.items()])
    pq.write_table(pa.Table.from_pylist([owner], schema=schema), stream)
    (row,) = interactions(events(stream.getvalue()))
    assert (row.request_id, row.unit) == (owner["id"], "9")
    assert row.context == {"plan": "pro", "function_name": "answer"}


def test_a_csv_export_whose_cells_span_lines_is_accounted_for_line_by_line() -> None:
    owner = chat(1, input='{"messages":[{"role":"user","content":"one"}],\n"system":"two"}', tags='{"user_id":"9"}')
    call = called(owner, input_messages="[\n]", system="")
    columns = list(dict.fromkeys([*owner, *call]))
    stream = io.StringIO(newline="")
    table = csv.DictWriter(stream, columns)
    table.writeheader()
    table.writerow(owner)
    data = stream.getvalue().encode()
    (event,) = events(data)
    assert isinstance(event, Row)
    assert (event.lines, event.interaction.unit) == (2, "9")
    assert event.interaction.messages == ({"role": "system", "content": "two"}, {"role": "user", "content": "one"})
    alone = io.StringIO(newline="")
    table = csv.DictWriter(alone, list(call))
    table.writeheader()
    table.writerow(call)
    (event,) = events(alone.getvalue().encode())
    assert isinstance(event, Row)
    assert (event.lines, event.joined) == (2, 0)
    for native in (data, alone.getvalue().encode()):
        assert detect(native) == ("tensorzero", 0.96)


# Who was drawn


def test_the_draw_is_the_gateways_own() -> None:
    # By hand from the gateway's get_uniform_value and sample_weighted: sha256 of function and episode, names in order.
    one = UUID("0198c0de-7000-7abc-8def-0000000000e1")
    # sha256(b"answer" + one.bytes) begins with a2093cc2, and 0xa2093cc2 / 2**32 is .63295.
    assert Experiment({"large": 0.2, "mini": 0.8}).order("answer", one) == ("mini", "large")
    assert Experiment({"a": 0.632, "b": 0.368}).order("answer", one)[0] == "b"
    assert Experiment({"a": 0.634, "b": 0.366}).order("answer", one)[0] == "a"


def test_draws_have_the_frequencies_of_their_probabilities() -> None:
    found = Counter(EXPERIMENT.order("answer", v7(AT, number))[0] for number in range(20_000))
    assert found["spare"] == 0
    # Four standard errors of a share of .8 are .0113.
    assert abs(found["mini"] / 20_000 - EXPERIMENT.probabilities["mini"]) < 0.0113


@pytest.mark.parametrize(
    ("rows", "columns"), [([SNAPSHOT], {}), ([], COLUMNS), ([SNAPSHOT], {"variants.answer": "mini=1|large=1"})]
)
def test_the_propensity_of_a_static_experiment_is_reconstructed(
    rows: list[dict[str, Any]], columns: dict[str, str]
) -> None:
    owner = chat(1, snapshot_hash="77" if rows else None)
    row = only([*rows, owner], columns)
    assert (row.plan, row.candidates, row.probabilities) == ("mini", ("large", "mini"), {"large": 0.2, "mini": 0.8})
    assert (row.propensity, row.propensity_source, row.decision_id) == (0.8, "reconstructed", owner["id"])


def test_without_the_configuration_the_propensity_is_unknown() -> None:
    row = only([chat(1, snapshot_hash="78"), SNAPSHOT])
    assert (row.plan, row.propensity, row.propensity_source, row.candidates) == ("mini", None, "unknown", None)


def test_postgres_hashes_are_the_same_numbers_in_hexadecimal() -> None:
    row = only([chat(1, snapshot_hash="\\x4d"), {**SNAPSHOT, "snapshot_hash": None, "hash": "77"}])
    assert row.propensity == 0.8


def test_a_fallback_is_credited_to_what_was_drawn_where_the_configuration_in_force_is_known() -> None:
    owner = chat(1, variant="large", snapshot_hash="77")
    row = only([SNAPSHOT, owner, called(owner, model_name="l")])
    assert (row.plan, row.propensity, row.model_requested, row.model_served) == ("mini", 0.8, "large", "l")
    assert [(call.candidate, call.role, call.status) for call in row.attempts] == [
        ("mini", "primary", "failure"), ("large", "fallback", "success"),
    ]  # fmt: skip
    last = only([SNAPSHOT, chat(2, variant="spare", snapshot_hash="77")])
    assert [call.candidate for call in last.attempts] == ["mini", "large", "spare"]
    assert last.plan == "mini"


def test_a_served_variant_that_a_hand_given_configuration_did_not_draw_has_no_propensity() -> None:
    row = only([chat(1, variant="large")], COLUMNS)
    assert (row.plan, row.propensity, row.attempts) == ("large", None, ())


def test_an_episode_keeps_its_variant_so_only_its_first_inference_has_a_propensity() -> None:
    first = chat(1, snapshot_hash="77")
    later = chat(2, snapshot_hash="77", episode_id=first["episode_id"])
    found = {row.request_id: row for row in interactions(events([SNAPSHOT, later, first]))}
    assert found[first["id"]].propensity == 0.8
    assert (found[later["id"]].propensity, found[later["id"]].sticky_from) == (None, first["id"])
    # Another function draws for itself, by the same episode.
    other = {**later, "function_name": "other"}
    found = {
        row.request_id: row for row in interactions(events([other, first], {**COLUMNS, "variants.other": "mini=1"}))
    }
    assert (found[other["id"]].propensity, found[other["id"]].sticky_from) == (1.0, None)


def test_a_variant_that_the_caller_pinned_was_not_drawn_and_begins_no_episode() -> None:
    pinned = chat(1, snapshot_hash="77", tags={"tensorzero::variant_pinned": "mini"})
    later = chat(2, snapshot_hash="77", episode_id=pinned["episode_id"])
    found = {row.request_id: row for row in interactions(events([SNAPSHOT, pinned, later]))}
    assert (found[pinned["id"]].plan, found[pinned["id"]].propensity) == ("mini", None)
    assert (found[later["id"]].propensity, found[later["id"]].sticky_from) == (0.8, None)


def test_a_namespace_has_an_experiment_of_its_own() -> None:
    rules = {**CONFIG["functions"]["answer"]["experimentation"],
             "namespaces": {"mobile": {"type": "static", "candidate_variants": ["mini"]}}}  # fmt: skip
    config = {"functions": {"answer": {**CONFIG["functions"]["answer"], "experimentation": rules}}}
    rows = [chat(number, snapshot_hash="77", tags={"tensorzero::namespace": space})
            for number, space in enumerate(("mobile", "desktop"))]  # fmt: skip
    found = interactions(events([{**SNAPSHOT, "config": config}, *rows]))
    assert [row.propensity for row in found] == [1.0, 0.8]


@pytest.mark.parametrize(
    ("function", "probabilities"),
    [
        ({"variants": {"b": {}, "a": {}}}, {"a": 0.5, "b": 0.5}),
        ({"variants": {"a": {"weight": 3}, "b": {"weight": 1}, "c": {}, "d": {"weight": 0}}}, {"a": 0.75, "b": 0.25}),
        ({"variants": {"a": {}, "b": {}}, "experimentation": {"type": "uniform"}}, {"a": 0.5, "b": 0.5}),
        ({"variants": {"a": {}, "b": {}}, "experimentation": {"type": "uniform", "candidate_variants": ["a"]}},
         {"a": 1}),
        ({"variants": {"a": {}, "b": {}},
          "experimentation": {"type": "static_weights", "candidate_variants": {"a": 1, "b": 4}}}, {"a": 0.2, "b": 0.8}),
        ({"variants": {"a": {}}, "experimentation": {"type": "static", "candidate_variants": {},
                                                     "fallback_variants": ["a"]}}, {"a": 1}),
    ],
)  # fmt: skip
def test_every_static_experiment_has_its_probabilities(function: object, probabilities: dict[str, float]) -> None:
    (found,) = snapshot({"functions": {"f": function}})["f"].values()
    assert found is not None
    assert found.probabilities == probabilities


@pytest.mark.parametrize("kind", ["adaptive", "track_and_stop"])
def test_an_adaptive_experiment_changes_its_probabilities_so_they_are_unknown(kind: str) -> None:
    function = {"variants": {"mini": {}}, "experimentation": {"type": kind, "candidate_variants": ["mini"]}}
    row = only([{**SNAPSHOT, "config": {"functions": {"answer": function}}}, chat(1, snapshot_hash="77")], COLUMNS)
    assert (row.propensity, row.propensity_source) == (None, "unknown")


def test_a_configuration_may_be_toml_and_a_broken_one_is_refused_alone() -> None:
    toml = "[functions.answer.variants.mini]\nweight = 4\n[functions.answer.variants.large]\nweight = 1\n"
    owner = chat(1, snapshot_hash="77")
    assert only([{**SNAPSHOT, "config": toml}, owner]).propensity == 0.8
    found = events([{**SNAPSHOT, "config": "[functions"}, owner])
    assert [type(event) for event in found] == [Refusal, Row]


@pytest.mark.parametrize("said", ["mini", "mini=x", "mini=-1|large=2", "mini=0", "mini=nan", ""])
def test_weights_that_are_misspelt_in_the_columns_are_an_error(said: str) -> None:
    with pytest.raises(FormatError, match=r"columns: variants\.answer = "):
        events([chat(1)], {"variants.answer": said})


def test_our_own_decision_in_the_tags_goes_before_the_gateways() -> None:
    ours = {"request_id": "r1", "plan": "small", "candidates": ["small", "large"], "propensity": 0.25,
            "probabilities": {"small": 0.25, "large": 0.75}}  # fmt: skip
    owner = chat(1, tags={"beastmode": json.dumps(ours)})
    word = {
        "id": str(v7(NOW, 1)),
        "target_id": owner["id"],
        "metric_name": "ok",
        "value": True,
        "timestamp": "2026-05-01",
    }
    found = events([word, owner], COLUMNS)
    (row,) = interactions(found)
    assert (row.request_id, row.plan, row.propensity, row.propensity_source) == ("r1", "small", 0.25, "logged")
    (rating,) = [event for event in found if isinstance(event, Rating)]
    assert rating.feedback.request_id == "r1"


# What was said of the answers


def test_feedback_is_on_an_inference_or_an_episode_whichever_its_target_is() -> None:
    owner = chat(1)
    base = {"id": str(v7(AT, 9)), "timestamp": "2026-04-01 10:00:00", "tags": {}}
    of_inference = {**base, "target_id": owner["id"], "metric_name": "ok", "value": True}
    of_episode = {**base, "target_id": owner["episode_id"], "metric_name": "rating", "value": 4.5}
    elsewhere = {**base, "target_id": "0198c0de-7000-7abc-8def-000000000001", "metric_name": "ok", "value": "f"}
    comment = {**base, "target_id": owner["episode_id"], "target_type": "episode", "value": "x" * 300}
    found = events([owner, of_inference, of_episode, elsewhere, comment])
    first, second, third, fourth = [event.feedback for event in found if isinstance(event, Rating)]
    native = interactions(found)[0].event_id
    assert (first.request_id, first.event_id, first.trace_id, first.signal, first.value) == (
        owner["id"], native, None, "ok", 1.0,
    )  # fmt: skip
    assert (second.request_id, second.event_id, second.trace_id, second.value) == (None, None, owner["episode_id"], 4.5)
    target = str(elsewhere["target_id"])
    assert (third.request_id, third.trace_id, third.value) == (None, target, 0.0)
    assert third.event_id == event_id("tensorzero", "shop", target)
    assert (fourth.signal, fourth.value, fourth.trace_id) == ("comment", None, owner["episode_id"])
    assert fourth.label == "x" * 200
    assert first.at == AT


def test_a_demonstration_is_skipped_and_so_are_other_tables() -> None:
    base = {"id": str(v7(AT, 9)), "timestamp": "2026-04-01 10:00:00"}
    found = events([
        {**base, "inference_id": "i", "value": "[]"}, {**base, "table": "BatchRequest"},
        {**base, "function_name": "f", "variant_name": "v", "episode_id": "e", "dataset_name": "d"}, {"who": "knows"},
    ])  # fmt: skip
    assert [type(event) for event in found] == [Skipped, Skipped, Skipped, Refusal]


# Writing


def test_what_is_written_is_a_merged_file_of_two_tables_and_a_failure_has_no_model_call() -> None:
    log = synthetic(SyntheticSettings(prompts=60), WorldSettings(requests=60, failures=0.3), seed=3).interactions
    stream = io.BytesIO()
    assert FORMATS["tensorzero"].write is not None
    FORMATS["tensorzero"].write(stream, log)
    tables = Counter(json.loads(line)["table"] for line in stream.getvalue().splitlines())
    failed = sum(row.status == "failure" for row in log)
    assert failed > 5
    assert tables == {"ChatInference": len(log), "ModelInference": len(log) - failed}


@pytest.mark.parametrize("strip", [False, True])
def test_a_worlds_log_comes_back_as_it_was(strip: bool) -> None:
    settings = WorldSettings(requests=150, probe_share=0.1, failures=0.05, strip_decisions=strip)
    log = synthetic(SyntheticSettings(prompts=150), settings, seed=3).interactions
    stream = io.BytesIO()
    known = FORMATS["tensorzero"]
    assert known.write is not None
    known.write(stream, log)
    found = interactions(list(known.read(io.BytesIO(stream.getvalue()), Source("shop", NOW))))
    lost = {name: getattr(log[0], name) for name in known.cannot_carry}
    kept = [field.name for field in fields(Interaction) if field.name not in lost]
    for before, after in zip(log, found, strict=True):
        assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
