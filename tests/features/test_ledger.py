from datetime import UTC, datetime
from typing import Any

import pandas as pd

from beastmode.interactions import Attempt, Interaction
from features.ledger import NONE, entries, models, once, tasks
from features.prices import PriceBook
from pipelines.columns import interactions_table

AT = datetime(2026, 3, 1, 22, tzinfo=UTC)


def row(i: int, **known: Any) -> Interaction:
    return Interaction(**{"event_id": f"e{i}", "request_id": f"r{i}", "at": AT, **known})


def frame(rows: list[Interaction]) -> pd.DataFrame:
    return interactions_table(rows, PriceBook(listed=False)).to_pandas()


def test_rows_come_back_from_the_lake_as_they_went_in() -> None:
    calls = (Attempt("a", status="failure"), Attempt("b", "fallback", input_tokens=3, output_tokens=4))
    rows = [
        row(0, plan="a > b", attempts=calls, input_tokens=3, output_tokens=4),
        row(1, model_served="m", provider="p", cache_tier="memory", cost_logged_usd=0.5),
        row(2, attempts=calls[:1]),
    ]
    first, second, third = entries(frame(rows))
    assert (first.at, first.plan, first.input_tokens, first.cache_read_tokens) == (AT, "a > b", 3, None)
    assert first.at.tzinfo is UTC, "so that pricing converts nothing"
    assert first.attempts == calls
    assert (first.model, second.model, third.model) == ("a", "m", "unknown")
    assert (second.cache_tier, second.cost_logged_usd, second.attempts) == ("memory", 0.5, ())
    assert third.attempts == (), "one attempt says no more than its row"
    assert [entry.model for entry in entries(frame(rows))] == models(frame(rows)).tolist()


def test_strange_contexts_have_no_task() -> None:
    said = ["[1]", "not json", '{"task": ""}', '{"task": {"a": 1}}', '{"request_tags": "team"}', None]
    assert set(tasks(pd.Series(said, dtype=object))) == {NONE}


def test_a_call_that_journal_and_gateway_hold_is_counted_once() -> None:
    both = frame([row(0, format="journal"), row(0, event_id="g", format="litellm"), row(1, format="litellm")])
    assert once(both)["event_id"].tolist() == ["e0", "e1"]
