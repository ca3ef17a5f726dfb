"""Quantiles around a prediction: exact levels for the next observation, groups of equal number, borrowed spreads."""

import numpy as np

from beastmode.scoring import QUANTILES
from models.spread import Groups, weighted_quantile


def test_the_next_one_falls_below_the_quantile_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n, rounds = 39, 20_000
    # With 39 observations the second lowest and the second highest stand at the levels .05 and .95.
    known, fresh = rng.exponential(size=(rounds, n)), rng.exponential(size=rounds)
    ends = np.array([weighted_quantile(row, np.ones(n), QUANTILES[0]) for row in known[:2000]])
    np.testing.assert_allclose(ends, np.sort(known[:2000], axis=1)[:, 1])
    inside = (np.sort(known, axis=1)[:, 1] <= fresh) & (fresh <= np.sort(known, axis=1)[:, -2])
    assert abs(inside.mean() - 0.9) < 4 * np.sqrt(0.09 / rounds)


def test_weights_count_like_repeated_observations():
    values, weight = np.array([1.0, 2.0, 3.0]), np.array([100.0, 200.0, 100.0])
    assert weighted_quantile(values, weight, 0.5) == 2.0


def test_groups_are_of_equal_number_and_their_knots_rise():
    place = np.random.default_rng(1).normal(size=(800, 2))
    groups = Groups.of(place, 800)
    assert groups.knots.shape == (2, 8)
    assert (np.diff(groups.knots, axis=1) > 0).all()
    assert (np.abs(np.bincount(groups.label[:, 0]) - 100) <= 1).all()
    assert Groups.of(place, 90).knots.shape == (2, 1)


def test_equal_places_share_a_group():
    place = np.stack([np.zeros(400), np.repeat([0.0, 1.0], 200), np.arange(400.0)], axis=1)
    groups = Groups.of(place, 400)
    assert groups.label[:, 0].max() == 0
    assert groups.label[:, 1].max() == 1
    np.testing.assert_array_equal(groups.knots[1], [0.0, *[1.0] * 7])
    assert groups.label[:, 2].max() == 7


def test_what_was_never_observed_has_no_quantiles():
    residual = np.random.default_rng(2).normal(size=(400, 2))
    residual[:, 1] = np.nan
    found = Groups.of(np.zeros((400, 2)), 400).quantiles(residual, np.ones((2, 8, 3)))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_a_rise_is_between_nothing_and_steep():
    place = np.random.default_rng(3).normal(size=(800, 3))
    groups = Groups.of(place, 800)
    values = groups.knots[:, :, None] * np.array([0.7, -1.0, 9.0])
    np.testing.assert_allclose(groups.rise(values), np.tile([0.7, 0.0, 1.5], (3, 8, 1)))
    assert not Groups.of(np.zeros((800, 3)), 800).rise(values).any()
