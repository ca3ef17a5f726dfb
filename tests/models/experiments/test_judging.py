"""The verdict of an experiment in worlds whose truth is known, looked at all along."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from models.experiments import Settings, judge
from tests.models.experiments.worlds import experiment, ramped

FREE = Objective()
QUICK = Settings(planned=4000)
CHEAPER = Settings(planned=4000, aims=("cost_usd",), quality_margin=0.07)


def verdicts(worlds, settings=QUICK, objective=FREE, **known):
    found = Counter()
    for seed in range(worlds):
        judged = judge(experiment(np.random.default_rng(seed), **{"n": 4000, **known}), settings, objective, every=200)
        found[judged.first[0] if judged.first else "hold"] += 1
    return found


def test_arms_that_are_alike_are_told_apart_as_seldom_as_alpha_says():
    """120 A/A worlds with a look every 200 units: 5% for each side, with a binomial error of 2 points."""
    found = verdicts(120)
    assert found["promote"] / 120 <= 0.05 + 2 * 0.02
    assert found["reject"] / 120 <= 0.05 + 2 * 0.02
    assert found["roll back"] <= 4


def test_arms_that_are_alike_with_units_that_return():
    found = verdicts(100, n=4000, per_unit=4, settings=Settings(planned=1000))
    assert found["promote"] / 100 <= 0.05 + 2 * 0.022


def test_arms_that_are_alike_on_a_ramp_through_days_that_change():
    """80 A/A worlds from 5 to 50%, worse and slower answers every day: as seldom as with a share that stays."""
    found = Counter()
    for seed in range(80):
        rows = ramped(np.random.default_rng(seed), slower=(1.0, 1.5, 2.5), worse=(0.0, 0.1, 0.3))
        first = judge(rows, Settings(planned=6000), FREE, every=300).first
        found[first[0] if first else "hold"] += 1
    assert found["promote"] / 80 <= 0.05 + 2 * 0.0244
    assert found["reject"] / 80 <= 0.05 + 2 * 0.0244
    assert found["roll back"] <= 3
    assert found["hold"] < 80, "what never errs is not at its level"


def test_cheaper_at_a_loss_of_the_whole_margin_is_seldom_promoted():
    """At the edge of the quality margin, with a saving beyond doubt, alpha is the only bound."""
    found = verdicts(100, settings=replace(CHEAPER, quality_margin=0.046), lift=-0.05, dearer=0.5)
    assert found["promote"] / 100 <= 0.05 + 2 * 0.022


def test_cheaper_and_no_worse_is_promoted_and_worse_is_rejected():
    assert verdicts(15, settings=CHEAPER, dearer=0.7)["promote"] >= 13
    assert verdicts(15, lift=-0.1)["reject"] >= 14
    assert verdicts(15, lift=0.1)["promote"] >= 14


def test_utility_decides_by_the_objectives_prices():
    settings = Settings(planned=4000, quality_margin=0.05)
    assert verdicts(15, settings=settings, objective=Objective(per_dollar=100), dearer=0.4)["promote"] >= 11


def test_several_aims_share_alpha():
    settings = Settings(planned=4000, aims=("cost_usd", "latency_ms"), quality_margin=0.3)
    assert verdicts(80, settings=settings)["promote"] / 80 <= 0.05 + 2 * 0.0244
    assert verdicts(10, settings=settings, slower=0.8)["promote"] == 10


def test_a_breached_guardrail_rolls_back_whatever_it_gains():
    judged = judge(experiment(np.random.default_rng(1), lift=0.1, errors=0.06), QUICK, FREE)
    assert judged.verdict == "roll back"
    assert judged.reason.startswith("The error rate is breached: challenger 0.0")
    assert judged.first is not None
    assert judged.first[0] == "roll back"


def test_nothing_is_promoted_before_a_guardrail_could_speak():
    rows = experiment(np.random.default_rng(1), lift=0.2)
    judged = judge(rows, QUICK, FREE)
    assert judged.first == ("promote", 1000)
    young = judge(experiment(np.random.default_rng(1), n=900, lift=0.2), QUICK, FREE)
    assert young.reason.startswith("Better already (quality +0.")


def test_a_wrong_split_holds_even_what_looks_better():
    judged = judge(experiment(np.random.default_rng(2), lift=0.1, dealt=0.42), QUICK, FREE)
    assert judged.verdict == "hold"
    assert "were dealt to the challenger where 50.00% were planned" in judged.reason


def test_losing_the_log_of_one_arm_holds():
    judged = judge(experiment(np.random.default_rng(3), lift=0.1, lost=0.03), QUICK, FREE)
    assert judged.verdict == "hold"
    assert "and the logged share -0.02" in judged.reason


def test_logs_that_lose_as_much_of_both_arms_hold_as_seldom_as_promised():
    """60 worlds that lose one row in ten, each side of the interval at one in twenty."""
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = replace(experiment(rng, n=3000), logged=rng.random(3000) >= 0.1)
        logging = judge(rows, Settings(planned=3000, mismatch_alpha=0.1), FREE, every=300).logging
        alarms += (logging.better() | logging.worse()).any()
    assert alarms / 60 <= 0.1 + 2 * 0.039


def test_the_evidence_is_there_at_every_look():
    judged = judge(experiment(np.random.default_rng(4)), replace(QUICK, cost_cap_usd=0.01), FREE, every=250)
    assert judged.units.tolist() == list(range(250, 8001, 250))
    interval = judged.intervals["quality"]
    assert interval.bounds.low.shape == judged.verdicts.shape == judged.guardrails[0].low.shape
    assert 0.05 < interval.cut[-1] < 0.4
    assert judged.intervals["cost_usd, capped"].bounds.se[-1] < judged.intervals["cost_usd"].bounds.se[-1] * 1.5
    assert judged.intervals["utility"].bounds.value[-1] == pytest.approx(interval.bounds.value[-1])


def test_what_no_row_knows_is_named():
    rows = experiment(np.random.default_rng(5), n=500)
    judged = judge(replace(rows, quality=np.full(500, np.nan), expected={}), QUICK, FREE)
    assert judged.verdict == "hold"
    assert judged.reason.startswith("No row knows quality")
    few = judge(experiment(np.random.default_rng(6), n=120), QUICK, FREE)
    assert few.verdict == "hold"
    with pytest.raises(ValueError, match="there are no rows"):
        judge(replace(rows, **{n: getattr(rows, n)[:0] for n in rows.__slots__ if n != "expected"}, expected={}),
              QUICK, FREE)  # fmt: skip
