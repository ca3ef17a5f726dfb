"""Rivals: what is compared, and the directions in which candidates differ."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from features.outcomes import catalogue
from features.worlds.synthetic import SyntheticSettings, outcomes
from models.examples import Examples, examples
from models.rivalry import apart, directions, explained, rivalry


@pytest.fixture(scope="module")
def known() -> Examples:
    table = outcomes(SyntheticSettings(prompts=200), 0)[0]
    encoding = np.ones((200, 2), dtype=np.float32)
    made = examples(table, encoding, ("a", "b"), slice(0, 2), catalogue(table), Objective(), 3, 0)
    return replace(made, active=np.arange(len(made.mean)) != 5)


def test_a_far_rival_counts_little_and_an_inactive_one_nothing(known):
    found = rivalry(known, np.tile(np.arange(6.0), (200, 1)))
    weight = found[0] / (np.arange(6.0) - known.incumbent + (np.arange(6) == known.incumbent))
    assert weight[5] == weight[known.incumbent] == 0
    others = [c for c in range(5) if c != known.incumbent]
    order = sorted(others, key=lambda c: known.mean[c])
    assert sorted(others, key=lambda c: weight[c]) == order


def test_the_truth_explains_itself_whatever_its_scale(known):
    truth = known.excess[known.judged]
    whole = float((rivalry(known, truth) ** 2).sum())
    assert explained(known, truth) == pytest.approx(whole)
    assert explained(known, 0.1 * truth) == pytest.approx(whole)
    assert explained(known, -truth) == 0
    noise = np.random.default_rng(0).normal(size=truth.shape)
    assert explained(known, noise) < 0.1 * whole


def test_directions_are_orthonormal_and_apart_from_the_level(known):
    said = np.random.default_rng(1).normal(size=(200, 6))
    found = directions(known, said)
    assert found.shape == (6, 4)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(known.active @ found, 0, atol=1e-9)
    np.testing.assert_array_equal(found[5], 0)
    np.testing.assert_allclose(apart(known, said)[:, known.active].sum(axis=1), 0, atol=1e-9)
    np.testing.assert_array_equal(apart(known, said)[:, 5], 0)
