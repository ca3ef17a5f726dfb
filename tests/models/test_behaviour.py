"""The estimated logging policy: found again where requests tell it, and refused where they are proven not to."""

import numpy as np
import pytest

from models.behaviour import FLOOR, behaviour, miscalibration
from models.nuisance import directions, folds

NAMES = ("cheap", "middle", "dear")


def drawn(rng, chances):
    return (chances.cumsum(axis=1)[:, :-1] < rng.uniform(size=(len(chances), 1))).sum(axis=1)


def found(features, served, names=NAMES):
    n = len(served)
    return behaviour(features, directions(features, 24), served, folds(np.arange(n), 5, 0), names)


def smooth(features):
    chances = np.exp(features[:, :3] * 0.8)
    return chances / chances.sum(axis=1, keepdims=True)


def ruled(features):
    """A rule with exploration: two thresholds, as applications have them."""
    wish = np.eye(3)[(features[:, 0] > 0.5).astype(int) + ((features[:, 0] > 0.5) & (features[:, 1] > 0)).astype(int)]
    return 0.7 * wish + 0.1


def blind(features):
    """A policy that does not look: one model for nearly all, the others explored."""
    return np.tile([0.9, 0.05, 0.05], (len(features), 1))


@pytest.mark.parametrize(
    ("policy", "learner"), [(smooth, "logistic regression"), (ruled, "boosted trees"), (blind, "shares")]
)
def test_the_logging_policy_is_found_again(policy, learner):
    rng = np.random.default_rng(4)
    features = rng.normal(size=(4000, 6))
    chances = policy(features)
    said = found(features, drawn(rng, chances))
    assert max(said.weights, key=said.weights.get) == learner
    assert f"{learner} " in said.learner
    assert said.refused is None
    np.testing.assert_allclose(said.probabilities.sum(axis=1), 1)
    assert np.abs(said.probabilities - chances).mean() < 0.03


def test_a_policy_that_does_not_look_gets_no_weights_from_noise():
    rng = np.random.default_rng(8)
    features = rng.normal(size=(800, 24))
    said = found(features, drawn(rng, blind(features))).probabilities
    assert (1 / said[:, 2]).max() < 2 / 0.05


def test_right_probabilities_are_refused_as_seldom_as_stated():
    rng, refused = np.random.default_rng(5), 0
    for _ in range(300):
        chances = smooth(rng.normal(size=(1000, 3)))
        refused += miscalibration(chances, drawn(rng, chances), NAMES) is not None
    assert refused <= 6  # 1% of 300 are 3, and what is wrong by less than a quarter is no reason


@pytest.mark.parametrize("sharper", [2.0, 0.4], ids=["too timid", "too bold"])
def test_probabilities_that_are_wrong_are_refused(sharper):
    rng, refused = np.random.default_rng(6), 0
    for _ in range(50):
        stated = smooth(rng.normal(size=(2000, 3)))
        true = stated**sharper
        said = miscalibration(stated, drawn(rng, true / true.sum(axis=1, keepdims=True)), NAMES)
        refused += said is not None
    assert refused >= 45
    assert "was expected to serve" in miscalibration(stated, np.full(2000, 2), NAMES)


def test_a_log_that_changed_its_way_half_way_is_no_sessions_fault():
    """Sessions that stay with a model are one choice each: ten turns of them prove nothing ten times over."""
    rng = np.random.default_rng(7)
    features = np.repeat(rng.normal(size=(60, 4)), 10, axis=0)
    served = np.repeat(rng.integers(3, size=60), 10)
    session = np.repeat(np.array([f"s{i}" for i in range(60)]), 10)
    fold = np.repeat(folds(np.arange(60), 5, 0), 10)
    assert behaviour(features, directions(features, 24), served, fold, NAMES, session).refused is None


def test_who_never_served_has_no_probability_and_who_is_new_has_little():
    features = np.random.default_rng(5).normal(size=(100, 3))
    always = np.ones(100, dtype=np.intp)
    np.testing.assert_allclose(found(features, always).probabilities, np.tile([0.0, 1.0, 0.0], (100, 1)))
    once = always.copy()
    once[0] = 2
    said = found(features, once).probabilities
    assert (said[:, 0] == 0).all()
    assert said[:, 2].min() > 0.9 * FLOOR


@pytest.mark.parametrize("fold", [np.arange(60) % 5, np.zeros(60, dtype=int)])
def test_requests_that_nothing_tells_apart_give_the_shares(fold):
    served = np.random.default_rng(0).integers(0, 2, 60)
    plain = np.ones((60, 8))
    said = behaviour(plain, directions(plain, 24), served, fold, NAMES)
    assert said.probabilities[:, :2].mean(axis=0) == pytest.approx(np.bincount(served) / 60, abs=0.05)
