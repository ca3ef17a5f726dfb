"""Figures of predicted amounts: a quantile that is right loses least, and nothing is told of what was never seen."""

import numpy as np
import pytest

from models.usage_metrics import Ratio, covered, pinball, r2_log, scores, typical, usual


def test_the_true_quantiles_lose_least():
    observed = np.random.default_rng(0).normal(size=(20_000, 1))
    right = np.array([-1.645, 0.0, 1.645])[:, None, None] * np.ones_like(observed)
    loss = pinball(observed, right).mean(axis=(1, 2))
    for shift in (-0.2, 0.2):
        assert (pinball(observed, right + shift).mean(axis=(1, 2)) > loss).all()
    assert abs(np.nanmean(covered(observed, right)) - 0.9) < 0.01


def test_what_stands_beside_has_not_seen_the_row():
    observed = np.array([[1.0], [1.0], [100.0], [100.0]])
    quantiles, mean = usual(observed, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(quantiles[:, :2], 100)
    np.testing.assert_allclose(quantiles[:, 2:], 1)
    np.testing.assert_allclose(mean[:2], np.log(100))


def test_the_ratio_of_totals_has_an_honest_error():
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(800):
        under = rng.exponential(size=200) + 1
        ratios.append(Ratio.of(0.8 * under + rng.normal(size=200), under))
    values, errors = np.array([(r.value, r.se) for r in ratios]).T
    assert values.mean() == pytest.approx(0.8, abs=0.01)
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)
    assert np.isnan(Ratio.of(np.zeros(3), np.zeros(3)).value)


def test_r2_is_one_for_the_truth_and_zero_for_the_mean():
    observed = np.random.default_rng(2).lognormal(size=(500, 2))
    mean = np.tile(np.log(observed).mean(axis=0), (500, 1))
    assert r2_log(observed, observed, mean) == 1
    assert r2_log(observed, np.exp(mean), mean) == pytest.approx(0, abs=1e-12)


def test_scores_of_each_models_own_quantiles_are_one_and_of_nothing_are_none():
    observed = np.random.default_rng(3).lognormal(size=(600, 3))
    observed[:, 2] = np.nan
    fold = np.arange(600) % 3
    plain, _ = usual(observed, fold)
    found = scores(observed, plain, fold)
    assert found["pinball_ratio"] == pytest.approx(1)
    assert found["coverage"] == pytest.approx(0.9, abs=0.03)
    assert found["pinball"] == found["pinball_per_model"]
    assert scores(np.full((6, 2), np.nan), np.full((3, 6, 2), 1.0), np.arange(6) % 2) == {}


def test_three_quantiles_speak_of_the_mean_logarithm_of_skewed_amounts():
    skewed = np.exp(np.random.default_rng(4).gamma(2.0, 0.5, size=(200_000, 1)))
    quantiles = np.quantile(skewed, (0.05, 0.5, 0.95), axis=0)[:, :, None]
    true = np.log(skewed).mean()
    assert np.log(typical(quantiles)).item() == pytest.approx(true, abs=0.02)
    assert abs(np.log(quantiles[1]).item() - true) > 0.1
