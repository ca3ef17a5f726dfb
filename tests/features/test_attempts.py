"""Retries and fallbacks become one request with its attempts; whatever is no retry stays by itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastmode.interactions import Attempt, Feedback, Interaction
from features.attempts import together
from features.joins import table
from features.prices import PriceBook
from pipelines.columns import feedback_table, interactions_table

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def call(name: str, second: float, *, failed: bool = False, **known: Any) -> Interaction:
    values: dict[str, Any] = {
        "event_id": f"e-{name}", "request_id": name, "at": START + timedelta(seconds=second), "format": "litellm",
        "trace_id": "t1", "prompt_sha256": "p1", "prompt_chars": 9, "model_requested": "small",
        "model_served": None if failed else "small-1", "status": "failure" if failed else "success",
        "error_type": "provider_timeout" if failed else None, "latency_ms": 2000.0, "cost_usd": 0.25, **known,
    }  # fmt: skip
    return Interaction(**values)


def frame(*rows: Interaction) -> pd.DataFrame:
    return interactions_table(rows, PriceBook(listed=False)).to_pandas()


def joined(*rows: Interaction) -> list[dict[str, Any]]:
    return together(frame(*rows)).to_dict("records")  # type: ignore[no-any-return]


def test_a_retry_and_a_fallback_become_attempts_of_one_request() -> None:
    (whole,) = joined(
        call("a", 0, failed=True), call("b", 3, failed=True), call("c", 6, model_requested="large", ttft_ms=500.0)
    )
    assert (whole["request_id"], whole["event_id"], whole["status"]) == ("c", "e-c", "success")
    assert pd.isna(whole["error_type"])
    assert [(a["role"], a["candidate"], a["status"], a["cost_usd"]) for a in whole["attempts"]] == [
        ("primary", "small", "failure", 0.25), ("retry", "small", "failure", 0.25),
        ("fallback", "large", "success", 0.25),
    ]  # fmt: skip
    assert whole["at"] == START
    assert (whole["latency_ms"], whole["ttft_ms"], whole["cost_usd"]) == (8000.0, 6500.0, 0.75)
    assert (whole["model_requested"], whole["model_served"]) == ("small", "small-1")


def test_what_was_drawn_keeps_the_credit_and_feedback_on_any_of_its_calls_counts() -> None:
    drawn = {"plan": "small", "propensity": 0.8, "decision_id": "d1", "candidates": ("small", "large")}
    rows = frame(call("a", 0, failed=True, **drawn), call("b", 3, model_requested="large", model_served="large"))
    word = Feedback(request_id="b", signal="score", value=0.5, at=START, received_at=START)
    got = table(rows, feedback_table([word]).to_pandas(), START + timedelta(days=1), ["small", "large"])
    assert got.request_ids.tolist() == ["a"]
    assert got.served.tolist() == [0]
    assert (got.quality[0, 0], got.propensity[0], got.cost_usd[0, 0]) == (0.5, 0.8, 0.5)


def test_a_request_that_was_never_answered_is_one_failure() -> None:
    (whole,) = joined(call("a", 0, failed=True), call("b", 3, failed=True, error_type="provider_rate_limited"))
    assert (whole["status"], whole["error_type"], len(whole["attempts"])) == ("failure", "provider_rate_limited", 2)


@pytest.mark.parametrize(
    ("why", "first", "second"),
    [
        ("the first succeeded", call("a", 0), call("b", 3)),
        ("another trace", call("a", 0, failed=True), call("b", 3, trace_id="t2")),
        ("another prompt of the session", call("a", 0, failed=True, trace_id=None, session_id="s"),
         call("b", 3, trace_id=None, session_id="s", prompt_sha256="p2")),
        ("no prompt and no trace", call("a", 0, failed=True, trace_id=None, session_id="s", prompt_sha256=None),
         call("b", 3, trace_id=None, session_id="s", prompt_sha256=None)),
        ("it began before the failure's end", call("a", 0, failed=True, latency_ms=9000.0), call("b", 3)),
        ("it came before the failure", call("a", 0.5, failed=True, latency_ms=None), call("b", 0)),
        ("it came too late", call("a", 0, failed=True), call("b", 3 + 15 * 60)),
        ("without a prompt it came too late", call("a", 0, failed=True, prompt_sha256=None),
         call("b", 90, prompt_sha256=None)),
        ("another decision", call("a", 0, failed=True, decision_id="d1"), call("b", 3, decision_id="d2")),
        ("a probe", call("a", 0, failed=True, purpose="probe"), call("b", 3, purpose="probe")),
        ("nothing in common", call("a", 0, failed=True, trace_id=None), call("b", 3, trace_id=None)),
        ("it has its attempts", call("a", 0, failed=True, attempts=(Attempt("small"),)), call("b", 3)),
    ],
)  # fmt: skip
def test_what_is_no_retry_stays_by_itself(why: str, first: Interaction, second: Interaction) -> None:
    assert sorted(row["request_id"] for row in joined(first, second)) == ["a", "b"], why


def test_two_calls_at_once_are_each_joined_to_their_own_retry() -> None:
    rows = joined(
        call("a", 0, failed=True), call("b", 0.5, failed=True, prompt_sha256="p2"), call("b2", 4, prompt_sha256="p2"),
        call("a2", 5),
    )  # fmt: skip
    assert [(row["request_id"], len(row["attempts"])) for row in rows] == [("a2", 2), ("b2", 2)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 2), st.integers(0, 2)), max_size=30))
def test_every_call_is_in_one_request_whichever_way_the_rows_stand(
    known: list[tuple[int, bool, int, int]],
) -> None:
    rows, second = [], 0.0
    for number, (gap, failed, trace, prompt) in enumerate(known):
        second += gap
        ours = {"trace_id": f"t{trace}", "prompt_sha256": f"p{prompt}"}
        rows.append(call(f"{number:02d}", second, failed=failed, **ours))
    if not rows:
        return
    told = [joined(*way) for way in (rows, rows[::-1])]
    for requests in told:
        assert sum(max(len(request["attempts"]), 1) for request in requests) == len(rows)
        assert sum(request["cost_usd"] for request in requests) == pytest.approx(0.25 * len(rows))
    first, second_ = ({r["request_id"]: len(r["attempts"]) for r in requests} for requests in told)
    assert first == second_
