"""The blend: its arithmetic, and a kernel whose weights fall to zero without a jump."""

import numpy as np
import pytest

from beastmode.blend import Blend, Ridge, Taste, combine, forest_features, projection, ridge_features
from beastmode.neighbours import Kernel, Prototypes
from beastmode.scoring import Usage


def prototypes(p=20, d=4, m=3, seed=0) -> Prototypes:
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(p, d))
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    return Prototypes(centre, rng.integers(5, 9, p).astype(float), rng.normal(size=(p, m)), 1, 1 + d)


def usage(m=3) -> Usage:
    zero = np.zeros(m)
    return Usage(zero + 4, np.zeros((m, 0)), zero + 100, zero + 2, zero, np.full((m, 1), 4.0), np.full((m, 1, 7), 4.0))


def test_weights_beyond_the_last_neighbour_are_zero_and_rise_from_there():
    similarity = np.array([[0.9, 0.5, 0.3, 0.1]])
    weight = Kernel(2.0, 2).weigh(similarity)[0]
    assert weight[2:].tolist() == [0, 0]
    assert weight[0] > weight[1] > 0
    # A hair more similarity moves the weight by a hair, also across the last place.
    nearly = Kernel(2.0, 2).weigh(np.array([[0.9, 0.5, 0.5 - 1e-9, 0.1]]))[0]
    assert abs(nearly[1]) < 1e-8


@pytest.mark.parametrize("count", [20, 21, 1000])
def test_more_neighbours_than_there_are_means_all(count):
    similarity = np.linspace(-1, 1, 20)[None]
    assert (Kernel(1.0, count).weigh(similarity) > 0).all()


def test_smoothing_is_the_weighted_mean_of_what_happened():
    known = prototypes()
    similarity = np.zeros((1, 20))
    said = Kernel(3.0, 50).smooth(known, similarity)[0]
    np.testing.assert_allclose(said, known.excess.sum(axis=0) / known.weight.sum())


def test_each_part_is_worth_its_matrix():
    first, second, third = (np.array([[0.2, -0.1, 0.2]]), np.array([[0.0, 0.3, 0.0]]), np.zeros((1, 3)))
    mix = np.random.default_rng(0).normal(size=(3, 3, 3))
    mean = np.array([0.5, 0.6, 0.7])
    said = combine([first, second, third], mix, mean)
    np.testing.assert_allclose(said, mean + first @ mix[0] + second @ mix[1])


def silent(known: Prototypes, columns=7) -> Ridge:
    return Ridge(4.0, np.zeros((len(known.weight) + columns, 3)))


def test_with_a_silent_ridge_and_no_forest_it_is_the_neighbours():
    known = prototypes()
    mix = np.array([np.eye(3), 2 * np.eye(3), np.eye(3)])
    blend = Blend(known, Kernel(2.0, 6), None, silent(known), None, mix, np.full(3, 0.5), usage())
    encoding = np.random.default_rng(1).normal(size=(6, 7)).astype(np.float32)
    near = Kernel(2.0, 6).smooth(known, known.similarity(encoding))
    np.testing.assert_allclose(blend.predict(encoding, np.zeros(6)).quality, np.clip(0.5 + near, 0, 1))
    said = blend.contributions(encoding[:1])
    np.testing.assert_allclose(said["neighbours"], near[0])
    assert said["ridge"] == said["factors"] == [0.0, 0.0, 0.0]


def test_nearness_by_promise_is_the_mean_over_members_of_likeness_less_half_the_squared_distance():
    rng = np.random.default_rng(0)
    likeness, places, excess = rng.normal(size=6), rng.normal(size=(6, 2)), rng.normal(size=(1, 3))
    directions = rng.normal(size=(3, 2))
    taste = Taste(directions, places.mean(axis=0)[None], (places**2).sum(axis=1).mean()[None] / 2)
    own = excess @ directions
    found = taste.nearer(likeness.mean()[None, None], excess)
    apart = ((own - places) ** 2).sum(axis=1) / 2
    assert found.item() == pytest.approx((likeness - apart).mean() + (own**2).sum() / 2)


def test_features_of_a_forest_lie_on_the_grid_and_those_of_a_ridge_in_reach():
    known = prototypes()
    encoding = np.random.default_rng(2).normal(0, 9, size=(5, 7)).astype(np.float32)
    near = np.random.default_rng(3).normal(size=(5, 3))
    columns = forest_features(encoding, (near, near), projection(np.array([[1.0, 0.6], [1.0, -0.8], [1.0, 0.0]])))
    assert columns.dtype == np.float32
    np.testing.assert_array_equal(columns[:, 7:] * 1024, np.round(columns[:, 7:] * 1024))
    np.testing.assert_allclose(columns[:, 7], near.mean(axis=1), atol=1e-3)
    np.testing.assert_array_equal(columns[:, 7:9], columns[:, 9:])
    close, plain = ridge_features(4.0, known, encoding, known.similarity(encoding))
    assert close.shape == (5, 20)
    assert plain.shape == (5, 7)
    assert np.abs(plain).max() <= 4 / np.sqrt(7)
    own = ridge_features(4.0, known, np.pad(known.centre, ((0, 0), (1, 2))), known.centre @ known.centre.T)[0]
    np.testing.assert_allclose(np.diag(own), 1.0)
