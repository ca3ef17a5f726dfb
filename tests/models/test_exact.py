"""Exact tests against MAPIE's learn-then-test, and against what they promise by simulation."""

import numpy as np
import pytest
from scipy.stats import binom

from models.exact import lower, needed, p_values, passed, upper

LOST = np.array([0, 2, 9, 31, 40, 52, 60])
ASKED = np.array([40, 80, 150, 400, 620, 800, 1000])
# mapie 1.6.0: compute_hoeffding_bentkus_p_value(lost / asked, asked, alpha, binary=True), whose Bentkus part is exact
# for a loss of 0 or 1; and control_fwer(p, delta, "fixed_sequence").
MAPIE_ALL = [
    5.29182274774502e-23, 7.60587380254187e-20, 5.242679137739215e-13, 0.0021958022437049913, 0.080636573256691,
    0.6486024357111527, 0.9329374813666919,
]  # fmt: skip
MAPIE_DIVERTED = [
    0.014780882941434557, 0.010683672797443988, 0.060046222763010915, 0.07457892717233014, 0.0012053902786022187,
    0.00031374937994310817, 4.378819902862784e-06,
]  # fmt: skip


def test_p_values_are_those_of_mapie():
    np.testing.assert_allclose(p_values(LOST, np.full(7, 1000), 0.05), MAPIE_ALL, rtol=1e-9)
    np.testing.assert_allclose(p_values(LOST, ASKED, 0.1), MAPIE_DIVERTED, rtol=1e-9)


def test_a_fixed_sequence_stops_where_mapie_stops():
    assert [passed(np.array(MAPIE_ALL), delta) for delta in (0.1, 0.01)] == [5, 4]
    assert [passed(np.array(MAPIE_DIVERTED), delta) for delta in (0.1, 0.01)] == [7, 0]
    assert passed(np.zeros(0), 0.1) == 0


def test_a_threshold_is_the_one_that_mapie_certifies():
    """The thresholds of mapie 1.6.0's BinaryClassificationController(fwer_method="fixed_sequence") on the same rows.

    A request is diverted where its score reaches the threshold; MAPIE was given the risk (lost and diverted), among all
    rows with a grid from .99, and among the diverted with a grid from .8.
    """
    rng = np.random.default_rng(5)
    score = rng.random(1200)
    would = rng.random(1200) < 0.3 * (1 - score)

    def boldest(start: float, of_all: bool, alpha: float) -> float | None:
        grid = np.round(np.arange(start, -0.005, -0.01), 2)
        diverted = score >= grid[:, None]
        asked = np.full(len(grid), 1200) if of_all else diverted.sum(axis=1)
        safe = passed(p_values((would & diverted).sum(axis=1), asked, alpha), 0.1)
        return float(grid[safe - 1]) if safe else None

    assert [boldest(0.99, True, alpha) for alpha in (0.05, 0.08)] == [0.46, 0.26]
    assert [boldest(0.8, False, alpha) for alpha in (0.05, 0.08, 0.1, 0.12)] == [0.77, 0.54, 0.39, 0.24]


def test_nothing_asked_is_no_evidence():
    assert p_values(0, 0, 0.05) == 1.0
    assert (upper(0, 0, 0.1), lower(0, 0, 0.1)) == (1.0, 0.0)


@pytest.mark.parametrize("lost", [0, 1, 7, 30])
def test_the_upper_bound_is_the_smallest_alpha_that_passes(lost):
    bound = upper(lost, 300, 0.1)
    assert p_values(lost, 300, bound + 1e-6) < 0.1 < p_values(lost, 300, bound - 1e-6)
    assert lower(lost, 300, 0.1) <= lost / 300 <= bound


def test_bounds_err_as_seldom_as_they_say():
    rng, worlds = np.random.default_rng(0), 4000
    drawn = rng.binomial(200, 0.07, size=worlds)
    for errs in (sum(upper(k, 200, 0.1) < 0.07 for k in drawn), sum(lower(k, 200, 0.1) > 0.07 for k in drawn)):
        assert errs <= binom.ppf(0.999, worlds, 0.1)
        assert errs > 0.02 * worlds, "and they are no looser than they must be"


def test_the_number_of_requests_that_would_do_is_the_smallest():
    assert needed(0.05, 0.05, 0.1) is None
    assert needed(0.04999999, 0.05, 0.1) is None, "more than anybody would ask"
    n = needed(0.03, 0.05, 0.1)
    passes = binom.cdf(np.flatnonzero(p_values(np.arange(n), n, 0.05) <= 0.1).max(), n, 0.03)
    assert passes >= 0.8
    assert n < needed(0.04, 0.05, 0.1)
