"""Intervals of p95 latency: covered once and at every look, clustered or not."""

import numpy as np
import pytest
from scipy.stats import norm

from models.experiments.guardrails import _design_effect
from models.experiments.quantiles import _weighted, always, once

TRUE = float(np.exp(6 + 0.8 * 1.6448536269514722))


def latencies(rng, *shape):
    return np.exp(6 + 0.8 * rng.normal(size=shape))


@pytest.mark.parametrize("n", [100, 700])
def test_order_statistics_cover_once(n):
    rng = np.random.default_rng(n)
    bounds = np.array([once(latencies(rng, n), 0.95, 0.1) for _ in range(1500)])
    covered = ((bounds[:, 1] <= TRUE) & (bounds[:, 2] >= TRUE)).mean()
    assert 0.9 - 2 * 0.008 <= covered <= 0.96
    assert (bounds[:, 1] <= bounds[:, 0]).all()


def test_the_sequence_covers_at_every_look_and_one_look_does_not():
    rng = np.random.default_rng(2)
    looks = np.arange(50, 2001, 50)
    missed, peeked = [], []
    for _ in range(250):
        values = latencies(rng, 2000)
        _, low, high = always(values, 0.95, [0.1], looks)
        missed.append(((low > TRUE) | (high < TRUE)).any())
        fixed = [once(values[:n], 0.95, 0.1) for n in looks[::4]]
        peeked.append(any(not low <= TRUE <= high for _, low, high in fixed))
    assert np.mean(missed) <= 0.1 + 2 * 0.019
    assert np.mean(peeked) > 0.2
    assert low[0, -1] > 0.75 * TRUE
    assert high[0, -1] < 1.35 * TRUE


def test_the_sequence_covers_with_units_whose_requests_are_alike():
    """Five requests a unit; by rows alone it misses far too often."""
    rng = np.random.default_rng(5)
    looks = np.arange(100, 1501, 100)
    missed, naive = [], []
    for _ in range(150):
        unit = np.repeat(np.arange(300), 5)
        values = np.exp(6 + 0.8 * (0.8 * rng.normal(size=300)[unit] + 0.6 * rng.normal(size=1500)))
        spread = _design_effect(values, unit.astype(str))
        for found, effect in ((missed, spread), (naive, 1.0)):
            _, low, high = always(values, 0.95, [0.1], looks, effect)
            found.append(((low > TRUE) | (high < TRUE)).any())
    assert np.mean(missed) <= 0.1 + 2 * 0.0245
    assert np.mean(naive) > np.mean(missed) + 0.05


def test_the_sequence_covers_what_its_weights_ask_for():
    """One value in five is of a slow kind, which shall count four times as much: half of the weight."""
    rng = np.random.default_rng(6)
    looks = np.arange(100, 2001, 100)
    mixed = np.exp(6 + np.linspace(0, 4, 40_001))
    true = mixed[np.searchsorted((norm.cdf((np.log(mixed) - 6) / 0.8) + norm.cdf((np.log(mixed) - 7) / 0.8)) / 2, 0.95)]
    missed, plain = [], []
    for _ in range(150):
        slow = rng.random(2000) < 0.2
        values = latencies(rng, 2000) * np.where(slow, np.e, 1.0)
        for found, weights in ((missed, np.where(slow, 4.0, 1.0)), (plain, None)):
            _, low, high = always(values, 0.95, [0.1], looks, weights=weights)
            found.append(((low > true) | (high < true)).any())
    assert np.mean(missed) <= 0.1 + 2 * 0.0245
    assert np.mean(plain) > 0.5


def test_equal_weights_change_nothing():
    values = latencies(np.random.default_rng(7), 700)
    looks = np.array([0, 5, 60, 700])
    for one, other in zip(
        always(values, 0.95, [0.1, 0.05], looks),
        _weighted(values, 0.95, [0.1, 0.05], looks, 1.0, np.full(700, 3.0)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_a_design_effect_widens_the_bounds():
    values = latencies(np.random.default_rng(3), 3000)
    looks = np.array([3000])
    _, low, high = always(values, 0.95, [0.1], looks)
    _, wide_low, wide_high = always(values, 0.95, [0.1], looks, spread=3.0)
    assert wide_low[0, 0] < low[0, 0] < high[0, 0] < wide_high[0, 0]


def test_too_few_values_bound_nothing():
    assert once(np.zeros(0), 0.95, 0.1)[1:] == (-np.inf, np.inf)
    assert once(np.arange(5.0), 0.95, 0.1)[2] == np.inf
    middle, low, high = always(np.arange(5.0), 0.95, [0.1], np.array([0, 5]))
    assert np.isnan(middle[0])
    assert (low[0, 0], high[0, 1]) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="q = 95"):
        once(np.arange(5.0), 95, 0.1)
