"""Logs are believed where they help and agree with the probes, and count for nothing where they do not."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from benchmarks.logs import joined, serve
from features.outcomes import catalogue
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import logged
from models.examples import Examples, examples
from models.fitted import Fitted, Judge, Learning
from models.logged import Doubt, Logs, correct, disagreement, learn
from models.recipes import Settings, train
from models.selectors import SELECTORS
from models.values import decide, earned

LEARNING = Learning(folds=4, trials=0, rounds=6, prototypes=32)
MEANS = np.array([0.62, 0.56, 0.5, 0.64, 0.45])
"""True levels of five candidates; the first and the fourth are each better on half of the requests."""


def world(n: int, rng: np.random.Generator):
    """Return requests' one telling column (n,), and every outcome (n, 5)."""
    side, hard = rng.choice([-1.0, 1.0], n), rng.normal(0, 1, n)
    chance = MEANS + 0.12 * side[:, None] * np.array([1, 0, 0, -1, 0]) - 0.08 * hard[:, None]
    return np.stack([side, hard], axis=1), (rng.random(chance.shape) < chance).astype(float)


def seen(place, rng: np.random.Generator):
    """Return requests as an encoder sees them, (n, 2): of unit length, and not quite right."""
    encoding = place + rng.normal(0, 0.3, place.shape)
    return (encoding / np.linalg.norm(encoding, axis=1, keepdims=True)).astype(np.float32)


def known_of(seed: int, probes: int = 80, logs: int = 6000, *, epsilon: float = 1.0, change=None) -> Examples:
    """Return probed and logged rows, by an epsilon policy; `change` may spoil the logs."""
    rng = np.random.default_rng(seed)
    place, quality = world(probes + logs, rng)
    base = outcomes(SyntheticSettings(prompts=8), 0)[0]
    n, m = quality.shape
    ids = np.array([f"r{i}" for i in range(n)])
    nothing = np.full((n, m), np.nan)
    table = replace(
        base, candidates=tuple("abcde"), request_ids=ids, sessions=ids, texts=tuple(f"request {i}" for i in range(n)),
        at=np.datetime64("2026-01-01T00:00:00", "us") + np.arange(n).astype("timedelta64[s]"),
        input_tokens=np.full(n, 10.0), quality=quality, cost_usd=nothing, latency_ms=nothing, output_tokens=nothing,
        served=np.full(n, -1), propensity=np.full(n, np.nan), probed=np.ones(n, dtype=bool),
    )  # fmt: skip
    log = serve(table.take(np.arange(probes, n)), MEANS, "best", epsilon, rng)
    if change is not None:
        log = change(log, quality[probes:], rng)
    both = joined(table.take(np.arange(probes)), log)
    return examples(both, seen(place, rng), ("a", "b"), slice(0, 2), catalogue(both), Objective(), LEARNING.folds, seed)


def fit(known: Examples, seed: int) -> Fitted:
    return SELECTORS["blend"](known, LEARNING, seed, None)


def test_the_correction_moves_levels_to_the_truth_by_what_probes_and_logs_know():
    before, after = [], []
    for seed in range(6):
        known = known_of(seed, epsilon=0.5)
        quality = fit(known, seed).out_of_fold.quality
        made = correct(
            known, Doubt.of(known, quality), Logs.of(known), known.judged, quality - known.mean, known.mean, 1.0
        )
        before.append(quality.mean(axis=0) - MEANS)
        after.append((quality + made.of(quality - known.mean)).mean(axis=0) - MEANS)
    assert np.square(after).mean() < 0.5 * np.square(before).mean()


def test_levels_that_agree_are_seldom_said_to_disagree():
    chances = []
    for seed in range(30):
        known = known_of(seed, logs=1500, epsilon=0.6)
        quality = np.tile(known.mean, (len(known), 1))
        chances.append(disagreement(known, Doubt.of(known, quality), Logs.of(known), quality))
    assert np.mean(np.array(chances) < logged.DISAGREE) <= 0.1
    assert 0.25 < np.median(chances) < 0.75


