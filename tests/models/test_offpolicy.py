"""Off-policy values from whole logs: coverage, estimated propensities, segments and refusals."""

from dataclasses import replace

import numpy as np
import pytest

from models.estimators import ESTIMATORS, EvaluationRefused
from models.offpolicy import by_segment, holm, log, value
from tests.models.logs import truth, world

TRUTH = truth()


@pytest.mark.parametrize("known", [True, False], ids=["logged", "estimated"])
def test_the_doubly_robust_value_covers_and_says_whence_its_propensities_are(known):
    rng, covered, errors = np.random.default_rng(1), 0, []
    for seed in range(100):
        drawn = world(rng, 600, known=known)
        found = value(
            log(drawn.table, drawn.table.quality, drawn.features, seed=seed, estimate_behaviour=True), drawn.target
        )
        assert found.source == ("logged" if known else "estimated")
        assert (found.hidden == ()) == known
        covered += found.value.low <= TRUTH <= found.value.high
        errors.append(found.value.value - TRUTH)
    assert 0.89 <= covered / 100 <= 0.99
    assert abs(np.mean(errors)) < 3.5 * np.std(errors) / np.sqrt(100) + 0.002


def test_every_estimator_stands_beside_the_others_and_the_honest_ones_agree():
    drawn = world(np.random.default_rng(2), 5000)
    known = log(drawn.table, drawn.table.quality, drawn.features, seed=0, probabilities=drawn.chances)
    found = value(known, drawn.target)
    assert list(found.estimates) == list(ESTIMATORS)
    assert found.refused is None
    for name in ("ips", "snips", "dr", "switch"):
        estimate = found.estimates[name]
        assert estimate.low < TRUTH < estimate.high
    assert max(found.estimates[name].se for name in ("dr", "snips")) < 0.8 * found.estimates["ips"].se
    assert found.overlap.mean_weight == pytest.approx(1, abs=0.05)


def test_sessions_widen_the_interval():
    rng = np.random.default_rng(3)
    drawn = world(rng, 800)
    # Each request stands eight times in the log of one session.
    copies = np.repeat(np.arange(100), 8)
    table = replace(drawn.table.take(copies), sessions=np.array([f"s{i}" for i in copies]))
    one = log(table, table.quality, drawn.features[copies], seed=0)
    alone = replace(one, table=replace(one.table, sessions=np.array([f"r{i}" for i in range(800)])))
    clustered, naive = (value(each, drawn.target[copies]).estimates["dr"] for each in (one, alone))
    assert clustered.value == naive.value
    assert 2 < clustered.se / naive.se < 3.5  # the root of eight is 2.8


def test_unknown_propensities_are_left_out_or_estimated_and_counted():
    drawn = world(np.random.default_rng(4), 400)
    half = np.where(np.arange(400) % 2 == 0, drawn.table.propensity, np.nan)
    table = replace(drawn.table, propensity=half)
    known = log(table, table.quality, drawn.features, seed=0)
    assert (len(known), known.unknown, known.source) == (200, 0.5, "logged")
    filled = log(table, table.quality, drawn.features, seed=0, estimate_behaviour=True)
    assert (len(filled), filled.unknown, filled.source) == (400, 0.0, "estimated")
    np.testing.assert_array_equal(filled.propensity[::2], drawn.table.propensity[::2])
    nothing = replace(table, propensity=np.full(400, np.nan))
    with pytest.raises(EvaluationRefused, match=r"0 of 400 served requests .* \(400 propensities are unknown\)"):
        log(nothing, nothing.quality, drawn.features, seed=0)


def test_a_thin_log_is_refused_and_shows_why():
    drawn = world(np.random.default_rng(5), 200, epsilon=0.0)
    served = np.zeros(200, dtype=np.int64)
    table = replace(drawn.table, served=served, quality=np.full((200, 3), 0.5), propensity=np.full(200, 0.97))
    found = value(log(table, table.quality, drawn.features, seed=0), np.tile([0.0, 0.0, 1.0], (200, 1)))
    assert found.overlap.unsupported == 1
    with pytest.raises(EvaluationRefused, match="goes to dear, which served 0 of 200"):
        assert found.value


