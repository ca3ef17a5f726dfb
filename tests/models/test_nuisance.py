"""The outcome regression: on other rows only, and better than means."""

import numpy as np
import pytest

from models.nuisance import Regression, directions, folds, regress


def world(rng, n, m=4, d=6):
    features = rng.normal(size=(n, d))
    mean = 0.6 + 0.05 * np.arange(m) + 0.12 * features[:, :1] + 0.05 * features[:, 1:2] * np.linspace(-1, 1, m)
    outcome = (rng.uniform(size=(n, m)) < mean).astype(float)
    return features, mean, outcome


def test_rows_of_a_group_share_a_fold():
    groups = np.array(["a", "b", "a", "c", "b", "d"])
    fold = folds(groups, 3, 0)
    assert fold[0] == fold[2]
    assert fold[1] == fold[4]
    assert set(fold.tolist()) <= {0, 1, 2}


def test_directions_have_unit_variance_and_no_empty_one():
    features = np.random.default_rng(0).normal(size=(300, 5)) * [5, 1, 1, 0, 1]
    found = directions(features, 24)
    assert found.shape == (300, 4)
    np.testing.assert_allclose(found.T @ found / 300, np.eye(4), atol=1e-9)


def test_a_rows_own_outcome_does_not_reach_its_expectation():
    rng = np.random.default_rng(1)
    features, _, outcome = world(rng, 200)
    served, fold = rng.integers(4, size=200), folds(np.arange(200), 5, 0)
    seen, chance = outcome[np.arange(200), served], np.full(200, 0.25)
    before = regress(features, served, seen, chance, fold, 4)
    changed = np.where(fold == 2, 1 - seen, seen)
    after = regress(features, served, changed, chance, fold, 4)
    np.testing.assert_allclose(before[fold == 2], after[fold == 2], atol=1e-12)
    assert np.abs(before - after).max() > 0.05


def test_it_expects_better_than_the_means_and_is_right_on_average():
    rng = np.random.default_rng(2)
    features, mean, outcome = world(rng, 3000)
    chances = np.where(np.eye(4)[(features[:, 0] > 0).astype(int)] > 0, 0.85, 0.05)
    served = (chances.cumsum(axis=1)[:, :-1] < rng.uniform(size=(3000, 1))).sum(axis=1)
    at = (np.arange(3000), served)
    said = regress(features, served, outcome[at], chances[at], folds(np.arange(3000), 5, 0), 4)
    flat = np.array([outcome[served == k, k].mean() for k in range(4)])
    assert ((said - mean) ** 2).mean() < 0.5 * ((flat - mean) ** 2).mean()
    assert np.abs((said - mean).mean(axis=0)).max() < 0.07


def test_a_candidate_that_never_served_is_expected_to_be_like_the_others():
    rng = np.random.default_rng(3)
    features, _, outcome = world(rng, 400)
    served = rng.integers(2, size=400)
    said = regress(
        features, served, outcome[np.arange(400), served], np.full(400, 0.5), folds(np.arange(400), 5, 0), 4,
        Regression(level=5.0),
    )  # fmt: skip
    assert np.isfinite(said).all()
    assert said[:, 3].mean() == pytest.approx(outcome[np.arange(400), served].mean(), abs=0.03)
