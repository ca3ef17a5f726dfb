"""Canaries as the lake holds them: both questions, the latest word, and the counts that a bound rests on."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from features.canaries import Canary, Live, canaries, live, pairs

AT = datetime(2026, 11, 1, tzinfo=UTC)
ROW = {"parent_request_id": None, "purpose": "serve", "messages": None, "context": None, "cache_tier": None}


def said(text: str) -> str:
    return json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}])


def counted(requests: int, hits: int) -> str:
    return json.dumps({"task": "help", "semantic_requests": str(requests), "semantic_hits": str(hits)})


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame([{**ROW, "at": pd.Timestamp(AT + timedelta(minutes=i)), **row} for i, row in enumerate(rows)])


def word(request_id: str, value: float, hours: float = 0.0, signal: str = "canary") -> dict[str, object]:
    return {"request_id": request_id, "signal": signal, "value": value,
            "received_at": pd.Timestamp(AT + timedelta(hours=hours))}  # fmt: skip


INTERACTIONS = frame(
    {"request_id": "asked", "messages": said("How do I enable 2FA?")},
    {"request_id": "graded", "purpose": "judge", "cache_tier": "semantic", "parent_request_id": "asked",
     "messages": said("How do I disable 2FA?"), "context": counted(40, 12)},
    {"request_id": "bare"},
    {"request_id": "unread", "purpose": "judge", "cache_tier": "semantic", "parent_request_id": "bare",
     "context": counted(10, 3)},
    {"request_id": "hit", "cache_tier": "semantic"},
    {"request_id": "exact", "cache_tier": "memory"},
    {"request_id": "waited", "cache_tier": "fill"},
    {"request_id": "probe", "purpose": "judge", "parent_request_id": "asked", "messages": said("Grade this.")},
    *[{"request_id": f"of an application without a cache {i}"} for i in range(500)],
)  # fmt: skip


def test_canaries_carry_both_questions_and_the_latest_word_known_at_a_moment() -> None:
    words = pd.DataFrame([
        word("graded", 1.0, 1), word("graded", 0.0, 2), word("unread", 1.0, 1), word("hit", 1.0, 1, "thumb"),
        word("probe", 1.0, 1),
    ])  # fmt: skip
    late = canaries(INTERACTIONS, words, AT + timedelta(hours=3))
    assert late == (
        Canary("How do I enable 2FA?", "How do I disable 2FA?", False, AT + timedelta(minutes=1)),
        Canary(None, None, True, AT + timedelta(minutes=3)),
    )
    assert [canary.agreed for canary in canaries(INTERACTIONS, words, AT + timedelta(hours=1))] == [True, True]
    assert canaries(INTERACTIONS, words, AT) == ()
    assert list(pairs(late)) == [{"text_a": "How do I enable 2FA?", "text_b": "How do I disable 2FA?", "label": 0}]
    # What the tier counted itself; 500 requests that it was never asked about do not thin its wrong answers out.
    counts = live(INTERACTIONS, late)
    assert counts == Live(requests=50, hits=15, checked=2, disagreed=1)
    assert (counts.hit_share, counts.hits_each) == pytest.approx((0.3, 7.5))
    assert counts.known


def test_canaries_of_a_journal_without_counts_say_nothing_of_requests() -> None:
    words = pd.DataFrame([word("graded", 0.0, 1)])
    bare = INTERACTIONS.assign(context=None)
    counts = live(bare, canaries(bare, words, AT + timedelta(hours=3)))
    assert counts == Live(requests=0, hits=0, checked=1, disagreed=1)
    assert not counts.known


def test_an_empty_lake_has_no_canaries() -> None:
    nothing = INTERACTIONS[:0]
    none = canaries(nothing, pd.DataFrame([word("graded", 1.0)])[:0], AT)
    assert none == ()
    assert live(nothing, none) == Live(0, 0, 0, 0)
    assert live(nothing, none).hit_share == 0.0
