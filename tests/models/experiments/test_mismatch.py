"""Shares of arms: false alarms, power, ramps, and GrowthBook's chi-square."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import beta, binom

from models.experiments.mismatch import CONCENTRATION, chi_square, log_e, mismatch

# check_srm of gbstats 0.8.0, computed once in a separate environment in November 2026.
CHECK_SRM = [
    ([4800, 5200], [0.5, 0.5], 6.334248366623988e-05),
    ([1000, 1100, 950], [1, 1, 1], 0.0032221549052224925),
    ([90, 10], [0.9, 0.1], 1.0),
    ([9123, 1090], [0.9, 0.1], 0.023451731186636803),
]
LOOKS = np.arange(100, 10_001, 100)


@pytest.mark.parametrize(("counts", "shares", "p"), CHECK_SRM)
def test_the_chi_square_is_growthbooks(counts, shares, p):
    assert chi_square(counts, shares) == pytest.approx(p, abs=1e-9)


def test_the_e_value_is_the_ratio_of_marginal_likelihoods():
    grid = (np.arange(200_000) + 0.5) / 200_000
    prior = beta.logpdf(grid, CONCENTRATION * 0.3, CONCENTRATION * 0.7) - np.log(200_000)
    mixed = logsumexp(prior + binom.logpmf(330, 1000, grid))
    assert float(log_e([330, 670], [0.3, 0.7])) == pytest.approx(mixed - binom.logpmf(330, 1000, 0.3), abs=1e-4)


def dealt(rng, share, n=10_000):
    return rng.random(n) < share


def test_false_alarms_are_as_rare_as_promised_with_a_look_every_hundred_units():
    rng = np.random.default_rng(1)
    alarms = [mismatch(dealt(rng, 0.5), np.full(10_000, 0.5), LOOKS).alarm(0.05, ended=True).any() for _ in range(400)]
    assert np.mean(alarms) <= 0.05 + 2 * 0.011


def test_a_deal_of_48_to_52_is_found():
    rng = np.random.default_rng(2)
    found = [
        mismatch(dealt(rng, 0.48, 20_000), np.full(20_000, 0.5), LOOKS * 2).alarm(0.01, ended=True).any()
        for _ in range(200)
    ]
    assert np.mean(found) >= 0.98


def test_a_ramp_is_no_mismatch_and_a_broken_stage_is():
    rng = np.random.default_rng(3)
    share = np.repeat([0.05, 0.2, 0.5], [3000, 3000, 4000])
    fair = [mismatch(rng.random(10_000) < share, share, LOOKS).alarm(0.05, ended=True).any() for _ in range(200)]
    assert np.mean(fair) <= 0.08
    stuck = np.where(share == 0.5, 0.45, share)  # the last step of the ramp arrived in part of the fleet only
    assert mismatch(rng.random(10_000) < stuck, share, LOOKS).alarm(0.01, ended=True)[-1]


def test_an_alarm_stays():
    rng = np.random.default_rng(4)
    challenger = np.concatenate([rng.random(4000) < 0.4, rng.random(6000) < 0.57])
    alarm = mismatch(challenger, np.full(10_000, 0.5), LOOKS).alarm(0.01, ended=False)
    assert alarm[39]
    assert alarm[-1]


def test_an_arm_without_a_share_is_refused():
    with pytest.raises(ValueError, match="above zero"):
        log_e([3, 0], [1.0, 0.0])
    assert chi_square([0, 0], [0.5, 0.5]) == 1
