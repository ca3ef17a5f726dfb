"""The heuristics' training: odds that fit, labels that no end of the log cuts short, and a choice that seldom errs."""

import numpy as np
import pytest

from features.worlds.demand import DemandSettings, demand, evenly
from models.warmers import WARMERS
from models.warmers.heuristics import USUAL, best_half_life, best_heuristic, foretells, moments
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import FLOOR, Warmer, odds_line

HOUR, DAY = 3600.0, 86400.0
DAILY = WarmerSettings(window_seconds=DAY, ttl_seconds=DAY, flush_seconds=DAY)


def test_the_odds_of_a_line_are_found_and_the_order_is_kept_where_scores_mislead():
    rng = np.random.default_rng(0)
    score = rng.lognormal(0, 3, 40_000)
    visited = rng.uniform(size=len(score)) < 1 / (1 + np.exp(1.5 - 0.7 * np.log(score + FLOOR)))
    slope, offset = odds_line(score, visited)
    assert (slope, offset) == (pytest.approx(0.7, abs=0.03), pytest.approx(-1.5, abs=0.06))
    slope, offset = odds_line(score, ~visited)
    assert 0 < slope < 0.01
    assert 1 / (1 + np.exp(-offset)) == pytest.approx((~visited).mean(), abs=0.01)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_line_foretells_no_worse_than_the_mean_however_far_scores_are_from_odds(scale, share):
    rng = np.random.default_rng(1)
    visited = rng.uniform(size=3000) < share
    # Half of the scores are zero, as those of the last window are.
    score = scale * rng.poisson(0.7, 3000) * np.where(visited, 1.5, 1.0)
    slope, offset = odds_line(score, visited)
    odds = offset + slope * np.log(score + FLOOR)
    mean = (visited.sum() + 0.5) / (len(visited) + 1)
    loss = (np.logaddexp(0, odds) - visited * odds).mean()
    assert loss <= -(visited * np.log(mean) + ~visited * np.log1p(-mean)).mean() + 1e-3


def test_no_example_has_labels_that_the_end_of_the_log_cuts_short():
    known = evenly(20, 400, 3, 0)
    settings = WarmerSettings(ttl_seconds=3 * HOUR)
    for end in (2.5 * DAY, 2.5 * DAY + 0.5 * HOUR):
        past = known.until(float(known.at[0] // DAY * DAY + end))
        last = moments(past, Warmer("ewma", "ewma", USUAL), settings, features=False)[-1]
        assert past.at[-1] - 4 * HOUR < last.start <= past.at[-1] - 2.9 * HOUR


@pytest.mark.parametrize("seed", range(3))
def test_what_drifts_is_foretold_by_what_came_lately_and_is_found_to_be(seed):
    drifting = demand(DemandSettings(days=20, drift_days=4.0, jobs=0, bursts_per_day=0.0), seed)
    assert best_half_life(drifting, WarmerSettings()) < USUAL
    daily = demand(DemandSettings(days=30, drift_days=10.0, jobs=0, bursts_per_day=0.0), seed)
    assert best_half_life(daily, DAILY) < USUAL
    trained = {name: WARMERS[name](daily, DAILY, seed) for name in ("ewma", "last_window", "lfu")}
    assert best_heuristic(daily, DAILY, trained, seed).name != "lfu"


def test_a_shorter_memory_is_seldom_chosen_where_nothing_drifts():
    wrong = sum(best_half_life(evenly(80, 200, 6, seed), WarmerSettings()) < USUAL for seed in range(60))
    # One-sided at .05 for each of three shorter ones, which err together.
    assert wrong / 60 <= 0.10


def test_a_log_of_a_single_window_keeps_the_usual_heuristic():
    few = evenly(5, 50, 0.05, 0)
    assert best_half_life(few, WarmerSettings()) == USUAL


@pytest.mark.parametrize("seed", range(2))
def test_who_has_the_most_hits_is_preferred_to_who_foretells_all_keys_best(seed):
    settings = WarmerSettings()
    seldom = evenly(keys=3000, per_day=6000.0, days=5.0, seed=seed)
    trained = {name: WARMERS[name](seldom, settings, seed) for name in ("ewma", "last_window", "lfu")}
    usual = foretells(seldom, settings, trained["ewma"], [trained["last_window"], trained["lfu"]])
    assert usual.name == "ewma"
    assert best_heuristic(seldom, settings, trained, seed).name == "lfu"
