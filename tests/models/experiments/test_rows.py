"""Rows of an experiment: intention to treat through fallbacks, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from beastmode.interactions import Attempt, Interaction
from beastmode.objective import Objective
from models.experiments import Rows
from tests.models.experiments.worlds import experiment

START = datetime(2026, 1, 1, tzinfo=UTC)


def interaction(k, **known):
    given = {"arm": "challenger", "arm_probability": 0.25, "unit": f"u{k}", "cost_usd": 0.01, "latency_ms": 500.0}
    return Interaction(event_id=f"e{k}", request_id=f"r{k}", at=START + timedelta(seconds=k), **{**given, **known})


def test_a_fallback_is_credited_to_the_arm_that_was_dealt():
    attempts = (
        Attempt("cheap", status="failure", cost_usd=0.002, latency_ms=900.0),
        Attempt("dear", role="fallback", cost_usd=0.03, latency_ms=700.0),
    )
    served = interaction(1, plan="cheap", model_served="dear", cost_usd=None, latency_ms=None, attempts=attempts)
    rows = Rows.of([served], {"r1": 1.0})
    assert rows.arm.tolist() == ["challenger"]
    assert rows.cost_usd.tolist() == [pytest.approx(0.032)]
    assert rows.latency_ms.tolist() == [1600.0]
    assert not rows.error[0]


def test_a_failure_without_feedback_answered_nothing():
    rows = Rows.of(
        [interaction(1, status="failure"), interaction(2), interaction(3, error_type="policy_content"),
         interaction(4, status="unknown")],
        {},
    )  # fmt: skip
    assert rows.quality[0] == 0
    assert np.isnan(rows.quality[1])
    assert rows.error.tolist() == [True, False, False, False]
    assert rows.refused.tolist() == [False, False, True, False]
    assert rows.logged.tolist() == [True, True, True, False]
    assert np.isnan(rows.outcome("cost_usd", Objective())[3])


def test_rows_stand_in_time_order_and_without_those_that_nobody_dealt():
    rows = Rows.of(
        [interaction(3), interaction(1, unit=None, session_id="s"), interaction(2, arm_probability=1.0),
         interaction(4, arm=None)],
        {}, {"quality": {"r1": 0.4}},
    )  # fmt: skip
    assert rows.unit.tolist() == ["s", "u3"]
    assert rows.expected["quality"][0] == 0.4
    assert np.isnan(rows.expected["quality"][1])


def test_utility_has_the_objectives_prices():
    rows = experiment(np.random.default_rng(0), n=100)
    objective = Objective(per_dollar=10)
    assert rows.outcome("utility", objective) == pytest.approx(rows.quality - 10 * rows.cost_usd)
    expected = rows.expected["quality"] - 10 * rows.expected["cost_usd"]
    assert rows.expectation("utility", objective) == pytest.approx(expected)
    assert rows.expectation("latency_ms", objective) is None


def test_what_is_no_experiment_is_refused():
    rows = experiment(np.random.default_rng(0), n=10)
    with pytest.raises(ValueError, match="cost_usd has shape"):
        replace(rows, cost_usd=np.zeros(3))
    with pytest.raises(ValueError, match="arm 'shadow' is neither"):
        replace(rows, arm=np.array(["shadow"] * 10))
    with pytest.raises(ValueError, match="between 0 and 1"):
        replace(rows, arm_probability=np.ones(10))
    with pytest.raises(ValueError, match="predictions of 'joy'"):
        replace(rows, expected={"joy": np.zeros(10)})
