"""Operating points and savings: the least cost whose lower bound keeps the quality, and what hindsight would say."""

import numpy as np
import pytest

from models.operating import operating_points, prices
from models.savings import Frontier, paired_ratio
from models.values import NEVER, decide, earned

RATIOS = (0.9, 0.97, 1.0)


def world(n=4000, seed=0):
    """A dear candidate that is right on all, and a cheap one that is right on the easy two thirds."""
    rng = np.random.default_rng(seed)
    easy = rng.random(n) < 2 / 3
    quality = np.stack([np.full(n, 0.95), np.where(easy, 0.95, 0.2)], axis=1)
    cost = np.tile([0.01, 0.001], (n, 1))
    expected = quality + rng.normal(0, 0.1, quality.shape)
    return quality, cost, expected


def test_points_keep_what_they_promise_and_save_more_for_less():
    quality, cost, expected = world()
    trades = operating_points(expected, cost, quality, cost, 0, RATIOS, 1.0)
    assert [trade.point.quality_ratio for trade in trades] == list(RATIOS)
    assert [trade.saving for trade in trades] == sorted((trade.saving for trade in trades), reverse=True)
    for trade in trades:
        assert trade.ratio >= trade.point.quality_ratio
    assert trades[0].saving > 0.55
    # On rows that the point was not fixed on, the policy that it names does the same.
    fresh_quality, fresh_cost, fresh_expected = world(seed=1)
    point = trades[1].point
    choice = decide(fresh_expected - point.per_dollar * fresh_cost, 0, point.margin)
    assert earned(fresh_quality, choice).mean() / 0.95 >= 0.96
    assert 1 - earned(fresh_cost, choice).mean() / 0.01 == pytest.approx(trades[1].saving, abs=0.03)


def test_nothing_cheaper_that_holds_means_the_incumbent():
    rng = np.random.default_rng(0)
    quality = np.stack([np.ones(200), (rng.random(200) < 0.3).astype(float)], axis=1)
    cost = np.tile([0.01, 0.001], (200, 1))
    trade = operating_points(np.tile([1.0, 0.3], (200, 1)), cost, quality, cost, 0, (0.99,), 1.0)[0]
    assert (trade.point.margin, trade.point.incumbent, trade.saving, trade.ratio) == (NEVER, 0, 0.0, 1.0)


def test_equal_costs_leave_one_price_to_try():
    assert prices(np.random.default_rng(0).random((5, 2)), np.full((5, 2), 0.01)).tolist() == [0.0]


def test_paired_ratio_and_its_error():
    rng = np.random.default_rng(0)
    held = rng.random(20_000) + 0.5
    ratio = paired_ratio(0.9 * held + rng.normal(0, 0.3, 20_000), held)
    assert ratio.mean == pytest.approx(0.9, abs=4 * ratio.se)
    assert ratio.se == pytest.approx(0.3 / np.sqrt(20_000), rel=0.05)


def test_hindsight_mixes_and_the_zero_router_does_not_look():
    quality, cost, expected = world()
    frontier = Frontier.of(quality, cost, expected, cost, 0)
    assert frontier.hindsight(1.0) > 0.5
    assert frontier.hindsight(0.9) >= frontier.hindsight(0.97) >= frontier.hindsight(1.0)
    # Mixing the two at random: quality falls by share * 0.25 / 0.95 and cost by share * 0.9.
    loss = (0.95 - quality[:, 1].mean()) / 0.95
    assert frontier.zero_router(0.95) == pytest.approx(0.05 / loss * 0.9, abs=1e-6)
    assert frontier.zero_router(1.0) == pytest.approx(0.0, abs=1e-9)
