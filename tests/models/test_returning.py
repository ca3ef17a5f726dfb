"""Warmers on worlds whose truth is known: scores, calibrated chances, and a learner that finds a rhythm."""

import numpy as np
import pytest

from models.returning import HEURISTICS, Requests, Warmer, features, train
from models.warm_tournament import windows_of

HOUR = 3600.0
START = 1_760_000_400.0 // 86_400 * 86_400


def poisson(seed: int, rates_per_hour: np.ndarray, hours: float) -> Requests:
    rng = np.random.default_rng(seed)
    n = rng.poisson(rates_per_hour * hours)
    key = np.repeat(np.arange(len(n)), n)
    at = START + rng.uniform(0, hours * HOUR, len(key))
    order = np.argsort(at)
    return Requests(key[order], at[order], np.zeros(len(n), np.int64))


def test_heuristics_score_what_their_names_say():
    key, hours = np.array([0, 0, 0, 1, 2]), np.array([0.0, 1.0, 2.0, 99.5, 60.0])
    past = Requests(key, START + hours[np.argsort(hours, kind="stable")] * HOUR, np.zeros(4, np.int64))
    past = Requests(key[np.argsort(hours, kind="stable")], past.at, past.tenant)
    now = START + 100 * HOUR
    order = {name: np.argsort(-score(past, now, HOUR))[:3].tolist() for name, score in HEURISTICS.items()}
    assert order["last_window"][0] == 1
    assert order["lfu"][0] == 0
    assert order["ewma"] == [1, 0, 2] or order["ewma"][0] == 1
    assert all(score(past, now, HOUR)[3] < score(past, now, HOUR)[2] for score in HEURISTICS.values())


def test_nothing_that_comes_later_is_seen():
    whole = poisson(1, np.full(20, 0.5), 100)
    now = START + 60 * HOUR
    early = whole.until(now)
    assert (early.at < now).all()
    shuffled = Requests(whole.key.copy(), whole.at.copy(), whole.tenant)
    shuffled.key[shuffled.at >= now] = 0
    one, other = features(whole.until(now), now, HOUR), features(shuffled.until(now), now, HOUR)
    assert np.array_equal(one, other, equal_nan=True)
    with_one_more = Requests(np.append(early.key, 3), np.append(early.at, now - 1), whole.tenant)
    assert not np.array_equal(one, features(with_one_more, now, HOUR), equal_nan=True)


@pytest.mark.parametrize("name", ["ewma", "lightgbm"])
def test_chances_are_calibrated_where_requests_come_by_chance(name):
    rates = np.geomspace(0.005, 2.0, 80)
    requests = poisson(2, rates, 24 * 14)
    windows = windows_of(requests, HOUR)
    warmer = train(name, requests.until(windows[240]), windows[:240], HOUR, 0)
    said, came = [], []
    for start in windows[240:]:
        past = requests.until(start)
        said.append(warmer.chance(past, start))
        came.append(requests.within(start, start + HOUR) > 0)
    chance, truth = np.concatenate(said), np.concatenate(came)
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.9)):
        band = (chance >= low) & (chance < high)
        assert band.sum() > 100
        assert truth[band].mean() == pytest.approx(chance[band].mean(), abs=0.05)


def test_a_key_that_was_never_asked_for_has_no_chance():
    requests = poisson(3, np.array([1.0, 1.0, 0.0]), 100)
    windows = windows_of(requests, HOUR)
    for name in ("lfu", "lightgbm"):
        assert train(name, requests, windows, HOUR, 0).chance(requests, windows[-1])[2] == 0.0


def test_the_same_seed_learns_the_same_and_text_carries_it():
    requests = poisson(4, np.geomspace(0.01, 1, 30), 150)
    windows = windows_of(requests, HOUR)
    one, other = (train("lightgbm", requests, windows, HOUR, 7) for _ in range(2))
    assert one.model == other.model
    again = Warmer(one.name, one.window, one.levels, one.chances, one.model)
    assert np.array_equal(again.chance(requests, windows[-1]), one.chance(requests, windows[-1]))


def test_requests_of_one_second_have_no_gap_and_no_warning():
    past = Requests(np.zeros(3, np.int64), np.full(3, START), np.zeros(2, np.int64))
    seen = features(past, START + HOUR, HOUR)
    assert seen.shape[0] == 2
    assert np.isnan(seen[0]).any()


def test_what_cannot_be_learned_from_is_refused():
    requests = poisson(5, np.full(5, 1.0), 20)
    with pytest.raises(ValueError, match="too few"):
        train("lfu", requests, windows_of(requests, HOUR)[:4], HOUR, 0)
    once = Requests(np.arange(50), START + np.arange(50) * HOUR, np.zeros(50, np.int64))
    with pytest.raises(ValueError, match="no key returned"):
        train("lfu", once, windows_of(once, HOUR), HOUR, 0)
