"""Every estimator and its interval against worlds whose truth is known."""

import numpy as np
import pytest

from features.table import Table
from models.estimators import ESTIMATORS, EvaluationRefused, Masses, contrast, ips, mean, switch

M = 4


def world(rng, n, *, logged=1.0, epsilon=0.3, sessions=None, known=True):
    """A table of n requests: quality depends on a hidden difficulty; logging is epsilon-greedy around candidate 0."""
    difficulty = rng.uniform(size=n)
    truth = np.clip(0.9 - 0.6 * difficulty[:, None] + np.array([0.0, 0.1, -0.1, 0.05]), 0, 1)
    outcome = (rng.uniform(size=(n, M)) < truth).astype(float)
    served = np.where(rng.uniform(size=n) < epsilon, rng.integers(M, size=n), 0)
    propensity = np.where(served == 0, 1 - epsilon + epsilon / M, epsilon / M)
    only_logged = rng.uniform(size=n) < logged
    quality = outcome.copy()
    mask = only_logged[:, None] & (np.arange(M) != served[:, None])
    quality[mask] = np.nan
    ids = np.array([f"r{i}" for i in range(n)])
    empty = np.full((n, M), np.nan)
    table = Table(
        candidates=tuple("abcd"),
        request_ids=ids,
        texts=tuple(ids),
        at=np.datetime64("2026-01-01", "us") + np.arange(n).astype("timedelta64[s]"),
        sessions=ids if sessions is None else np.array([f"s{i}" for i in sessions]),
        input_tokens=np.full(n, 10.0),
        quality=quality,
        cost_usd=empty,
        latency_ms=empty,
        output_tokens=empty,
        served=served,
        propensity=propensity if known else np.full(n, np.nan),
        probed=~only_logged,
    )
    # The target prefers candidate 1 for what is hard, and mixes a little.
    target = np.full((n, M), 0.05)
    target[np.arange(n), np.where(difficulty > 0.5, 1, 3)] = 0.85
    return table, target, float((target * truth).sum(axis=1).mean()), truth


def one_hot(n, column):
    probabilities = np.zeros((n, M))
    probabilities[:, column] = 1
    return probabilities


def test_what_neither_policy_asks_need_not_be_known():
    table, _, _, _ = world(np.random.default_rng(5), 400, logged=0.0)
    known = contrast(table, table.quality, one_hot(400, 0), one_hot(400, 1))
    quality = table.quality.copy()
    quality[:390, 3] = np.nan
    assert contrast(table, quality, one_hot(400, 0), one_hot(400, 1)) == known
    with pytest.raises(EvaluationRefused):
        contrast(table, quality, one_hot(400, 0), one_hot(400, 3))


HONEST = ("ips", "snips", "dr")
"""Whose intervals hold whatever the regression."""


@pytest.mark.parametrize("estimator", HONEST)
@pytest.mark.parametrize("logged", [1.0, 0.8, 0.0], ids=["logs", "logs and probes", "probes"])
def test_the_interval_covers_the_truth_as_often_as_it_says(estimator, logged):
    rng = np.random.default_rng(11)
    _, _, population, _ = world(np.random.default_rng(1), 400_000, logged=logged)
    covered, errors = 0, []
    for _ in range(400):
        table, target, _, truth = world(rng, 600, logged=logged)
        wrong = truth + 0.1  # a regression that is off by ten points: DR must not care
        estimate = contrast(table, table.quality, target, expected=wrong, estimator=estimator)
        covered += estimate.low <= population <= estimate.high
        errors.append(estimate.value - population)
    bias = np.mean(errors)
    assert abs(bias) < 4 * np.std(errors) / np.sqrt(len(errors)) + 0.002
    assert 0.92 <= covered / 400 <= 0.985


def test_a_paired_difference_covers_and_is_sharper_than_two_separate_intervals():
    rng = np.random.default_rng(5)
    _, _, population, truth = world(np.random.default_rng(2), 400_000, logged=0.0)
    population -= truth[:, 1].mean()
    covered, paired, separate = 0, [], []
    for _ in range(300):
        table, target, _, _ = world(rng, 400, logged=0.0)
        difference = contrast(table, table.quality, target, one_hot(400, 1))
        covered += difference.low <= population <= difference.high
        paired.append(difference.se)
        alone = contrast(table, table.quality, target), contrast(table, table.quality, one_hot(400, 1))
        separate.append(np.hypot(alone[0].se, alone[1].se))
    assert 0.91 <= covered / 300 <= 0.985
    assert np.mean(paired) < 0.9 * np.mean(separate)


def test_a_good_regression_narrows_the_doubly_robust_interval():
    rng = np.random.default_rng(3)
    table, target, _, truth = world(rng, 4000)
    with_model = contrast(table, table.quality, target, expected=truth)
    assert with_model.se < contrast(table, table.quality, target, estimator="ips").se


def test_errors_are_clustered_by_session():
    """Rows that repeat each other within a session must not count as independent."""
    rng = np.random.default_rng(4)
    covered_clustered = covered_naive = 0
    for _ in range(300):
        base = rng.normal(size=60)
        values = np.repeat(base, 10)
        sessions = np.repeat([f"s{i}" for i in range(60)], 10)
        clustered = mean(values, sessions)
        naive = mean(values, np.array([str(i) for i in range(600)]))
        covered_clustered += clustered.low <= 0 <= clustered.high
        covered_naive += naive.low <= 0 <= naive.high
    assert 0.91 <= covered_clustered / 300 <= 0.985
    assert covered_naive / 300 < 0.7


