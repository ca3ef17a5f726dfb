"""How many observations will do: foretold and then counted in worlds whose truth is known."""

import numpy as np
import pytest

from models.experiments.needed import Way, detectable, needed, plan, standing, two_arms
from models.experiments.sequences import Bounds, running


@pytest.mark.parametrize("watched", [True, False])
def test_four_in_five_true_differences_are_proven_with_the_observations_that_are_foretold(watched):
    probes = needed(0.03, Way("probes", 0.3), watched=watched)
    values = np.random.default_rng(7).normal(0.03, 0.3, (1000, probes.observations))
    looks = np.arange(20, probes.observations + 1, 20)
    looks = np.append(looks, probes.observations)
    mean, se = running(values, looks)
    if watched:
        proven = (Bounds.of(looks, mean, se, probes.observations, 0.05).low > 0).any(axis=1)
    else:
        proven = mean[:, -1] > 1.645 * se[:, -1]
    assert 0.77 < proven.mean() < 0.85


def test_units_of_two_arms_are_counted_together():
    """The textbook's 2 (z_alpha + z_power)^2 s^2 / d^2 in each of two equal arms."""
    units = needed(0.01, Way("A/B", two_arms(0.5)), watched=False).observations
    assert units == pytest.approx(2 * 2 * (1.6449 + 0.8416) ** 2 * 0.25 / 1e-4, rel=1e-3)
    assert two_arms(1.0, 0.1) > two_arms(1.0, 0.5)


def test_the_smallest_detectable_difference_is_the_inverse():
    probes = needed(0.02, Way("probes", 0.4)).observations
    assert detectable(probes, 0.4) == pytest.approx(0.02, rel=1e-3)


def test_a_plan_puts_the_cheapest_way_first():
    ways = {"a": Way("probes", 0.3, 0.004), "b": Way("A/B", two_arms(0.45)), "c": Way("logs", 2.0)}
    found = plan(0.01, ways)
    assert [one.way for one in found] == ["A/B", "logs", "probes"]
    assert found[-1].usd == pytest.approx(0.004 * found[-1].observations)


def test_no_difference_has_no_size():
    with pytest.raises(ValueError, match="has no size"):
        needed(0.0, Way("probes", 0.3))
    with pytest.raises(ValueError, match="share = 1"):
        two_arms(0.3, 1)


@pytest.mark.parametrize("mean", [0.05, 0.15])
def test_probes_needed_for_a_decision_decide_four_in_five(mean):
    rng = np.random.default_rng(0)

    def draw(n):
        return rng.choice([-1.0, 0.0, 1.0], n, p=[0.15 - mean / 2, 0.7, 0.15 + mean / 2])

    # A first look whose mean and deviation are nearly the truth's foretells how many it takes in all.
    looks = [standing(draw(100)) for _ in range(200)]
    look = min((one for one in looks if one.for_decision is not None), key=lambda one: abs(one.mean - mean))
    total = look.probes + (look.for_decision or 0)
    decided = np.mean([standing(draw(total)).decided for _ in range(400)])
    assert 0.72 < decided < 0.88


def test_the_interval_covers_and_its_width_is_foretold():
    rng = np.random.default_rng(1)
    covered, widths = [], []
    for _ in range(300):
        first = rng.choice([-1.0, 0.0, 1.0], 60, p=[0.1, 0.7, 0.2])
        needed = standing(first, width=0.08)
        covered.append(needed.low <= 0.1 <= needed.high)
        more = rng.choice([-1.0, 0.0, 1.0], needed.for_width, p=[0.1, 0.7, 0.2])
        after = standing(np.concatenate([first, more]), width=0.08)
        widths.append((after.high - after.low) / 2)
    assert 0.92 <= np.mean(covered) <= 0.99
    assert np.mean(widths) == pytest.approx(0.08, abs=0.008)


def test_without_any_probe_the_guess_is_stated():
    needed = standing(np.array([np.nan]))
    assert needed.probes == 0
    assert needed.for_decision is None
    assert needed.more == needed.for_width > 500
    with pytest.raises(ValueError, match="width = 0"):
        standing(np.zeros(3), width=0)
