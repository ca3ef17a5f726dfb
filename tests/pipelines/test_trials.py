"""What a canary says is usual: a guard that is held to it leaves alone what has not changed."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from beastmode.guard import Limits, Outcome, Watch
from pipelines.trials import _usual
from tests.models.experiments.worlds import experiment

PAST = datetime(2026, 1, 1, tzinfo=UTC)


def watched(seed: int, slower: float = 1.0, fails: float = 0.01) -> bool:
    """Return whether a guard takes back what a canary of 300 requests an arm promoted, within 500 more."""
    rng = np.random.default_rng(seed)
    usual = _usual(experiment(rng, n=600))
    assert usual is not None
    watch = Watch(usual, Limits())
    later = experiment(rng, n=500)
    failed = rng.random(500) < fails
    return any(
        watch.add(Outcome(PAST, "x", "failure" if hit else "success", "provider_timeout" if hit else "", slower * ms))
        for hit, ms in zip(failed, later.latency_ms.tolist(), strict=True)
    )


def test_a_champion_that_serves_as_in_its_canary_is_left_alone() -> None:
    """60 canaries, each with a baseline of its own noise, under an alarm of one in a thousand."""
    assert sum(watched(seed) for seed in range(60)) <= 1


@pytest.mark.parametrize("known", [{"slower": 4.0}, {"fails": 0.2}], ids=["slow", "failing"])
def test_a_champion_that_breaks_is_taken_back(known: dict[str, float]) -> None:
    assert all(watched(seed, **known) for seed in range(5))


def test_a_canary_without_a_latency_has_no_baseline_and_one_without_failures_expects_some() -> None:
    rows = experiment(np.random.default_rng(0), n=200)
    assert _usual(replace(rows, latency_ms=np.full(200, np.nan))) is None
    flawless = _usual(replace(rows, error=np.zeros(200, dtype=bool)))
    assert flawless is not None
    assert 0 < flawless.error_rate < 0.02