def test_unknown_propensities_are_refused_with_the_remedy():
    table, target, _, _ = world(np.random.default_rng(6), 500, known=False)
    with pytest.raises(EvaluationRefused, match=r"propensity of 500 of 500 .* is unknown .* probe at least 30"):
        contrast(table, table.quality, target)


def test_too_little_overlap_is_refused():
    table, target, _, _ = world(np.random.default_rng(7), 300, epsilon=0.02)
    with pytest.raises(EvaluationRefused, match="too little overlap"):
        contrast(table, table.quality, target)


def test_policies_that_decide_alike_differ_by_exactly_nothing():
    table, target, _, _ = world(np.random.default_rng(8), 600, logged=0.8)
    same = contrast(table, table.quality, target, target)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_single_cluster_gives_no_interval():
    estimate = mean(np.array([0.0, 1.0]), np.array(["a", "a"]))
    assert estimate.high == np.inf


def test_numbers_equal_those_of_obp():
    """Computed once by obp 0.4.1 (zr-obp) on Python 3.11, numpy 2.4.6, scipy 1.17.1, torch and plotting stubbed out.

    InverseProbabilityWeighting(), SelfNormalizedInverseProbabilityWeighting(), DirectMethod(), DoublyRobust() and
    SwitchDoublyRobust(tau=2.0), each .estimate_policy_value(reward=outcome, action=served, pscore=propensity,
    action_dist=policy[:, :, None], estimated_rewards_by_reg_model=expected[:, :, None]) on the arrays below.
    """
    rng = np.random.default_rng(20211)
    n, m = 500, 4
    chances = rng.dirichlet(np.full(m, 2.0), size=n)
    policy = rng.dirichlet(np.full(m, 0.7), size=n)
    served = (chances.cumsum(axis=1) < rng.uniform(size=(n, 1))).sum(axis=1)
    outcome, expected = rng.uniform(size=n), rng.uniform(size=(n, m))
    at = (np.arange(n), served)
    given = (policy[at] / chances[at], outcome, expected[at], (policy * expected).sum(axis=1))
    known = {
        "ips": 0.5788169233831317, "snips": 0.5074666827698258, "dm": 0.48773462492189823, "dr": 0.4858234277858105,
        "switch": 0.49275916087303717,
    }  # fmt: skip
    ours = {name: ESTIMATORS[name](*given, None) for name in ("snips", "dm", "dr")}
    ours |= {"ips": ips(*given, clip=np.inf), "switch": switch(*given, threshold=2.0)}
    assert {name: terms.contributions.mean() for name, terms in ours.items()} == pytest.approx(known, abs=1e-12)


def test_clipping_and_switching_trade_bias_for_less_error_where_a_wild_weight_is_hardly_due():
    rng = np.random.default_rng(9)
    policy = np.where(np.arange(400)[:, None] % 2 == 0, [0.03, 0.97], [0.0, 1.0])
    chances = np.tile([1e-4, 1 - 1e-4], (400, 1))
    masses = Masses.of(policy, chances)
    errors = {name: [] for name in ("ips", "clipped", "dr", "switch")}
    for _ in range(600):
        served = (rng.uniform(size=400) > chances[:, 0]).astype(int)
        weight = policy[np.arange(400), served] / chances[np.arange(400), served]
        outcome = (rng.uniform(size=400) < 0.6).astype(float)
        given = (weight, outcome, np.full(400, 0.6), np.full(400, 0.6), masses)
        errors["ips"].append(ips(*given, clip=np.inf).contributions.mean() - 0.6)
        errors["clipped"].append(ips(*given).contributions.mean() - 0.6)
        errors["dr"].append(ESTIMATORS["dr"](*given).contributions.mean() - 0.6)
        errors["switch"].append(switch(*given).contributions.mean() - 0.6)
    rmse = {name: np.sqrt(np.mean(np.square(e))) for name, e in errors.items()}
    assert rmse["clipped"] < 0.9 * rmse["ips"]
    assert rmse["switch"] < 0.9 * rmse["dr"]


def test_masses_above_a_ratio_are_those_of_the_policy():
    policy, chances = np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([[0.1, 0.9], [0.25, 0.75]])
    masses = Masses.of(policy, chances)  # ratios 2, 8/9 and 4 with masses .1, .4 and .5
    np.testing.assert_allclose(masses.above(np.array([0.5, 1.0, 2.0, 4.0])), [1.0, 0.6, 0.5, 0.0])
    np.testing.assert_allclose(masses.clipped(np.array([3.0, 1.0, np.inf])), [0.5 / 4, 0.1 / 2 + 0.5 * 3 / 4, 0.0])


def test_an_estimator_without_a_match_gives_a_number_and_not_a_warning():
    nothing, half = np.zeros(50), np.full(50, 0.5)
    values = {name: e(nothing, half, half, half, None).contributions.mean() for name, e in ESTIMATORS.items()}
    assert values == {"ips": 0.0, "snips": 0.0, "dm": 0.5, "dr": 0.5, "switch": 0.5}
