"""Bounds under hidden reasons: optimal among all weights allowed, and as wide as the confounding needs."""

import itertools

import numpy as np
import pytest

from models.intervals import Terms
from models.offpolicy import log
from models.sensitivity import sensitivity
from tests.models.logs import world


def test_sorting_finds_the_best_of_all_corners():
    rng = np.random.default_rng(0)
    residual, propensity, policy = rng.normal(size=9), rng.uniform(0.2, 0.9, 9), rng.uniform(size=9)
    weight = policy / propensity
    base = rng.normal(size=9)
    found = sensitivity(Terms(base + weight * residual, weight, residual), policy, propensity, 2.0)
    odds = 1 / propensity - 1
    corners = [
        base.mean() + np.average(residual, weights=policy * (1 + odds * np.array(corner)))
        for corner in itertools.product((0.5, 2.0), repeat=9)
    ]
    assert (found.lowest, found.highest) == pytest.approx((min(corners), max(corners)))
    assert found.low < found.lowest < found.highest < found.high


@pytest.mark.parametrize("strength", [1.0, 1.5, 2.5])
def test_confounding_as_strong_as_stated_is_covered(strength):
    rng, covered, naive = np.random.default_rng(1), 0, 0
    dear = np.tile([0.0, 0.0, 1.0], (1500, 1))
    true = world(np.random.default_rng(2), 400_000).mean[:, 2].mean()
    for seed in range(60):
        drawn = world(rng, 1500, hidden=strength)
        known = log(drawn.table, drawn.table.quality, drawn.features, seed=seed)
        chosen = (drawn.table.served == 2).astype(float)
        found = sensitivity(known.terms(dear), chosen, known.propensity, strength)
        covered += found.low <= true <= found.high
        ignorant = sensitivity(known.terms(dear), chosen, known.propensity, 1.0)
        naive += ignorant.low <= true <= ignorant.high
    assert covered >= 54
    if strength > 2:
        assert naive <= 6  # whoever trusts the stated propensities is misled


def test_bounds_widen_with_the_factor_and_meet_at_one():
    drawn = world(np.random.default_rng(3), 500)
    known = log(drawn.table, drawn.table.quality, drawn.features, seed=0)
    chosen = drawn.target[np.arange(500), drawn.table.served]
    one, two, three = (
        sensitivity(known.terms(drawn.target), chosen, known.propensity, f) for f in (1.0, 1.5, 3.0)
    )  # fmt: skip
    assert one.lowest == pytest.approx(one.highest)
    assert three.lowest < two.lowest < one.lowest < two.highest < three.highest
    with pytest.raises(ValueError, match=r"a factor of 0\.5 on the odds"):
        sensitivity(known.terms(drawn.target), chosen, known.propensity, 0.5)
