"""Choosing prefills: only what saves more than it costs, near the best that a budget allows."""

from itertools import combinations

import numpy as np
import pytest

from models.prefills import choose, useful


def arrays(*values):
    return [np.asarray(value, dtype=np.float64) for value in values]


def test_a_prefill_at_the_price_of_a_miss_never_pays_by_money_alone():
    p, usd, zero = arrays([0.1, 0.9, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    found = choose(p, usd, usd, zero, budget_usd=10, most=10)
    assert (found.rows.tolist(), found.worthless) == ([], 3)
    # At half the price (a batch interface) those that are likely enough do.
    assert choose(p, usd, usd / 2, zero, budget_usd=10, most=10).rows.tolist() == [2, 1]


def test_the_wait_that_a_hit_spares_may_be_worth_a_prefill():
    p, usd, worth = arrays([0.2, 0.6], [1.0, 1.0], [1.0, 1.0])
    found = choose(p, usd, usd, worth, budget_usd=10, most=10)
    assert found.rows.tolist() == [1]
    assert found.saving_usd.tolist() == [pytest.approx(1.2)]


@pytest.mark.parametrize("seed", range(5))
def test_the_budget_holds_and_the_value_is_within_one_item_of_the_best(seed):
    rng = np.random.default_rng(seed)
    n = 10
    p, miss, hit = rng.random(n), rng.random(n), rng.random(n)
    cost = miss * rng.uniform(0.3, 1, n)
    found = choose(p, miss, cost, hit, budget_usd=1.0, most=4)
    assert found.cost_usd.sum() <= 1.0
    assert len(found.rows) <= 4
    net = p * (miss + hit) - cost
    best = max(
        sum(net[list(rows)])
        for size in range(5)
        for rows in combinations(range(n), size)
        if sum(cost[list(rows)]) <= 1.0
    )
    assert best - net[found.rows].sum() <= max(net.max(), 0) + 1e-12
    assert found.worthless == (net <= 0).sum()
    assert found.worthless + found.beyond + len(found.rows) == n


def test_what_has_no_price_is_never_taken():
    p, usd, worth = arrays([0.9, 0.9], [np.nan, 1.0], [5.0, 5.0])
    assert choose(p, usd, usd, worth, budget_usd=10, most=10).rows.tolist() == [1]


def test_the_part_of_a_window_that_is_not_covered_has_its_share_of_the_requests():
    rng = np.random.default_rng(1)
    rate, n = 1.3, 100_000
    counts = rng.poisson(rate, n)
    p = 1 - np.exp(-rate)
    late = rng.binomial(counts, 0.25) > 0
    assert useful(np.array([p]), np.array([0.25]))[0] == pytest.approx(late.mean(), abs=0.005)
    assert useful(np.array([p]), np.array([0.0]))[0] == 0
    assert useful(np.array([p]), np.array([1.0]))[0] == pytest.approx(p)