def test_segments_hold_together_and_find_a_difference_only_where_one_is():
    rng = np.random.default_rng(6)
    wrong = found = 0
    for seed in range(60):
        drawn = world(rng, 900)
        labels = np.array([f"task {i % 5}" for i in range(900)])
        quality = drawn.table.quality.copy()
        better = (labels == "task 3")[:, None] & (np.arange(3) == 2)  # the dear one is far better at one task
        quality = np.where(better & ~np.isnan(quality), 1.0, quality)
        quality = np.where((labels == "task 3")[:, None] & ~better & ~np.isnan(quality), 0.2, quality)
        known = log(drawn.table, quality, np.hstack([drawn.features, better[:, 2:]]), seed=seed)
        dear, middle = (np.tile(np.eye(3)[k], (900, 1)) for k in (2, 1))
        kinds = {f"task {i}": labels == f"task {i}" for i in range(5)}
        said = known.expected
        segments = {s.name: s for s in by_segment(drawn.table, quality, dear, kinds, middle, said)}
        assert len(segments) == 5
        found += segments["task 3"].p < 0.05
        true = 0.1 / 3
        others = [s for name, s in segments.items() if name != "task 3" and s.estimate is not None]
        wrong += any(not s.estimate.low <= true <= s.estimate.high for s in others)
    assert found >= 57
    assert wrong <= 8  # 5% of 60 are 3, and chance allows for some


def test_small_segments_are_refused_and_counted():
    drawn = world(np.random.default_rng(7), 400)
    kinds = {"many": np.arange(400) < 390, "few": np.arange(400) >= 390}
    many, few = by_segment(drawn.table, drawn.table.quality, drawn.target, kinds)
    assert (many.name, many.n, few.n) == ("many", 390, 10)
    assert "10 carry a propensity" in few.refused
    assert few.estimate is None
    assert many.estimate is not None
    assert many.p is None
    assert many.estimate.high - many.estimate.low > 1.1 * 3.92 * many.estimate.se  # two were looked at


def test_segments_count_probes_too():
    drawn = world(np.random.default_rng(11), 400)
    asked = np.arange(400) < 200
    quality = np.where(asked[:, None], drawn.mean, drawn.table.quality)
    table = replace(drawn.table, probed=asked, quality=quality)
    cheap = np.tile([1.0, 0.0, 0.0], (400, 1))
    (one,) = by_segment(table, quality, drawn.target, {"all": asked}, cheap)
    assert one.estimate.probed == 200
    exact = ((drawn.target - cheap) * drawn.mean).sum(axis=1)[asked]
    assert one.estimate.value == pytest.approx(exact.mean())


def test_policies_that_decide_alike_in_a_segment_are_not_refused_there():
    drawn = world(np.random.default_rng(8), 300)
    kinds = {"all": np.ones(300, dtype=bool)}
    (one,) = by_segment(drawn.table, drawn.table.quality, drawn.target, kinds, drawn.target)
    assert (one.estimate.value, one.p, one.refused) == (0.0, 1.0, None)


def test_a_difference_is_valued_on_the_rows_where_the_policies_differ():
    rng, covered = np.random.default_rng(12), 0
    for seed in range(60):
        drawn = world(rng, 800)
        known = log(drawn.table, drawn.table.quality, drawn.features, seed=seed, probabilities=drawn.chances)
        dear, cheap = (np.tile(np.eye(3)[k], (800, 1)) for k in (2, 0))
        found = value(known, dear, cheap)
        apart = value(known, dear).value.value - value(known, cheap).value.value
        assert found.value.value == pytest.approx(apart)
        assert found.overlap.mean_weight == pytest.approx(0, abs=0.5)
        covered += found.value.low <= 0.2 / 3 <= found.value.high
    assert covered >= 53
    same = value(known, dear, dear)
    assert (same.value.value, same.refused) == (0.0, None)


def test_holm_errs_once_in_twenty_families():
    rng = np.random.default_rng(9)
    families = [holm(rng.uniform(size=6)).min() < 0.05 for _ in range(10_000)]
    assert 0.042 <= np.mean(families) <= 0.056
