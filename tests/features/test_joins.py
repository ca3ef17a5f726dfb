"""The join of interactions and feedback into a table, and the cut in time."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from beastmode.interactions import Feedback, Interaction
from features.joins import table
from features.prices import PriceBook
from features.splits import by_time
from features.table import Table
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from features.worlds.world import World
from pipelines.columns import feedback_table, interactions_table

NO_PRICES = PriceBook(listed=False)

START = datetime(2026, 3, 1, tzinfo=UTC)


def call(request_id: str, minute: float = 0, **known: Any) -> Interaction:
    values: dict[str, Any] = {
        "event_id": f"e-{request_id}-{known.get('format', 'journal')}-{minute}", "request_id": request_id,
        "at": START + timedelta(minutes=minute), "plan": "small", "model_served": "small", "latency_ms": 100.0,
        "output_tokens": 10, "input_tokens": 20, "cost_usd": 0.001, "propensity": 0.5,
        "messages": ({"role": "user", "content": f"ask {request_id}"},), **known,
    }  # fmt: skip
    return Interaction(**values)


def word(request_id: str, value: float, hour: float, received: float | None = None) -> Feedback:
    at = START + timedelta(hours=hour)
    late = at if received is None else START + timedelta(hours=received)
    return Feedback(request_id=request_id, signal="score", value=value, at=at, received_at=late)


def frames(rows: list[Interaction], words: list[Feedback]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return interactions_table(rows, NO_PRICES).to_pandas(), feedback_table(words).to_pandas()


def joined(rows: list[Interaction], words: list[Feedback], hours: float = 100.0, **known: Any) -> Table:
    return table(*frames(rows, words), START + timedelta(hours=hours), **known)


def same(one: Table, other: Table) -> None:
    assert one.candidates == other.candidates
    assert one.texts == other.texts
    for name in ("request_ids", "at", "sessions", "served", "probed"):
        assert (getattr(one, name) == getattr(other, name)).all(), name
    for name in ("input_tokens", "quality", "cost_usd", "latency_ms", "output_tokens", "propensity"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_a_served_request_fills_one_cell() -> None:
    got = joined([call("a"), call("b", 1, plan="large")], [word("a", 0.5, 1)])
    assert got.candidates == ("large", "small")
    assert got.served.tolist() == [1, 0]
    assert got.quality[0, 1] == 0.5
    assert np.isnan(got.quality[0, 0])
    assert np.isnan(got.quality[1]).all()
    assert got.texts == ("ask a", "ask b")
    assert got.sessions.tolist() == ["a", "b"]


def test_calls_of_a_trace_are_one_observation_where_no_session_is_known() -> None:
    rows = [
        call("a", trace_id="t"),
        call("b", 1, trace_id="t"),
        call("c", 2, trace_id="t", session_id="s"),
        call("d", 3),
    ]
    assert joined(rows, []).sessions.tolist() == ["t", "t", "s", "d"]


def test_a_probe_from_before_a_candidate_came_stays_paired_evidence() -> None:
    rows, words = [], []
    for i, names in enumerate([("small", "large"), ("small", "large", "new"), ("small", "large")]):
        for name in names:
            key = f"{i}-{name}"
            rows.append(call(key, 10 * i, purpose="probe", parent_request_id=f"r{i}", plan=name, model_served=name))
            words.append(word(key, 1.0, 1))
    got = joined(rows, words, candidates=("large", "small", "new", "newer"))
    assert got.probed.tolist() == [True, True, False], "the last was not asked of all that there was"
    assert joined(rows, [*words[:1], *words[2:]]).probed.tolist() == [False, True, False], "an answer without a grade"


def test_probes_join_the_request_that_they_repeat() -> None:
    rows = [
        call("a"),
        call("p", 5, purpose="probe", parent_request_id="a", plan="large", latency_ms=300.0, propensity=1.0),
        call("b", 6),
    ]
    got = joined(rows, [word("a", 1.0, 1), word("p", 0.25, 1)])
    assert got.request_ids.tolist() == ["a", "b"]
    assert got.probed.tolist() == [True, False]
    assert got.quality[0].tolist() == [0.25, 1.0]
    assert got.latency_ms[0].tolist() == [300.0, 100.0]
    assert got.propensity.tolist() == [0.5, 0.5]


def test_a_request_that_was_only_probed_is_a_row_that_nobody_served() -> None:
    rows = [call(f"p{j}", j, purpose="probe", parent_request_id="gone", plan=f"m{j}") for j in range(3)]
    got = joined(rows, [word(f"p{j}", 1.0, 1) for j in range(3)])
    assert got.request_ids.tolist() == ["gone"]
    assert (got.served.tolist(), got.probed.tolist()) == ([-1], [True])
    assert np.isnan(got.propensity).all()


def test_the_journal_wins_over_the_gateway() -> None:
    rows = [call("a", 0, format="litellm", cost_usd=9.0, propensity=None), call("a", 0.001)]
    got = joined(rows, [])
    assert len(got) == 1
    assert got.cost_usd[0, 0] == 0.001
    assert got.propensity[0] == 0.5


def test_a_retry_that_succeeded_speaks_for_its_request() -> None:
    failed = call("a", 0, format="litellm", status="failure", cost_usd=None)
    got = joined([failed, call("a", 1, format="litellm", event_id="later")], [word("a", 1.0, 1)])
    assert (len(got), got.quality[0, 0]) == (1, 1.0)


def test_failures_have_neither_quality_nor_latency() -> None:
    got = joined([call("a", status="failure", latency_ms=3.0), call("b", 1)], [word("a", 1.0, 1), word("b", 1.0, 1)])
    assert np.isnan(got.quality[0, 0])
    assert np.isnan(got.latency_ms[0, 0])
    assert got.served.tolist() == [0, 0]
    assert got.quality[1, 0] == 1.0


def test_caches_and_prefills_are_no_candidates_outcome() -> None:
    got = joined([call("a"), call("b", 1, cache_tier="memory"), call("c", 2, purpose="warm")], [])
    assert got.request_ids.tolist() == ["a"]


def test_a_plan_is_credited_to_the_candidate_it_asks_first() -> None:
    got = joined([call("a", plan="small > large", model_served="large-2026")], [], candidates=("small", "large"))
    assert got.served.tolist() == [0]


def test_without_a_decision_the_model_that_answered_is_the_candidate() -> None:
    row = call("a", plan=None, model_requested="fast", model_served="vendor/small", propensity=None)
    assert joined([row], []).candidates == ("vendor/small",)
    assert joined([row], [], candidates=("fast", "smart")).served.tolist() == [0]
    with pytest.raises(ValueError, match=r"no interaction with a known candidate until .*other"):
        joined([row], [], candidates=("other",))


def test_the_latest_feedback_by_its_own_moment_counts_among_what_was_received() -> None:
    words = [word("a", 0.1, 5, received=50), word("a", 0.9, 2, received=90), word("a", 0.4, 1)]
    assert joined([call("a")], words, hours=100).quality[0, 0] == 0.1
    assert joined([call("a")], words, hours=40).quality[0, 0] == 0.4
    assert np.isnan(joined([call("a")], words, hours=0.5).quality[0, 0])


def test_a_missing_prompt_and_missing_tokens_stay_missing() -> None:
    got = joined([call("a", messages=None, input_tokens=None), call("b", 1, input_tokens=None, prompt_chars=40)], [])
    assert got.texts == ("", "ask b")
    assert np.isnan(got.input_tokens[0])
    assert got.input_tokens[1] == 10.0


def world(**known: Any) -> World:
    return synthetic(SyntheticSettings(prompts=150), WorldSettings(probe_share=0.2, repeats=0.1, **known), 3)


def test_nothing_that_happens_after_the_moment_changes_the_table() -> None:
    made = world()
    rows, words = list(made.interactions), list(made.feedback)
    as_of = rows[len(rows) // 2].at
    before = table(*frames(rows, words), as_of)
    shifted = timedelta(days=3)
    later_rows = [
        row if row.at <= as_of else Interaction(**{**_fields(row), "at": row.at + shifted, "cost_usd": 77.0})
        for row in rows
    ] + [call("new", 60 * 24 * 90)]
    later_words = [
        w
        if w.received_at <= as_of
        else Feedback(**{**_fields(w), "received_at": w.received_at + shifted, "value": 0.3})
        for w in words
    ] + [Feedback(request_id=rows[0].request_id, signal="late", value=0.123, at=rows[0].at,
                  received_at=as_of + timedelta(seconds=1))]  # fmt: skip
    same(before, table(*frames(later_rows, later_words), as_of))
    same(
        before, table(*frames([r for r in rows if r.at <= as_of], [w for w in words if w.received_at <= as_of]), as_of)
    )
    assert len(before) < len(table(*frames(rows, words), rows[-1].at))


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_the_order_of_the_lake_does_not_matter() -> None:
    made = world()
    interactions, feedback = frames(list(made.interactions), list(made.feedback))
    as_of = START
    one = table(interactions, feedback, as_of)
    other = table(interactions.sample(frac=1, random_state=1), feedback.sample(frac=1, random_state=2), as_of)
    same(one, other)
    assert (np.diff(one.at.astype("int64")) >= 0).all()


def test_the_joined_table_is_the_truth_where_it_was_observed() -> None:
    made = world(failures=0.1)
    got = table(*frames(list(made.interactions), list(made.feedback)), START, made.truth.candidates)
    truth = made.truth
    assert got.request_ids.tolist() == truth.request_ids.tolist()
    seen = ~np.isnan(got.quality)
    assert (got.quality[seen] == truth.quality[seen]).all()
    assert (got.served == truth.served).all()
    assert (got.propensity == truth.propensity).all()
    assert (got.probed == truth.probed).all()
    assert seen[truth.probed].all()
    lone = ~truth.probed
    assert (seen[lone].sum(axis=1) <= 1).all()
    assert 0.02 < (seen[lone].sum(axis=1) == 0).mean() < 0.25


def test_a_moment_needs_its_time_zone() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        table(*frames([call("a")], []), datetime(2026, 3, 2))  # noqa: DTZ001


def test_the_test_side_is_later_and_shares_no_prompt_with_training() -> None:
    made = world()
    got = table(*frames(list(made.interactions), list(made.feedback)), START)
    train, test = by_time(got, 0.3)
    rated, taught = (int(np.isfinite(each.quality).any(axis=1).sum()) for each in (got, train))
    assert taught == rated - round(rated * 0.3)
    assert train.at.max() <= test.at.min()
    assert not set(train.prompts.tolist()) & set(test.prompts.tolist())
    # The world repeats prompts, so the cut has something to drop.
    assert len(train) + len(test) < len(got)


def test_feedback_that_comes_weeks_late_leaves_something_to_judge_by() -> None:
    rows = [call(f"r{i}", i) for i in range(100)]
    train, test = by_time(joined(rows, [word(f"r{i}", 1.0, 1) for i in range(60)]), 0.3)
    assert (len(train), len(test)) == (42, 58)
    assert np.isfinite(test.quality).sum() == 18


def test_rows_without_text_are_nobodys_repeat() -> None:
    rows = [call(f"r{i}", i, messages=None) for i in range(10)]
    train, test = by_time(joined(rows, []), 0.3)
    assert (len(train), len(test)) == (7, 3)
    with pytest.raises(ValueError, match="has no two sides"):
        by_time(joined([call("a"), call("b", 1, messages=rows[0].messages)], []).take([0]), 0.5)
    with pytest.raises(ValueError, match="test_share = 1"):
        by_time(joined(rows, []), 1)


def test_only_the_text_that_is_routed_on_is_taken() -> None:
    said = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "hi"}]})
    assert joined([call("a", messages=said)], []).texts == ("hi",)
    assert json.loads(frames([call("a", messages=said)], [])[0]["messages"][0]) == [dict(m) for m in said]
