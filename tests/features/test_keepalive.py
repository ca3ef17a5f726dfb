"""Keeping a prompt cache alive: the break-even, the best number of reads, and rates of return with a known truth."""

import numpy as np
import pytest

from beastmode.candidates import Price
from features.keepalive import TURNS, PrefixPrices, keep_alive, return_rates

ANTHROPIC = PrefixPrices(1.25, 0.1)


def test_one_read_pays_from_the_break_even_on():
    assert ANTHROPIC.break_even == pytest.approx(0.1 / 1.15)
    above, below = (np.array([ANTHROPIC.break_even + d]) for d in (1e-6, -1e-6))
    assert keep_alive(above, ANTHROPIC).reads == 1
    assert keep_alive(below, ANTHROPIC) == keep_alive(np.array([0.0]), ANTHROPIC)
    assert keep_alive(below, ANTHROPIC).reads == 0


def test_a_poor_period_is_bridged_where_a_good_one_follows():
    # Alone the first period loses; the certain return of the second is worth the two reads.
    assert keep_alive(np.array([0.01, 1.0]), ANTHROPIC).reads == 2
    assert keep_alive(np.array([0.01, 0.01]), ANTHROPIC).reads == 0
    assert keep_alive(np.array([0.5, 0.01]), ANTHROPIC).reads == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_saving_is_that_of_the_best_rule_in_a_simulation(seed):
    rng = np.random.default_rng(seed)
    returns = rng.uniform(0, 0.3, 6)
    found = keep_alive(returns, ANTHROPIC)

    def earned(reads: int) -> float:
        came = rng.random((200_000, 6)) < returns
        period = np.where(came.any(axis=1), came.argmax(axis=1), 6)
        paid = np.minimum(period + 1, reads) * ANTHROPIC.read
        return float(np.mean((period < reads) * (ANTHROPIC.write - ANTHROPIC.read) - paid))

    rules = [earned(reads) for reads in range(7)]
    assert found.saving == pytest.approx(max(rules), abs=0.005)
    assert rules[found.reads] == pytest.approx(max(rules), abs=0.005)


def test_rates_of_return_are_calibrated_where_the_truth_is_known_and_silences_are_cut_short():
    rng = np.random.default_rng(5)
    truth, n = 0.3, 4000
    sessions, at = [], []
    for session in range(n):
        moment = rng.uniform(0, 5000)
        for _ in range(5):
            sessions.append(session)
            at.append(moment)
            if rng.random() < 0.2:  # gone for good
                break
            moment += 300 * (rng.geometric(truth) - 1) + rng.uniform(0, 300)
    moments = np.array(at)
    now = 6000.0
    kept = moments <= now
    rates = return_rates(np.array(sessions)[kept], moments[kept], now, 300.0, 3)
    assert rates.shape == (TURNS, 3)
    # Of those silent for j periods, a share of q is gone: P = truth (1 - gone).
    gone = 0.2
    for j in range(3):
        silent = 0.8 * (1 - truth) ** j
        expected = truth * silent / (silent + gone)
        assert rates[0, j] == pytest.approx(expected, abs=0.03)


def test_a_period_that_nobody_reached_promises_no_more_than_the_last_one():
    rates = return_rates(np.array([0, 0]), np.array([0.0, 10.0]), 20.0, 300.0, 3)
    assert rates[0].tolist() == [0.75, 0.75, 0.75]
    # The second turn has been silent for less than a period: nothing is known of it.
    assert rates[1].tolist() == [0.0, 0.0, 0.0]


def test_prices_come_from_the_catalogue_or_not_at_all():
    found = PrefixPrices.of(Price(3.0, 15.0, cache_read_per_mtok=0.3, cache_write_per_mtok=3.75))
    assert found is not None
    assert (found.write, found.read) == (pytest.approx(1.25), pytest.approx(0.1))
    automatic = PrefixPrices.of(Price(2.0, 8.0, cache_read_per_mtok=0.5))
    assert automatic == PrefixPrices(1.0, 0.25)
    assert PrefixPrices.of(Price(2.0, 8.0)) is None
    assert PrefixPrices.of(Price(2.0, 8.0, cache_read_per_mtok=2.0)) is None
    with pytest.raises(ValueError, match="saves nothing"):
        PrefixPrices(0.1, 0.1)


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="probabilities"):
        keep_alive(np.array([1.5]), ANTHROPIC)
    with pytest.raises(ValueError, match="positive"):
        return_rates(np.zeros(1, np.int64), np.zeros(1), 1.0, 0.0, 1)
