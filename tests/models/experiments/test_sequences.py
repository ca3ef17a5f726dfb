"""Intervals that may be looked at every day: their error over all looks, their power, and GrowthBook's numbers."""

import numpy as np
import pytest

from models.experiments.sequences import Bounds, cautious, critical, p_value, running, saved

# GrowthBook's statistics (gbstats 0.8.0, MIT; pandas 1.5.3, numpy 1.26.4), computed once in a separate environment in
# November 2026: SequentialTwoSidedTTest(SampleMeanStatistic(n, sum, sum_squares), ..., SequentialConfig(alpha,
# difference_type="absolute", sequential_tuning_parameter=planned)).
GROWTHBOOK = [
    # n, mean, variance of both arms; planned, alpha; low, high, p
    ((1000, 1.0, 2.0), (1050, 1.1, 2.5), 5000, 0.05, -0.10641561036799724, 0.3064156103679974, 0.8614877712983885),
    ((50, 0.4, 0.24), (70, 0.55, 0.2475), 5000, 0.05, -0.41678015698289006, 0.7167801569828901, 0.879187497854297),
    (
        (20000, 0.612, 0.2375), (19800, 0.629, 0.2333), 5000, 0.05,
        0.0013794716124737004, 0.032620528387526326, 0.019605360001785907,
    ),
    (
        (8123, 3.1e-3, 4e-5), (7911, 2.7e-3, 3.1e-5), 20000, 0.1,
        -0.0006604698695, -0.0001395301305, 0.0012871110057878193,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "planned", "alpha", "low", "high", "p"), GROWTHBOOK)
def test_the_sequence_is_growthbooks_sequential_test(a, b, planned, alpha, low, high, p):
    (n_a, mean_a, var_a), (n_b, mean_b, var_b) = a, b
    se = np.sqrt(var_a / n_a + var_b / n_b)
    half = critical(n_a + n_b, planned, alpha) * se
    assert mean_b - mean_a - half == pytest.approx(low, abs=1e-6)
    assert mean_b - mean_a + half == pytest.approx(high, abs=1e-6)
    assert float(p_value((mean_b - mean_a) / se, n_a + n_b, planned, alpha)) == pytest.approx(p, abs=1e-6)


def test_the_p_value_reaches_alpha_where_the_interval_leaves_the_hypothesis():
    n = np.array([50, 400, 5000, 80000])
    assert p_value(critical(n, 5000, 0.05), n, 5000, 0.05) == pytest.approx(0.05, abs=1e-12)


def streams(rng, mean, worlds=1500, n=3000):
    """Differences of right and wrong answers, 15 in a hundred of which differ."""
    return rng.choice([-1.0, 0.0, 1.0], (worlds, n), p=[0.075 - mean / 2, 0.85, 0.075 + mean / 2])


LOOKS = np.arange(30, 3001, 30)


@pytest.mark.parametrize("planned", [1000, 3000, 20000])
def test_each_bound_errs_at_any_look_as_seldom_as_alpha_says(planned):
    """1,500 worlds at alpha = .05: a binomial error of .56 points."""
    mean, se = running(streams(np.random.default_rng(planned), 0.0), LOOKS)
    bounds = Bounds.of(LOOKS, mean, cautious(se, LOOKS), planned, 0.05)
    assert (bounds.low > 0).any(axis=1).mean() <= 0.05 + 2 * 0.0056
    assert (bounds.high < 0).any(axis=1).mean() <= 0.05 + 2 * 0.0056
    two_sided = critical(LOOKS, planned, 0.05) * cautious(se, LOOKS)
    assert (np.abs(mean) > two_sided).any(axis=1).mean() <= 0.05 + 2 * 0.0056


def test_looking_at_a_t_interval_every_day_errs_far_more():
    mean, se = running(streams(np.random.default_rng(0), 0.0), LOOKS)
    assert (mean > 1.645 * se).any(axis=1).mean() > 0.2


def test_saving_alpha_for_the_plan_brings_power_at_its_end():
    mean, se = running(streams(np.random.default_rng(1), 0.02), LOOKS)
    se = cautious(se, LOOKS)
    by_saved = (Bounds.of(LOOKS, mean, se, 3000, 0.05).low > 0).any(axis=1).mean()
    by_mixture = (mean > critical(LOOKS, 3000, 0.05, sides=1) * se).any(axis=1).mean()
    once = (mean[:, -1] > 1.645 * se[:, -1]).mean()
    assert once > by_saved > by_mixture + 0.15


def test_skewed_costs_are_covered_too():
    rng = np.random.default_rng(3)
    costs = rng.lognormal(0, 1.2, (800, 3000)) - np.exp(0.72)
    looks = np.arange(300, 3001, 100)
    mean, se = running(costs, looks)
    bounds = Bounds.of(looks, mean, se, 3000, 0.05)
    assert (bounds.low > 0).any(axis=1).mean() <= 0.06
    assert (bounds.high < 0).any(axis=1).mean() <= 0.09  # few large costs come late: the normal limit is slower here


def test_three_equal_observations_are_no_certainty():
    mean, se = running(np.ones(3), np.array([3]))
    assert se[0] == 0
    assert Bounds.of(np.array([3]), mean, cautious(se, [3]), 3000, 0.05).low[0] < 0


def test_a_single_observation_bounds_nothing():
    mean, se = running(np.array([[0.3, 0.4]]), np.array([1, 2]))
    bounds = Bounds.of(np.array([1, 2]), mean, se, 100, 0.05)
    assert bounds.low[0, 0] == -np.inf
    assert np.isfinite(bounds.low[0, 1])


def test_the_boundary_stays_valid_after_the_plan():
    mean, se = running(streams(np.random.default_rng(5), 0.0, worlds=600, n=9000), np.arange(100, 9001, 100))
    bounds = Bounds.of(np.arange(100, 9001, 100), mean, se, 1000, 0.05)
    assert (bounds.low > 0).any(axis=1).mean() <= 0.05 + 2.6 * 0.009
    assert saved(1001, 1000, 0.05) > saved(1000, 1000, 0.05)


@pytest.mark.parametrize(("planned", "alpha"), [(0, 0.05), (100, 0.0), (100, 0.6)])
def test_impossible_plans_are_refused(planned, alpha):
    with pytest.raises(ValueError, match="must be above zero"):
        critical(100, planned, alpha)
