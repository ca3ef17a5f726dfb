"""Every estimator and its interval against worlds whose truth is known."""

import numpy as np
import pytest

from features.table import Table
from models.estimators import ESTIMATORS, EvaluationRefused, contrast, mean

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


@pytest.mark.parametrize("estimator", ESTIMATORS)
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
