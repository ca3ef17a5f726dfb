"""What changed is found, and what did not raises no more alarms than the budget allows."""

import numpy as np
import pytest

from models.watching import Level, Shape, calibration_error, firsts, limit, more_often


def sessions(n: int, size: int = 1) -> np.ndarray:
    return np.array([f"s{i // size}" for i in range(n)])


def look(rng: np.random.Generator, n: int, quality: float = 0.7, shift: float = 0.0) -> tuple[np.ndarray, ...]:
    """Qualities in sessions of two, skewed costs, failures and prompts: everything that a look checks."""
    right = (rng.random(n) < quality).astype(float)
    cost = np.repeat(rng.normal(size=n // 2), 2) + rng.normal(size=n)
    prompts = rng.normal(size=(n, 12)) @ np.diag(np.linspace(2, 0.5, 12)) + shift
    return right, cost, rng.random(n) < 0.02, prompts


def surprises(before: tuple[np.ndarray, ...], now: tuple[np.ndarray, ...]) -> list[float]:
    n, m = len(before[0]), len(now[0])
    found = []
    for one, other in zip(before[:2], now[:2], strict=True):
        usual, level = Level.of(one, sessions(n, 2)), Level.of(other, sessions(m, 2))
        assert usual is not None
        assert level is not None
        found.append(usual.p(level))
    found.append(more_often((int(before[2].sum()), n), (int(now[2].sum()), m)))
    found.append(Shape.of(before[3]).drift(now[3])[1])
    return found


def test_a_quiet_month_raises_no_more_alarms_than_its_budget() -> None:
    """250 months of 4 looks at one baseline, a budget of .4 alarms a month: the mean must not be above it."""
    rng = np.random.default_rng(0)
    budget, looks, months = 0.4, 4, 250
    bound = limit(budget, looks, 4)
    alarms = np.zeros(months)
    for month in range(months):
        before = look(rng, 300)
        alarms[month] = sum(p < bound for _ in range(looks) for p in surprises(before, look(rng, 200)))
    mean, se = alarms.mean(), alarms.std() / np.sqrt(months)
    assert mean - 2 * se <= budget
    assert mean > 0.1, "the checks are so cautious that they could find nothing"


def test_each_check_alone_is_surprised_as_seldom_as_its_p_value_says() -> None:
    """300 looks at a champion that has not changed, each with a baseline of its own, at five in a hundred."""
    rng = np.random.default_rng(3)
    found = np.array([surprises(look(rng, 300), look(rng, 200)) for _ in range(300)])
    share = (found < 0.05).mean(axis=0)
    assert (share <= 0.05 + 2.5 * 0.0126).all(), share
    # Welch's test is at its level; Fisher's is exact for few failures, and directions share their error.
    assert (share[:2] >= 0.05 - 2.5 * 0.0126).all(), share
    assert (share[2:] > 0).all(), share


@pytest.mark.parametrize(("quality", "shift"), [(0.5, 0.0), (0.7, 0.6)], ids=["worse answers", "other prompts"])
def test_a_change_is_found_within_a_look_at_a_hundredth_of_that_budget(quality: float, shift: float) -> None:
    rng = np.random.default_rng(1)
    bound = limit(0.1, 30, 4)
    found = [min(surprises(look(rng, 300), look(rng, 300, quality, shift))) < bound for _ in range(100)]
    assert np.mean(found) > 0.8


def test_clusters_count_once() -> None:
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 25)
    apart, together = Level.of(values, sessions(100)), Level.of(values, sessions(100, 25))
    assert apart is not None
    assert together is not None
    assert together.se > 4 * apart.se


def test_a_level_needs_two_values_and_a_constant_one_is_not_surprised_by_itself() -> None:
    assert Level.of(np.array([np.nan, 1.0]), sessions(2)) is None
    usual = Level.of(np.ones(10), sessions(10))
    assert usual is not None
    assert usual.p(usual) == 1.0
    assert usual.p(Level(0.5, 0.0, 10)) == 0.0


def test_the_shape_of_prompts_survives_being_kept() -> None:
    encoded = np.random.default_rng(2).normal(size=(50, 5))
    shape = Shape.of(encoded)
    assert Shape.from_json(shape.to_json()) == shape
    index, p = shape.drift(encoded)
    assert index == pytest.approx(0.0, abs=1e-9)
    assert p == 1.0


def test_prompts_that_are_all_alike_have_a_shape() -> None:
    index, p = Shape.of(np.ones((20, 3))).drift(np.ones((30, 3)))
    assert index < 0.01
    assert p == 1.0


def test_calibration_error_is_the_distance_from_the_diagonal() -> None:
    expected = np.repeat([0.2, 0.8], 100)
    observed = np.concatenate([np.arange(100) < 30, np.arange(100) < 80]).astype(float)
    assert calibration_error(expected, observed, bins=2) == pytest.approx(0.05)
    assert np.isnan(calibration_error(np.array([np.nan]), np.array([1.0])))


def test_one_request_of_each_session_is_looked_at() -> None:
    assert firsts(["a", "a", "b", "a", "c"]).tolist() == [0, 2, 4]
