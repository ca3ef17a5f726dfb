"""Differences of arms: what they equal, what clusters and ramps do to them, and what a prediction takes out."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from models.experiments.differences import Dealing, difference
from tests.models.experiments.worlds import experiment


def last(rows, metric="quality", covariate=False, every=500):
    found = difference(
        Dealing.of(rows, every),
        rows.outcome(metric, Objective()),
        rows.expectation(metric, Objective()) if covariate else None,
    )
    return float(found.value[-1]), float(found.se[-1]), float(found.cut[-1])


def test_single_rows_give_welchs_difference():
    rows = experiment(np.random.default_rng(0), lift=0.05)
    mine = rows.arm == "challenger"
    value, se, cut = last(rows)
    a, b = rows.quality[~mine], rows.quality[mine]
    assert value == pytest.approx(b.mean() - a.mean())
    assert se == pytest.approx(np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))
    assert cut == 0


def test_each_look_is_what_its_rows_alone_would_say():
    rows = experiment(np.random.default_rng(1), n=3000, per_unit=3)
    whole = difference(Dealing.of(rows, 100), rows.quality, rows.expected["quality"])
    dealing = Dealing.of(rows, 100)
    for look in (2, 5, 8):
        seen = int(dealing.looks[look])
        names = ("arm", "arm_probability", "unit", "quality", "cost_usd", "latency_ms", "error", "refused", "logged")
        part = replace(
            rows,
            **{name: getattr(rows, name)[:seen] for name in names},
            expected={"quality": rows.expected["quality"][:seen]},
        )
        again = difference(Dealing.of(part, 100), part.quality, part.expected["quality"])
        assert again.value[-1] == pytest.approx(whole.value[look], abs=1e-12)
        assert again.se[-1] == pytest.approx(whole.se[look], rel=1e-9)


@pytest.mark.parametrize("covariate", [False, True])
def test_the_interval_covers_with_units_that_return(covariate):
    """200 worlds of units with five like-minded requests each; by rows the error is far too small."""
    covered, naive = [], []
    for seed in range(200):
        rows = experiment(np.random.default_rng(seed), n=2000, per_unit=5)
        value, se, _ = last(rows, covariate=covariate)
        covered.append(abs(value) < 1.96 * se)
        if not covariate:
            alone = replace(rows, unit=np.arange(len(rows)).astype(str))
            naive.append(abs(value) < 1.96 * last(alone)[1])
    assert 0.91 <= np.mean(covered) <= 0.985
    if not covariate:
        assert np.mean(naive) < 0.9


def test_a_prediction_takes_out_the_variance_that_it_explains_and_adds_no_bias():
    truth, cuts, values, errors = 0.05, [], [], []
    for seed in range(120):
        rows = experiment(np.random.default_rng(seed), n=4000, dearer=1 + truth)
        value, se, cut = last(rows, "cost_usd", covariate=True)
        plain = np.corrcoef(rows.cost_usd, rows.expected["cost_usd"])[0, 1] ** 2
        cuts.append(cut - plain)
        mean = 0.002 * np.exp((0.49 + 0.25) / 2)
        values.append(value / mean)
        errors.append(se / mean)
    assert abs(np.mean(cuts)) < 0.02
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / np.sqrt(120))
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.2)


def test_a_useless_prediction_costs_next_to_nothing():
    rows = experiment(np.random.default_rng(3))
    noise = np.random.default_rng(4).normal(size=len(rows))
    assert abs(difference(Dealing.of(rows, 500), rows.quality, noise).cut[-1]) < 0.005


def test_a_ramp_does_not_compare_quiet_days_with_busy_ones():
    """Quality falls when the share rises: a plain difference of means sees a loss that is not there."""
    values, plain = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n = 4000
        share = np.repeat([0.05, 0.5], n // 2)
        challenger = rng.random(n) < share
        rows = replace(
            experiment(rng, n=n),
            arm=np.where(challenger, "challenger", "champion"),
            arm_probability=np.where(challenger, share, 1 - share),
            quality=(rng.random(n) < np.repeat([0.8, 0.5], n // 2)).astype(float),
        )
        values.append(last(rows)[0])
        plain.append(rows.quality[challenger].mean() - rows.quality[~challenger].mean())
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(150)
    assert np.mean(plain) < -0.05


def test_unknown_outcomes_are_left_out_and_an_empty_arm_has_no_error():
    rows = experiment(np.random.default_rng(5), n=1000)
    holes = np.where(np.arange(1000) % 3 == 0, np.nan, rows.quality)
    mine = (rows.arm == "challenger") & np.isfinite(holes)
    other = (rows.arm == "champion") & np.isfinite(holes)
    assert difference(Dealing.of(rows, 100), holes).value[-1] == pytest.approx(holes[mine].mean() - holes[other].mean())
    alone = np.where(rows.arm == "champion", rows.quality, np.nan)
    found = difference(Dealing.of(rows, 100), alone)
    assert np.isinf(found.se).all()
    with pytest.raises(ValueError, match="every = 0"):
        Dealing.of(rows, 0)
