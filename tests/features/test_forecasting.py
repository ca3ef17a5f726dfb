from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks.forecast import WEEK, coverage, world
from features.forecasting import DRAWS, WINDOW_DAYS, Days, outlook, whole_days

FIRST = np.datetime64("2026-01-01", "D")


@pytest.mark.parametrize("n", [21, 42])
@pytest.mark.parametrize("kind", ["steady", "growing", "rising", "falling", "requests", "lingering"])
def test_the_interval_holds_the_truth_at_least_as_often_as_it_says(kind: str, n: int) -> None:
    """80% is promised. Of 150 worlds, 71% is three standard errors below; a band that always holds would be useless."""
    found = coverage(kind, n, 150, seed=11)
    assert found["held_7"] >= 0.71
    assert found["held_30"] >= 0.71
    assert found["width_30"] < 1.2


def test_growth_is_followed_and_weekdays_are_known() -> None:
    t = np.arange(49)
    usd = np.exp(0.01 * t) * 100 * WEEK[t % 7]
    ahead = outlook(Days(FIRST, usd[:42]), 7)
    assert ahead.forecast(7).usd == pytest.approx(usd[42:].sum(), rel=0.03)
    assert np.median(ahead.paths, axis=0) == pytest.approx(usd[42:], rel=0.05)


def test_a_weekday_without_spend_has_none() -> None:
    rng = np.random.default_rng(0)
    usd = 100 * np.exp(rng.normal(0, 0.1, 42)) * (np.arange(42) % 7 < 5)
    ahead = outlook(Days(FIRST, usd), 14)
    assert (ahead.paths[:, [5, 6, 12, 13]] == 0).all()
    assert ahead.forecast(7).usd == pytest.approx(500, rel=0.15)


def test_a_gap_in_the_log_is_no_collapse() -> None:
    rng = np.random.default_rng(0)
    usd = 100 * np.exp(rng.normal(0, 0.1, 42))
    usd[[10, 11, 30]] = 0
    assert outlook(Days(FIRST, usd), 7).forecast(7).usd == pytest.approx(700, rel=0.15)


def test_the_same_seed_gives_the_same_forecast() -> None:
    days = Days(FIRST, world("steady", 28, np.random.default_rng(1)))
    assert outlook(days, 7, seed=3).forecast(7) == outlook(days, 7, seed=3).forecast(7)
    assert outlook(days, 7).paths.shape == (DRAWS, 7)


def test_equal_days_are_no_error() -> None:
    forecast = outlook(Days(FIRST, np.full(28, 5.0)), 7).forecast(7)
    assert forecast.usd == pytest.approx(35, rel=0.01)
    assert forecast.low <= forecast.usd <= forecast.high


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        (np.ones(13), "not enough days: 13 whole days with spend, and a forecast needs 14"),
        (np.empty(0), "not enough days: 0"),
        (np.tile([1.0, 0, 1, 1, 0], 10), "too irregular: 40% of the days"),
    ],
)
def test_where_the_days_say_nothing_there_is_no_number(usd: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        outlook(Days(FIRST, usd), 7)


def moments(*words: str) -> np.ndarray:
    return np.array([np.datetime64(word, "us") for word in words])


def test_only_whole_days_count() -> None:
    at = moments("2026-01-01T23:00", "2026-01-02T00:00", "2026-01-02T23:59", "2026-01-04T12:00", "2026-01-05T01:00")
    days = whole_days(at, np.array([9.0, 1.0, np.nan, 2.0, 9.0]))
    assert (str(days.first), days.usd.tolist(), str(days.next)) == ("2026-01-02", [1, 0, 2], "2026-01-05")
    assert days.mean() == 1
    later = whole_days(at, np.array([9.0, 1.0, 1.0, 2.0, 9.0]), np.datetime64("2026-01-07"))
    assert later.usd.tolist() == [2, 0, 2, 9, 0], "a tenant may have been silent since"


@pytest.mark.parametrize("at", [moments(), moments("2026-01-01"), moments("2026-01-01", "2026-01-02")])
def test_a_short_log_has_no_whole_day(at: np.ndarray) -> None:
    days = whole_days(at, np.ones(len(at)))
    assert len(days.usd) == 0
    assert days.mean() is None


def test_old_days_are_left_out() -> None:
    at = np.datetime64("2026-01-01", "us") + np.arange(100) * np.timedelta64(1, "D")
    days = whole_days(at, np.arange(100.0))
    assert len(days.usd) == WINDOW_DAYS
    assert days.usd[-1] == 98
    assert days.next == np.datetime64(datetime(2026, 4, 10, tzinfo=UTC).date(), "D")
