"""Intervals of weighted means: coverage where few rows carry the weight and outcomes are rare."""

import numpy as np
import pytest

from models.intervals import Terms, carriers, mean, weighted


def logs(rng, n, propensity, quality):
    """Terms of a policy that is matched with one probability, its weight the inverse, outcomes of one or zero."""
    weight = np.where(rng.uniform(size=n) < propensity, 1 / propensity, 0.0)
    residual = (rng.uniform(size=n) < quality) - quality
    return Terms(quality + weight * residual, weight, residual)


@pytest.mark.parametrize("quality", [0.5, 0.8, 0.93])
@pytest.mark.parametrize("expected", [8, 15, 50])
def test_rare_outcomes_among_few_heavy_rows_are_covered(quality, expected):
    rng = np.random.default_rng(expected)
    covered = plain = 0
    for _ in range(600):
        terms = logs(rng, 1000, expected / 1000, quality)
        found, naive = weighted(terms, None), mean(terms.contributions, None)
        covered += found.low <= quality <= found.high
        plain += naive.low <= quality <= naive.high
        assert found.value == naive.value
    assert covered / 600 >= 0.9
    if quality == 0.93 and expected < 50:
        assert plain / 600 < 0.85  # what a t interval does there


def test_with_many_carriers_it_is_the_t_interval():
    terms = logs(np.random.default_rng(0), 200_000, 0.1, 0.7)
    found, naive = weighted(terms, None), mean(terms.contributions, None)
    assert found.se == pytest.approx(naive.se, rel=0.003)


def test_rows_of_one_session_are_one_observation():
    terms = logs(np.random.default_rng(1), 500, 0.2, 0.7)
    twice = Terms(*(np.repeat(values, 2) for values in (terms.contributions, terms.weight, terms.residual)))
    sessions = np.repeat([f"s{i}" for i in range(500)], 2)
    assert weighted(twice, sessions).se == pytest.approx(weighted(terms, None).se, rel=0.01)
    assert carriers(twice.weight, sessions) == pytest.approx(carriers(terms.weight))
    assert carriers(twice.weight) == pytest.approx(2 * carriers(terms.weight))


def test_weightless_terms_have_a_plain_interval():
    values = np.random.default_rng(2).uniform(size=40)
    terms = Terms(values, np.zeros(40), values)
    assert weighted(terms, None) == mean(values, None)
    assert carriers(np.zeros(40)) == 0
