"""Bets against a mean: no error at any n, and narrow where outcomes hardly vary."""

import numpy as np
import pytest

from models.experiments.bounded import bernstein, betting


@pytest.mark.parametrize("bound", [bernstein, betting])
@pytest.mark.parametrize("rate", [0.03, 0.5])
def test_the_mean_stays_inside_at_every_observation(bound, rate):
    """400 worlds at alpha = .1, from the first observation on: a binomial error of 1.5 points."""
    values = np.random.default_rng(1).binomial(1, rate, (400, 800)).astype(float)
    low, high = bound(values, 0.1)
    assert ((low > rate) | (high < rate)).any(axis=1).mean() <= 0.1 + 2 * 0.015
    assert (np.diff(low, axis=1) >= 0).all()
    assert (high[:, -1] - low[:, -1]).mean() < 0.25


def test_betting_is_narrower_than_hoeffdings_bound_where_outcomes_hardly_vary():
    values = np.random.default_rng(2).beta(50, 50, (50, 500))
    for bound in (bernstein, betting):
        low, high = bound(values, 0.05)
        assert (high[:, -1] - low[:, -1]).mean() < np.sqrt(np.log(40) / (2 * 500))


def test_betting_is_no_wider_than_bernstein_but_for_its_grid():
    for rate in (0.5, 0.03):
        values = np.random.default_rng(3).binomial(1, rate, (50, 1000)).astype(float)
        widths = [(high - low)[:, -1].mean() for low, high in (bernstein(values, 0.05), betting(values, 0.05))]
        assert widths[1] - 2 / 200 < widths[0]


def test_a_range_moves_and_stretches_the_bounds():
    values = np.random.default_rng(4).binomial(1, 0.7, (3, 300)).astype(float)
    low, high = betting(values, 0.05)
    moved = betting(2 * values - 1, 0.05, -1, 1)
    assert moved[0] == pytest.approx(2 * low - 1)
    assert moved[1] == pytest.approx(2 * high - 1)


def test_an_outcome_beyond_its_range_is_refused():
    with pytest.raises(ValueError, match="beyond"):
        bernstein(np.array([0.2, 1.2]), 0.05)
    with pytest.raises(ValueError, match="unknown"):
        betting(np.array([0.2, np.nan]), 0.05)
    with pytest.raises(ValueError, match="must be finite and not empty"):
        betting(np.array([0.2]), 0.05, 1.0, 1.0)
