"""Keeping prefixes alive: who is due, and one real read on a real socket."""

# The fixture `provider` is imported, and every test that takes it would "redefine" it.
# ruff: noqa: F811

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from beastmode.candidates import Candidate, Price
from beastmode.journal import Journal
from pipelines.probe_calls import Caller
from pipelines.probe_purse import Purse
from pipelines.warm_keepalive import due, mark, read_prefixes, recalled
from pipelines.warm_ledger import Ledger
from pipelines.warm_settings import WarmSettings
from tests.pipelines.test_probe import INPUT, OUTPUT, provider  # noqa: F401

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRICE = Price(3.0, 15.0, cache_read_per_mtok=0.3, cache_write_per_mtok=3.75)
LARGE = Candidate("large", base_url="http://127.0.0.1:1/v1", price=PRICE)
SETTINGS = WarmSettings(keepalive=True)


def row(session: str, minutes_ago: float, **known: object) -> dict[str, object]:
    return {
        "request_id": f"{session}{minutes_ago}", "at": NOW - timedelta(minutes=minutes_ago), "purpose": "serve",
        "messages": json.dumps([{"role": "user", "content": "1+1?"}]), "tenant": None, "session_id": session,
        "plan": "large", "input_tokens": 5000.0, "status": "success", "cache_tier": None, **known,
    }  # fmt: skip


def history(returns: bool) -> list[dict[str, object]]:
    """Fifty sessions of two days ago; they come back after seven minutes, or never."""
    old = 2 * 1440.0
    rows = [row(f"s{i}", old + i) for i in range(50)]
    return rows + ([row(f"s{i}", old + i - 7) for i in range(50)] if returns else [])


def found(rows: list[dict[str, object]], read_at: dict[str, float] | None = None, candidate: Candidate = LARGE):
    frame = pd.DataFrame(rows)
    return [each.session for each in due(frame, {candidate.name: candidate}, read_at or {}, NOW, SETTINGS)]


def test_a_prefix_about_to_die_is_due_where_sessions_come_back():
    assert found([*history(True), row("now", 4.0)]) == [mark("now")]
    assert found([*history(False), row("now", 4.0)]) == []


@pytest.mark.parametrize(
    "known",
    [{"input_tokens": 500.0}, {"messages": None}, {"status": "failure"}, {"cache_tier": "memory"}, {"plan": "other"},
     {"purpose": "probe"}],
)  # fmt: skip
def test_what_has_no_prefix_to_keep_is_not_due(known):
    assert found([*history(True), row("now", 4.0, **known)]) == []


def test_a_prefix_that_lives_till_the_next_run_or_is_dead_is_not_due():
    assert found([*history(True), row("now", 0.5)]) == []
    assert found([*history(True), row("now", 5.5)]) == []
    # Unless an earlier run kept it alive.
    kept = {mark("now"): (NOW - timedelta(minutes=3)).timestamp()}
    assert found([*history(True), row("now", 6.0)], kept) == [mark("now")]


def test_a_provider_without_a_discount_is_never_read():
    assert found([*history(True), row("now", 4.0)], candidate=Candidate("large", price=Price(3.0, 15.0))) == []


def test_a_read_asks_for_one_token_and_is_journalled_paid_and_remembered(provider, tmp_path: Path):
    candidate = Candidate("large", base_url=provider.url, price=PRICE)
    (each,) = due(pd.DataFrame([*history(True), row("now", 4.0)]), {"large": candidate}, {}, NOW, SETTINGS)
    kept, ledger, purse = tmp_path / "keepalive.json", Ledger.open(tmp_path / "p.ledger.jsonl"), Purse(1.0)
    with Journal(tmp_path / "logs") as journal:
        assert read_prefixes([each], Caller({}, 16, 10.0), purse, ledger, journal, kept, NOW) == 1
    assert provider.limits == {1}
    cost = (INPUT * 3 + OUTPUT * 15) / 1e6
    assert purse.spent == ledger.spent == pytest.approx(cost)
    assert recalled(kept) == {mark("now"): NOW.timestamp()}
    (log,) = (tmp_path / "logs").iterdir()
    begin, end = (json.loads(line) for line in log.read_text().splitlines())
    assert (begin["purpose"], begin["policy"], end["cost_usd"]) == ("warm", "keepalive", pytest.approx(cost))
    empty = Purse(0.0)
    with Journal(tmp_path / "logs") as journal:
        assert read_prefixes([each], Caller({}, 16, 10.0), empty, ledger, journal, kept, NOW) == 0
