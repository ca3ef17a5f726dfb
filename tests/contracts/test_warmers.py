"""Every warmer in the registry: it finds what returns, stays within its budget, and survives being written."""

from functools import cache

import numpy as np
import pytest

from features.demand import Demand, windows
from features.demand_tally import Tally
from features.worlds.demand import DemandSettings, demand
from models.warmers import WARMERS
from models.warmers.contest import Contestant
from models.warmers.held import Held
from models.warmers.playing import middle, play
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import Warmer, chances, tallied

NAMES = sorted(WARMERS)
SETTINGS = WarmerSettings(budgets=(0.1, 0.3))


@cache
def world() -> Demand:
    return demand(DemandSettings(days=10), 4)


@cache
def trained(name: str) -> Warmer:
    return WARMERS[name](world().until(middle(world(), 0.4)), SETTINGS, 0)


@pytest.mark.parametrize("name", NAMES)
def test_scores_and_chances_are_whole_and_rise_together(name):
    now = middle(world(), 0.4)
    tally = tallied(world(), now, SETTINGS.window_seconds)
    score, chance = trained(name).score(tally, tally.seen), trained(name).chance(tally, tally.seen)
    assert trained(name).name == name
    assert score.shape == chance.shape == tally.seen.shape
    assert np.isfinite(score).all()
    assert ((chance >= 0) & (chance <= 1)).all()
    assert (np.diff(chance[np.argsort(score)]) >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_warmer(name):
    assert WARMERS[name](world().until(middle(world(), 0.4)), SETTINGS, 0) == trained(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_chance_is_what_comes_true(name):
    expected, came = [], []
    known = world()
    tally, held = Tally(known.tenant, SETTINGS.window_seconds), Held(known, SETTINGS)
    for number, window in enumerate(windows(known, SETTINGS.window_seconds)):
        now = window.start
        if now >= middle(known, 0.4) and now < known.at[-1] - SETTINGS.ttl_seconds and number % 5 == 0:
            p = chances(trained(name), known.until(now), now, SETTINGS.window_seconds)
            assert (p[np.isin(np.arange(known.keys), known.until(now).key, invert=True)] == 0).all()
            due = held.due(tally, window)
            expected.append(p[due])
            came.append(np.isin(due, known.key[(known.at >= now) & (known.at < now + SETTINGS.ttl_seconds)]))
        held.serve(window)
        tally.add(known, window)
    p, hit = np.concatenate(expected), np.concatenate(came)
    # Keys of one hour come and go together, so that the error is some times the binomial one.
    assert p.mean() == pytest.approx(hit.mean(), abs=0.05)
    high = p > np.quantile(p, 0.9)
    assert p[high].mean() == pytest.approx(hit[high].mean(), abs=0.12)


@pytest.mark.parametrize("name", NAMES)
def test_warming_wins_hits_and_keeps_to_the_budget(name):
    told = play(
        world(), middle(world(), 0.4), SETTINGS,
        {"none": Contestant(), "warm": Contestant(trained(name), 0.3)},
    )  # fmt: skip
    assert told["warm"].hit_rate > told["none"].hit_rate + 0.02
    assert 0.27 <= told["warm"].spent <= 0.31
    assert 0 < told["warm"].useful_share <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_log_too_short_to_learn_from_still_gives_a_warmer(name):
    few = Demand.of(np.array([0, 1, 0, 1, 0]), np.arange(5) * 1800.0)
    made = WARMERS[name](few, SETTINGS, 0)
    assert np.isfinite(made.score(tallied(few, 7200.0, 3600.0), np.array([0, 1]))).all()
    assert chances(made, few, 7200.0, 3600.0).shape == (2,)
