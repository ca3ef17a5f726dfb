"""Scores and chances on worlds whose truth is known: by hand, and where requests come by chance."""

import numpy as np
import pytest

from features.demand import Demand
from models.warmers import WARMERS
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import HEURISTICS, chances, tallied

HOUR, DAY = 3600.0, 86400.0
START = 20_000 * DAY


def poisson(seed: int, rates_per_hour: np.ndarray, hours: float) -> Demand:
    rng = np.random.default_rng(seed)
    n = rng.poisson(rates_per_hour * hours)
    key = np.repeat(np.arange(len(n)), n)
    at = START + rng.uniform(0, hours * HOUR, len(key))
    order = np.argsort(at)
    return Demand(key[order], at[order], np.zeros(len(n), np.int64), np.ones(len(n)))


def test_heuristics_score_what_their_names_say():
    hours, key = np.array([0.0, 1.0, 2.0, 60.0, 99.5]), np.array([0, 0, 0, 2, 1])
    tally = tallied(Demand.of(key, START + hours * HOUR), START + 100 * HOUR, HOUR)
    score = {name: rule(tally, np.arange(3), 3) for name, rule in HEURISTICS.items()}
    assert score["last_window"].argmax() == 1
    assert score["lfu"].argmax() == 0
    assert np.argsort(-score["ewma"]).tolist() == [1, 0, 2]


@pytest.mark.parametrize("name", ["ewma", "lightgbm"])
def test_chances_are_calibrated_where_requests_come_by_chance(name):
    rates = np.geomspace(0.002, 1.0, 80)
    known = poisson(2, rates, 24 * 14)
    settings = WarmerSettings(ttl_seconds=2 * HOUR)
    warmer = WARMERS[name](known.until(START + 10 * DAY), settings, 0)
    said, came = [], []
    for now in np.arange(START + 10 * DAY, START + 14 * DAY - settings.ttl_seconds, 0.7 * HOUR).tolist():
        said.append(chances(warmer, known, now, settings.window_seconds))
        later = known.key[(known.at >= now) & (known.at < now + settings.ttl_seconds)]
        came.append(np.isin(np.arange(known.keys), later))
    chance, truth = np.concatenate(said), np.concatenate(came)
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.9)):
        band = (chance >= low) & (chance < high)
        assert band.sum() > 100
        assert truth[band].mean() == pytest.approx(chance[band].mean(), abs=0.05)


@pytest.mark.parametrize("name", WARMERS)
def test_nothing_that_comes_later_is_seen_and_all_that_came_is(name):
    known = poisson(1, np.full(20, 0.5), 100)
    # Between two hours of the clock: what came since the last full hour counts as well.
    now = START + 60.5 * HOUR
    early = known.until(now)
    warmer = WARMERS[name](known.until(START + 50 * HOUR), WarmerSettings(), 0)
    tally = tallied(known, now, HOUR)
    assert tally.now == now
    assert tally.total.sum() == len(early)
    assert np.array_equal(chances(warmer, known, now, HOUR), chances(warmer, early, now, HOUR))


def test_a_log_that_went_silent_has_aged():
    known = Demand.of(np.array([0, 1]), np.array([START, START + HOUR]))
    tally = tallied(known, START + 10 * HOUR, HOUR)
    assert (tally.now, tally.windows) == (START + 10 * HOUR, 10)
    assert tally.last_window.tolist() == [0, 0]
    assert tally.count(0, np.array([1]))[0] < 0.01
