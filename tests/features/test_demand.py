"""Demand and its tally: features whose truth can be worked out by hand, and input that cannot be true."""

import numpy as np
import pytest

from features.demand import Demand, windows
from features.demand_tally import HALF_LIVES, NAMES, Tally

HOUR, DAY = 3600.0, 86400.0
START = 20_000 * DAY


def of(rows, tenant=None):
    rows = sorted(rows)
    key, at = np.array([key for _, key in rows]), START + HOUR * np.array([hour for hour, _ in rows])
    return Demand.of(key, at, None if tenant is None else np.array(tenant))


def tallied(demand, seconds=HOUR, **known):
    tally = Tally(demand.tenant, seconds, **known)
    for window in windows(demand, seconds):
        tally.add(demand, window)
    return tally


def column(tally, name, keys=None):
    keys = tally.seen if keys is None else np.array(keys)
    return tally.features(keys)[:, NAMES.index(name)].astype(float)


def test_windows_are_aligned_cover_everything_and_have_no_holes():
    known = of([(0.5, 0), (0.9, 1), (3.2, 0)])
    found = list(windows(known, HOUR))
    assert [window.start - START for window in found] == [0, HOUR, 2 * HOUR, 3 * HOUR]
    assert [(window.begin, window.end) for window in found] == [(0, 2), (2, 2), (2, 2), (2, 3)]
    assert list(windows(known.until(START), HOUR)) == []


def test_windows_until_a_moment_end_there_whatever_the_clock_says_and_see_nothing_later():
    known = of([(0.5, 0), (0.9, 1), (3.2, 0), (3.9, 0)])
    found = list(windows(known, HOUR, until=START + 3.5 * HOUR))
    assert [window.start - START for window in found] == [0.5 * HOUR, 1.5 * HOUR, 2.5 * HOUR]
    assert [(window.begin, window.end) for window in found] == [(0, 2), (2, 2), (2, 3)]
    assert len(list(windows(known, HOUR, until=START + 9 * HOUR))) == 9
    assert list(windows(known, HOUR, until=START)) == []


def test_requests_of_one_second_have_no_gap_and_no_warning():
    seen = tallied(of([(0.5, 0), (0.5, 0), (1.5, 0), (1.5, 0)])).features(np.array([0]))
    assert seen.shape == (1, len(NAMES))
    assert np.exp(seen[0, NAMES.index("gap_1")]) == pytest.approx(1, abs=0.02)


def test_decayed_counts_are_what_the_definition_says():
    rng = np.random.default_rng(0)
    known = of([(hour, int(key)) for hour, key in zip(rng.uniform(0, 40, 300), rng.integers(0, 9, 300), strict=True)])
    tally = tallied(known)
    for place, half in enumerate(HALF_LIVES):
        fade = 0.5 ** ((tally.now - known.at) / HOUR / half)
        weight = sum(0.5 ** (age / half) for age in range(tally.windows))
        expected = np.array([fade[known.key == key].sum() for key in range(9)]) / weight
        np.testing.assert_allclose(tally.count(place, np.arange(9)), expected, rtol=1e-9)


def test_a_visit_is_a_window_with_a_request_however_many_came():
    tally = tallied(of([(0.1, 0), (0.2, 0), (0.3, 0), (2.1, 0), (3.5, 1)]))
    assert tally.total.tolist() == [4, 1]
    np.testing.assert_allclose(tally.visits(4, np.array([0, 1])), [0.5, 0.25], rtol=0.02)
    assert tally.last_window.tolist() == [0, 1]


def test_the_gaps_of_a_job_are_its_period_and_its_phase_says_when_it_is_due():
    tally = tallied(of([(0.5 + 6 * i, 0) for i in range(12)] + [(71.9, 1)]))
    assert np.exp(column(tally, "gap_median", [0])) == pytest.approx(6, rel=0.01)
    assert column(tally, "gap_spread", [0]) == pytest.approx(0, abs=1e-3)
    assert column(tally, "phase", [0]) == pytest.approx((72 - 66.5) / 6, rel=0.01)
    assert np.exp(column(tally, "gap_8", [0])) == pytest.approx(6, rel=0.01)
    assert np.isnan(column(tally, "gap_1", [1]))
    assert np.isnan(column(tally, "gap_spread", [1]))


def test_hours_and_weekdays_tell_a_daily_and_a_weekly_key_from_others():
    daily = [(24 * day + 12.1, 0) for day in range(14)]
    weekly = [(24 * day + 12.1, 1) for day in (0, 7)]
    other = [(24 * day + (5 * day) % 24 + 0.2, 2) for day in range(14)]
    # The tally ends at noon of day 14, the hour of the first and the weekday of the second.
    tally = tallied(of([*daily, *weekly, *other, (24 * 14 + 11.5, 3)]))
    assert column(tally, "hour_share").tolist()[:2] == [1, 1]
    assert column(tally, "hour_share")[2] < 0.3
    weekday = column(tally, "weekday_share")
    assert weekday[1] == 1
    assert weekday[0] == pytest.approx(2 / 14)


def test_without_a_clock_hours_are_unknown_and_all_else_is_the_same():
    known = of([(i * 0.7, i % 5) for i in range(100)])
    with_, without = tallied(known), tallied(known, clock=False)
    clock = [NAMES.index(name) for name in ("hour_share", "near_share", "weekday_share", "hour")]
    rest = [i for i in range(len(NAMES)) if i not in clock]
    ours, theirs = with_.features(with_.seen), without.features(without.seen)
    assert np.isnan(theirs[:, clock]).all()
    np.testing.assert_array_equal(ours[:, rest], theirs[:, rest])


def test_a_burst_shows_and_a_busy_tenant_lifts_its_keys():
    rows = [(i, 0) for i in range(100)] + [(99 + i / 20, 1) for i in range(15)] + [(50.0, 2)]
    tally = tallied(of(rows, tenant=[0, 1, 1]))
    burst, tenant = column(tally, "burst"), column(tally, "tenant")
    assert burst[1] > burst[0] + 1
    assert tenant[1] == tenant[2] != tenant[0]


def test_the_latest_keys_are_those_that_were_asked_for_last():
    tally = tallied(of([(i, i) for i in range(10)]))
    assert sorted(tally.latest(3).tolist()) == [7, 8, 9]
    assert sorted(tally.latest(99).tolist()) == list(range(10))
    assert sorted(tally.latest(2, np.array([1, 4, 6])).tolist()) == [4, 6]


@pytest.mark.parametrize(
    ("key", "at", "said"),
    [
        ([0, 1], [1.0], "each pair must be of one length"),
        ([0, 1], [2.0, 1.0], "must be finite and rise"),
        ([0, 1], [1.0, np.nan], "must be finite and rise"),
        ([0, -1], [1.0, 2.0], "number them from 0"),
    ],
)
def test_demand_that_cannot_be_true_is_refused(key, at, said):
    with pytest.raises(ValueError, match=said):
        Demand.of(np.array(key), np.array(at))


def test_a_window_without_length_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        list(windows(of([(1, 0)]), 0.0))
