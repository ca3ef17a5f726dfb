"""Ranking, honesty, and RouteLLM's measures, held against other implementations and against known answers."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.routing_metrics import auc, brier, calibration, ece, pair


def test_auc_agrees_with_scikit_learn_on_binary_outcomes_with_ties():
    rng = np.random.default_rng(0)
    won = (rng.random((300, 3)) < 0.6).astype(float)
    said = np.round(won * 0.2 + rng.random((300, 3)), 1)
    expected = np.mean([roc_auc_score(won[:, j], said[:, j]) for j in range(3)])
    assert auc(won, said) == pytest.approx(expected)


def test_auc_leaves_out_what_has_no_ranking():
    won = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert auc(won, np.array([[0.2, 0.1], [0.3, 0.9]])) == 1.0
    assert np.isnan(auc(np.ones((4, 2)), np.random.default_rng(0).random((4, 2))))


def test_brier_and_ece_of_the_truth_are_zero_and_of_a_bias_the_bias():
    won = np.array([[0.0, 1.0], [1.0, np.nan]])
    assert brier(won, np.nan_to_num(won)) == 0
    rng = np.random.default_rng(1)
    chance = rng.random((40_000, 1))
    outcome = (rng.random(chance.shape) < chance).astype(float)
    assert ece(outcome, chance) < 0.01
    assert ece(outcome, np.clip(chance * 0.8, 0, 1)) == pytest.approx(0.1, abs=0.01)
    assert sum(b.n for b in calibration(outcome, chance)) == 40_000


def test_a_perfect_router_recovers_the_gap_with_the_fewest_strong_calls():
    rng = np.random.default_rng(2)
    strong = np.ones(1000)
    weak = (rng.random(1000) < 0.5).astype(float)
    good = pair(weak, strong, 1 - weak + rng.random(1000) * 0.01)
    # All of the gap lies in the half that the weak one fails: area = 1/2 * 1/2 + 1/2.
    assert good.apgr == pytest.approx(0.75, abs=0.02)
    assert good.cpt50 == pytest.approx(25, abs=3)
    assert good.cpt80 == pytest.approx(40, abs=3)


def test_a_random_router_recovers_half():
    rng = np.random.default_rng(3)
    n = 60_000
    strong, weak = (rng.random(n) < 0.8).astype(float), (rng.random(n) < 0.6).astype(float)
    found = pair(weak, strong, rng.random(n))
    assert found.apgr == pytest.approx(0.5, abs=0.03)
    assert found.cpt50 == pytest.approx(50, abs=4)
    assert found.cpt80 == pytest.approx(80, abs=4)
