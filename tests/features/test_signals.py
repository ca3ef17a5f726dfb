"""Words of feedback on any scale become one quality, as they were known at a moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastmode.interactions import Feedback
from features.signals import Signal, latest, qualities, unheard
from pipelines.columns import feedback_table

START = datetime(2026, 3, 1, tzinfo=UTC)
SIGNALS = (
    Signal(name="stars", low=1, high=5),
    Signal(name="edit_distance", low=1.0, high=0.0),
    Signal(name="verdict", labels={"good": 1.0, "fair": 0.5, "bad": 0.0}, rank=2),
    Signal(name="unit_test*", rank=3),
    Signal(name="latency_complaint", use=False),
)


def words(*known: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for number, word in enumerate(known):
        at = START + timedelta(hours=word.pop("hour", number))
        received = START + timedelta(hours=word.pop("received", 0)) if "received" in word else at
        rows.append(Feedback(**{"request_id": "r", "signal": "score", "at": at, "received_at": received, **word}))
    return feedback_table(rows).to_pandas()


@pytest.mark.parametrize(
    ("word", "quality"),
    [
        ({"value": 0.25}, 0.25), ({"value": 7.0}, None), ({"value": -0.1}, None), ({"label": "good"}, None),
        ({"signal": "stars", "value": 4.0}, 0.75), ({"signal": "stars", "value": 0.0}, None),
        ({"signal": "edit_distance", "value": 0.2}, 0.8),
        ({"signal": "verdict", "label": "fair"}, 0.5), ({"signal": "verdict", "label": "odd"}, None),
        ({"signal": "verdict", "value": 1.0, "label": "bad"}, 1.0),
        ({"signal": "unit_test_7", "value": 1.0}, 1.0), ({"signal": "latency_complaint", "value": 1.0}, None),
    ],
)  # fmt: skip
def test_each_signal_has_a_scale_of_its_own(word: dict[str, Any], quality: float | None) -> None:
    got = qualities(words(word), SIGNALS)["quality"].tolist()
    assert got == ([] if quality is None else [pytest.approx(quality)])


def test_a_quality_that_is_missing_stays_missing() -> None:
    of_request, of_trace = latest(words({"value": 9.0}, {"label": "thanks!"}), START + timedelta(days=9), SIGNALS)
    assert not len(of_request)
    assert not len(of_trace)
    assert unheard(words({"value": 9.0}, {"signal": "latency_complaint", "value": 1.0}), SIGNALS) == {"score": 1}


def test_the_highest_rank_speaks_and_within_it_the_latest() -> None:
    said = words(
        {"signal": "unit_test", "value": 0.0, "hour": 1}, {"signal": "unit_test", "value": 1.0, "hour": 2},
        {"signal": "verdict", "label": "bad", "hour": 3}, {"value": 0.5, "hour": 4},
    )  # fmt: skip
    for hours, quality in ((1, 0.0), (2, 1.0), (9, 1.0)):
        assert latest(said, START + timedelta(hours=hours), SIGNALS)[0].to_dict() == {"r": quality}


def test_a_correction_counts_from_when_it_was_received() -> None:
    said = words({"value": 0.0, "hour": 1}, {"value": 1.0, "hour": 2, "received": 50})
    assert latest(said, START + timedelta(hours=49))[0].to_dict() == {"r": 0.0}
    assert latest(said, START + timedelta(hours=50))[0].to_dict() == {"r": 1.0}


def test_a_word_on_a_trace_speaks_of_it_and_a_word_on_a_request_of_that_alone() -> None:
    said = words({"request_id": None, "trace_id": "t", "value": 0.5}, {"trace_id": "t", "value": 1.0})
    of_request, of_trace = latest(said, START + timedelta(days=1))
    assert (of_request.to_dict(), of_trace.to_dict()) == ({"r": 1.0}, {"t": 0.5})


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1)), min_size=1, max_size=30),
    st.integers(0, 30),
)
def test_what_comes_later_never_changes_what_was_known(known: list[tuple[int, int, float]], hours: int) -> None:
    said = words(*({"value": v, "hour": h, "received": h + lag} for h, lag, v in known))
    moment = START + timedelta(hours=hours)
    before = said[said["received_at"] <= pd.Timestamp(moment)]
    pd.testing.assert_series_equal(latest(said, moment)[0], latest(before, moment)[0])


def test_a_signal_that_makes_no_sense_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="signal 'x': low and high are both 1; say what is worst and best"):
        Signal(name="x", low=1.0)
    with pytest.raises(ValueError, match=r"signal 'x': labels.great = 2 must lie in \[0, 1\]"):
        Signal(name="x", labels={"great": 2.0})
    with pytest.raises(ValueError, match="has no time zone"):
        latest(words({"value": 1.0}), datetime(2026, 3, 1))  # noqa: DTZ001
    assert np.isnan(Signal(name="x").quality(pd.Series([np.nan]), pd.Series([None])).iloc[0])
