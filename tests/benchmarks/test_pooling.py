"""Pooling sets: shared prompts count once, and a null is rejected as often as it says."""

import numpy as np
import pytest

from benchmarks.pooling import Differences, pooled


def differences(values: np.ndarray, source: str = "a", prefix: str = "p") -> Differences:
    return Differences(source, np.array([f"{prefix}{i}" for i in range(len(values))]), values)


def test_sets_weigh_alike_or_by_their_prompts():
    found = pooled({"few": differences(np.ones(10)), "many": differences(np.zeros(90), "b")})
    assert found["sets_alike"]["mean"] == pytest.approx(0.5)
    assert found["prompts_alike"]["mean"] == pytest.approx(0.1)


def test_the_same_prompts_twice_prove_no_more_than_once():
    values = np.random.default_rng(0).normal(0.1, 1, 400)
    once = pooled({"a": differences(values)})["sets_alike"]
    twice = pooled({"a": differences(values), "b": differences(values)})["sets_alike"]
    apart = pooled({"a": differences(values), "b": differences(values, "other")})["sets_alike"]
    assert twice == pytest.approx(once)
    assert apart["se"] == pytest.approx(once["se"] / np.sqrt(2), rel=1e-3)


def test_without_any_difference_nothing_is_proven():
    assert pooled({"a": differences(np.zeros(9))})["sets_alike"] == {"mean": 0.0, "se": 0.0, "p": 0.5}


def test_a_null_is_rejected_one_time_in_twenty():
    rng, rejected = np.random.default_rng(1), 0
    for _ in range(1000):
        shared = rng.normal(size=60)
        sets = {
            "a": differences(shared + rng.normal(size=60)),
            "b": differences(shared + rng.normal(size=60)),
            "c": differences(rng.normal(size=200), "other"),
        }
        rejected += pooled(sets)["sets_alike"]["p"] < 0.05
    assert 30 <= rejected <= 72