def test_logs_raise_the_value_where_probes_are_few():
    gains, weights = [], []
    for seed in range(12):
        known = known_of(seed, probes=160)
        found = fit(known, seed)
        corrected = learn(known, found, 1.0)
        weights.append(corrected.report["logs"]["weight"])
        place, truth = world(20_000, np.random.default_rng(100 + seed))
        gains.append(value(known, corrected, place, truth) - value(known, found, place, truth))
    assert np.mean(np.array(weights) > 0) >= 0.3
    assert np.mean(gains) > 0.003
    assert min(gains) > -0.02


def value(known: Examples, fitted: Fitted, place, truth) -> float:
    """Return what a fit earns on fresh requests, by the margin that its own out-of-fold word chooses."""
    judge = Judge.of(known, fitted.out_of_fold.amounts, 1.0)
    margin, _ = judge.margin(fitted.out_of_fold.quality[judge.rows])
    said = fitted.scorer.predict(seen(place, np.random.default_rng(7)), np.full(len(place), 10.0)).quality
    return float(earned(truth, decide(said, known.incumbent, margin)).mean())


def meaningless(log, truth, rng):
    """Give outcomes that have nothing to do with who served."""
    coin = (rng.random(truth.shape) < 0.5).astype(float)
    return replace(log, quality=np.where(np.isnan(log.quality), np.nan, coin))


def confounded(log, truth, rng):
    """Serve each candidate where it is right more often than its propensity says."""
    odds = np.where(truth > 0.5, 3.0, 1.0)
    odds /= odds.sum(axis=1, keepdims=True)
    drawn = (odds.cumsum(axis=1) < rng.random((len(odds), 1))).sum(axis=1)
    seen = np.arange(truth.shape[1]) == drawn[:, None]
    return replace(log, served=drawn, quality=np.where(seen, truth, np.nan))


@pytest.mark.parametrize(("change", "why"), [(confounded, "contradict the probes"), (meaningless, "")])
def test_logs_with_wrong_propensities_or_without_signal_have_no_weight(change, why):
    for seed in range(3):
        known = known_of(seed, change=change)
        found = fit(known, seed)
        corrected = learn(known, found, 1.0)
        assert corrected.report["logs"]["weight"] == 0
        assert why in corrected.report["logs"]["why"]
        assert corrected.scorer is found.scorer
        assert corrected.out_of_fold is found.out_of_fold


def test_logs_without_propensity_or_of_probed_prompts_are_left_alone():
    known = known_of(2)
    mute = replace(known, table=replace(known.table, propensity=np.full(len(known), np.nan)))
    assert len(Logs.of(mute)) == 0
    twins = replace(known.table, texts=tuple(["Request 0 "] * 100 + list(known.table.texts[100:])))
    assert len(Logs.of(replace(known, table=twins))) == len(Logs.of(known)) - 20


def test_what_is_served_is_what_is_reported():
    known = known_of(1)
    found = fit(known, 1)
    quality = found.out_of_fold.quality
    made = correct(known, Doubt.of(known, quality), Logs.of(known), known.judged, quality - known.mean, known.mean, 1.0)
    rows = slice(0, 50)
    plain = found.scorer.predict(known.encoding[rows], known.table.input_tokens[rows]).quality
    moved = made.blend(found.scorer).predict(known.encoding[rows], known.table.input_tokens[rows]).quality
    assert moved == pytest.approx(np.clip(plain + made.of(plain - known.mean), 0, 1), abs=1e-9)


def test_a_table_of_probes_alone_says_that_there_is_nothing_to_learn_from_logs():
    table = outcomes(SyntheticSettings(prompts=300), 3)[0]
    trained = train(table, Settings(learning=LEARNING), 0, candidates=catalogue(table), objective=Objective())
    assert trained.report["fit"]["logs"] == {
        "rows": 0, "weight": 0.0, "why": f"fewer than {logged.ENOUGH} logged outcomes have a propensity"
    }  # fmt: skip
