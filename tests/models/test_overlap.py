"""Refusals: each fires for its own reason, names the remedy, and errs as seldom as it should."""

import re

import numpy as np
import pytest

from models.intervals import Terms, weighted
from models.overlap import overlap, refusal

NAMES = ("cheap", "middle", "dear")


def log(rng, n, chances):
    """Served columns and propensities of a logging policy that does not look at the request."""
    served = rng.choice(len(chances), size=n, p=chances)
    return served, np.array(chances)[served]


def always(n, column, m=3):
    return np.tile(np.eye(m)[column], (n, 1))


def judged(policy, served, propensity, residual, **rules):
    weight = policy[np.arange(len(served)), served] / propensity
    found = overlap(policy, served, propensity)
    return found, refusal(
        found, residual, weighted(Terms(weight * residual, weight, residual), None).se, NAMES, **rules
    )


def test_what_logged_rows_say_is_counted():
    served, propensity = np.array([0, 0, 1, 2]), np.array([0.5, 0.5, 0.25, 0.25])
    policy = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1.0]])
    found = overlap(policy, served, propensity, clusters=np.array(["a", "b", "c", "c"]))
    assert (found.n, found.matched, found.largest, found.mean_weight) == (4, 2, 4.0, 2.5)
    assert found.effective == pytest.approx(10**2 / 36)
    assert found.carriers == pytest.approx(36**2 / (4**2 + 32**2))  # of sessions
    assert found.largest_share == 0.4
    assert (found.thinnest, found.thinnest_mass, found.thinnest_rows) == (1, 0.5, 1)


@pytest.mark.parametrize("expected", [1.5, 3, 20, 40])
def test_too_few_carriers_are_refused_and_enough_are_not(expected):
    rng, refused = np.random.default_rng(1), 0
    for _ in range(200):
        served, propensity = log(rng, 1000, (1 - 2 * expected / 1000, expected / 1000, expected / 1000))
        _, why = judged(always(1000, 2), served, propensity, rng.uniform(-0.5, 0.5, 1000))
        refused += why is not None
    assert refused / 200 >= 0.75 if expected <= 3 else refused / 200 <= 0.02


def test_the_remedy_is_about_right():
    rng = np.random.default_rng(2)
    served, propensity = log(rng, 1000, (0.994, 0.003, 0.003))
    found, why = judged(always(1000, 2), served, propensity, rng.uniform(-0.5, 0.5, 1000))
    assert why is not None
    assert f"100% of what is asked about goes to dear, which served {found.thinnest_rows} of 1,000" in why
    more = int(re.search(r"About ([\d,]+) more requests", why).group(1).replace(",", ""))
    settled = 0
    for _ in range(100):
        served, propensity = log(rng, 1000 + 2 * more, (0.994, 0.003, 0.003))
        n = len(served)
        settled += judged(always(n, 2), served, propensity, rng.uniform(-0.5, 0.5, n))[1] is None
    assert settled >= 80


def test_a_policy_that_was_never_seen_is_refused_without_a_made_up_number():
    served, propensity = np.zeros(500, dtype=np.intp), np.ones(500)
    _, why = judged(always(500, 2), served, propensity, np.full(500, 0.1))
    assert "0.0 of 500 logged requests" in why
    assert "Probe some hundred requests" in why


def test_a_part_that_the_log_cannot_see_is_refused_once_it_matters():
    rng = np.random.default_rng(3)
    served, propensity = log(rng, 2000, (0.5, 0.5, 0.0))
    residual = rng.uniform(-0.5, 0.5, 2000)
    for share, fires in ((0.2, True), (0.001, False)):
        policy = np.tile([0.5 - share / 2, 0.5 - share / 2, share], (2000, 1))
        found, why = judged(policy, served, propensity, residual)
        assert found.unsupported == pytest.approx(share)
        assert (why is not None and "the log never asked" in why) == fires


def test_known_zeros_of_the_logging_policy_are_unsupported_even_where_the_candidate_served_others():
    rng = np.random.default_rng(4)
    chances = np.where(np.arange(1000)[:, None] < 500, [0.5, 0.5, 0.0], [0.2, 0.2, 0.6])
    served = (chances.cumsum(axis=1) < rng.uniform(size=(1000, 1))).sum(axis=1)
    found = overlap(always(1000, 2), served, chances[np.arange(1000), served], probabilities=chances)
    assert found.unsupported == 0.5
    assert overlap(always(1000, 2), served, chances[np.arange(1000), served]).unsupported == 0


def test_wrong_propensities_are_noticed_and_right_ones_are_not():
    rng, alarms = np.random.default_rng(5), 0
    for _ in range(300):
        served, propensity = log(rng, 1000, (0.6, 0.2, 0.2))
        alarms += judged(always(1000, 1), served, propensity, rng.uniform(-0.5, 0.5, 1000))[1] is not None
    assert alarms <= 2
    served, propensity = log(rng, 1000, (0.6, 0.2, 0.2))
    _, why = judged(always(1000, 1), served, propensity / 2, rng.uniform(-0.5, 0.5, 1000))
    assert "logged propensities are too small" in why


def test_an_effective_sample_may_be_asked_for():
    served, propensity = log(np.random.default_rng(6), 300, (0.8, 0.1, 0.1))
    found, why = judged(always(300, 1), served, propensity, np.full(300, 0.3), min_effective=50)
    assert found.effective < 50
    assert "and 50 are asked for" in why


def test_two_policies_that_mostly_agree_rest_on_where_they_differ():
    served, propensity = log(np.random.default_rng(7), 1000, (0.98, 0.01, 0.01))
    plus, minus = always(1000, 0), always(1000, 0)
    plus[:3] = [0, 0, 1]
    assert overlap(plus, served, propensity).carriers > 900
    assert overlap(plus - minus, served, propensity).carriers < 5
