"""Bounds under hidden reasons: optimal among all weights allowed, and as wide as the confounding needs."""

import numpy as np
import pytest
from scipy.optimize import linprog

from models.intervals import Terms
from models.offpolicy import log
from models.sensitivity import MOST, sensitivity, withstands
from tests.models.logs import world

DEAR, CHEAP = np.eye(3)[2], np.eye(3)[0]


@pytest.mark.parametrize("difference", [False, True], ids=["value", "difference"])
def test_sorting_finds_the_best_of_all_weights(difference):
    rng = np.random.default_rng(0)
    residual, propensity = rng.normal(size=12), rng.uniform(0.2, 0.9, 12)
    policy = rng.uniform(-1 if difference else 0, 1, size=12)
    weight, base = policy / propensity, rng.normal(size=12)
    found = sensitivity(Terms(base + weight * residual, weight, residual), propensity, 2.0)
    odds = 1 / propensity - 1
    ends = np.sort([policy * (1 + odds / 2), policy * (1 + odds * 2)], axis=0).T
    total = {"A_eq": np.ones((1, 12)), "b_eq": [weight.sum()]}
    best = [base.mean() - sign * linprog(-sign * residual, **total, bounds=ends).fun / 12 for sign in (-1, 1)]
    assert (found.lowest, found.highest) == pytest.approx(best)
    assert found.low < found.lowest < found.highest < found.high


@pytest.mark.parametrize("strength", [1.0, 1.5, 2.5])
def test_confounding_as_strong_as_stated_is_covered(strength):
    rng, covered, naive = np.random.default_rng(1), 0, 0
    dear = np.tile(DEAR, (1500, 1))
    true = world(np.random.default_rng(2), 400_000).mean[:, 2].mean()
    for seed in range(60):
        drawn = world(rng, 1500, hidden=strength)
        known = log(drawn.table, drawn.table.quality, drawn.features, seed=seed)
        terms = known.terms(dear)
        found = sensitivity(terms, known.propensity, strength)
        covered += found.low <= true <= found.high
        ignorant = sensitivity(terms, known.propensity, 1.0)
        naive += ignorant.low <= true <= ignorant.high
    assert covered >= 54
    if strength > 2:
        assert naive <= 6  # whoever trusts the stated propensities is misled


def test_a_difference_under_confounding_is_covered_and_its_sign_withstands_no_more_than_there_is():
    """The dear candidate is truly better by 2/30; users who know when it will be right make it look better still."""
    rng, covered, fooled, true = np.random.default_rng(4), 0, 0, 0.2 / 3
    for seed in range(60):
        drawn = world(rng, 1500, hidden=2.0)
        known = log(drawn.table, drawn.table.quality, drawn.features, seed=seed)
        terms = known.terms(np.tile(DEAR, (1500, 1))) - known.terms(np.tile(CHEAP, (1500, 1)))
        found = sensitivity(terms, known.propensity, 2.0)
        covered += found.low <= true <= found.high
        fooled += sensitivity(terms, known.propensity, 1.0).low > true
    assert covered >= 54
    assert fooled > 30


def test_bounds_widen_with_the_factor_and_meet_at_one():
    drawn = world(np.random.default_rng(3), 500)
    known = log(drawn.table, drawn.table.quality, drawn.features, seed=0)
    terms = known.terms(drawn.target)
    one, two, three = (sensitivity(terms, known.propensity, f) for f in (1.0, 1.5, 3.0))
    assert one.lowest == pytest.approx(one.highest) == pytest.approx(terms.contributions.mean())
    assert three.lowest < two.lowest < one.lowest < two.highest < three.highest
    with pytest.raises(ValueError, match=r"a factor of 0\.5 on the odds"):
        sensitivity(terms, known.propensity, 0.5)


def test_what_a_conclusion_withstands_is_where_its_interval_reaches_zero():
    rng = np.random.default_rng(5)
    n = 2000
    residual, propensity = rng.normal(0.3, 1.0, n), rng.uniform(0.2, 0.8, n)
    weight = np.where(rng.uniform(size=n) < 0.5, 1.0, -1.0) / propensity
    terms = Terms(weight * residual + 0.3, weight, residual)
    factor = withstands(terms, propensity)
    assert 1.05 < factor < MOST
    assert sensitivity(terms, propensity, factor).low > 0
    assert sensitivity(terms, propensity, factor + 0.01).low < 0
    nothing = Terms(terms.contributions - terms.contributions.mean(), weight, residual)
    assert withstands(nothing, propensity) == 1.0
    sure = Terms(np.full(n, 1.0), np.zeros(n), residual)
    assert withstands(sure, propensity) == MOST
