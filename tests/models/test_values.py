"""Gains, margins and choices."""

import numpy as np
import pytest

from beastmode.objective import Objective
from models.values import NEVER, Gain, best, best_margin, crossed, decide, earned, prefer


def test_gain_is_the_mean_with_its_standard_error():
    gain = Gain.of(np.array([1.0, 0.0, -1.0, 1.0]))
    assert gain.mean == pytest.approx(0.25)
    assert gain.se == pytest.approx(np.std([1, 0, -1, 1], ddof=1) / 2)
    assert gain.lower(2.0) == pytest.approx(gain.mean - 2 * gain.se)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_single_row_has_no_error_to_state(rows):
    assert np.isnan(Gain.of(np.zeros(rows)).se)


def test_unknown_utility_loses_to_every_number():
    assert best(np.array([[np.nan, -5.0], [np.nan, np.nan]])).tolist() == [1, 0]


def test_the_incumbent_is_left_for_more_than_the_margin_only():
    utility = np.array([[0.5, 0.6], [0.5, 0.61], [0.5, 0.4]])
    assert decide(utility, 0, 0.1).tolist() == [0, 1, 0]
    assert earned(utility, np.array([0, 1, 1])).tolist() == [0.5, 0.61, 0.4]


def test_a_lead_that_is_real_is_taken():
    rng = np.random.default_rng(0)
    better = rng.random(600) < 0.4
    realised = np.stack([np.full(600, 0.5), np.where(better, 0.9, 0.1)], axis=1)
    expected = realised + rng.normal(0, 0.05, realised.shape)
    margin, gain = best_margin(expected, realised, 0, 1.0)
    assert margin < NEVER
    assert gain.mean == pytest.approx(0.4 * better.mean(), abs=0.02)


def test_noise_stays_with_the_incumbent():
    rng = np.random.default_rng(1)
    realised = rng.random((800, 4)) + np.array([0.2, 0.0, 0.0, 0.0])
    margin, gain = best_margin(rng.normal(0.5, 0.1, (800, 4)), realised, 0, 1.0)
    assert margin == NEVER
    assert (gain.mean, gain.se) == (0.0, 0.0)


def test_a_gain_stated_across_folds_does_not_count_what_picking_the_margin_won():
    picked, stated = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        realised = rng.random((60, 3))
        expected = rng.normal(0.5, 0.1, (60, 3))
        fold = np.arange(60) % 4
        picked.append(best_margin(expected, realised, 0, 0.0)[1].mean)
        stated.append(float((crossed(expected, realised, 0, 0.0, fold) - realised[:, 0]).mean()))
    # Nothing can be gained here: what picking claims is luck.
    assert np.mean(picked) > 0.015
    assert abs(np.mean(stated)) < 3 * np.std(stated) / np.sqrt(60)


def test_caution_moves_the_margin_up():
    rng = np.random.default_rng(2)
    lead = rng.normal(0.0, 0.05, 500)
    realised = np.stack([np.zeros(500), lead + rng.normal(0, 0.5, 500)], axis=1)
    expected = np.stack([np.zeros(500), lead], axis=1)
    bold, cautious = (best_margin(expected, realised, 0, caution)[0] for caution in (0.0, 3.0))
    assert cautious >= bold


def test_a_floor_takes_candidates_under_it_only_where_none_reaches_it():
    objective = Objective(per_dollar=100.0, quality_floor=0.6)
    quality = np.array([[0.9, 0.5], [0.4, 0.5]])
    cost = np.array([[0.01, 0.0], [0.01, 0.0]])
    assert best(prefer(objective, quality, cost, np.zeros((2, 2)))).tolist() == [0, 1]
