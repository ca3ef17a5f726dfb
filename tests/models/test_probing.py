from dataclasses import replace

import numpy as np
import pytest

from features.table import Table
from models.estimators import contrast
from models.probing import FEW, Planning, Situation, lot, plan, stakes
from models.probing_beliefs import NOISE, SHARED, Features, completed, fit, noise

NAMES = ("good", "rival", "hopeless")


def world(n: int, seed: int, known: int = 0) -> tuple[Situation, np.ndarray]:
    """Requests on a line: the rival is better on one side, the good one on the other, the hopeless nowhere."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(-1, 1, n)
    embedding = np.stack([place, rng.normal(0, 0.3, n)], axis=1).astype(np.float32)
    chance = np.stack([0.6 + 0.25 * place, 0.6 - 0.25 * place, np.full(n, 0.05)], axis=1)
    truth = (rng.random((n, 3)) < chance).astype(float)
    quality = np.where(np.arange(n)[:, None] < known, truth, np.nan)
    price = np.broadcast_to(np.array([0.01, 0.002, 0.01]), (n, 3))
    return Situation(
        request_ids=np.array([f"r{i}" for i in range(n)]), embedding=embedding, quality=quality, price=price,
        charge=np.zeros((n, 3)), traffic=np.ones(n), askable=np.isnan(quality),
    ), chance  # fmt: skip


def test_beliefs_find_the_truth_and_know_how_sure_they_are():
    situation, chance = world(1500, 0, known=1000)
    features = Features.of(situation.embedding)(situation.embedding)
    beliefs = fit(features, situation.quality)
    gap = beliefs.quality(features)[1000:] - chance[1000:]
    assert np.sqrt((gap**2).mean()) < 0.06
    deviation = np.sqrt(np.einsum("njj->nj", beliefs.covariances(features[1000:])))
    # A straight line is the truth here, so nine in ten standardised errors lie within 1.64; difficulty has no role.
    assert 0.75 < (np.abs(gap) < 1.64 * deviation).mean() <= 1.0


def test_differences_are_learned_from_pairs_whatever_the_difficulty():
    rng = np.random.default_rng(1)
    hard = rng.uniform(0, 0.8, 400)
    quality = np.full((400, 3), np.nan)
    # The first and second meet on easy requests, the second and third on hard ones: means alone would mislead.
    easy = hard < 0.4
    quality[easy, 0], quality[easy, 1] = 0.9 - hard[easy], 0.8 - hard[easy]
    quality[~easy, 1], quality[~easy, 2] = 0.8 - hard[~easy], 1.0 - hard[~easy]
    beliefs = fit(np.ones((400, 1)), quality)
    said = beliefs.quality(np.ones((1, 1)))[0]
    means = np.nanmean(quality, axis=0)
    # In truth the second trails the first by .1 and the third by .2; prior and noise keep the answer on the way there.
    assert 0.1 < said[0] - said[1] < means[0] - means[1] - 0.05
    assert means[2] - means[1] + 0.05 < said[2] - said[1] < 0.2


def test_asking_shrinks_the_covariance_as_fitting_the_answers_does():
    situation, _ = world(200, 2, known=100)
    features = Features.of(situation.embedding)(situation.embedding)
    before = fit(features, situation.quality)
    after = before.given(features[150], np.array([0, 1]))
    quality = situation.quality.copy()
    quality[150, :2] = [1.0, 0.0]
    refitted = [b for b in [fit(features, quality)] if b.spread == before.spread]
    assert refitted, "one answer does not move the spread here"
    np.testing.assert_allclose(after.covariance, refitted[0].covariance, atol=1e-8)
    assert np.trace(after.covariance) < np.trace(before.covariance)
    assert noise(2)[0, 0] == pytest.approx(NOISE * (1 + SHARED))


def test_gaps_are_filled_from_the_text_and_from_what_the_others_answered():
    situation, _ = world(1200, 13, known=1200)
    rng = np.random.default_rng(13)
    hard = rng.random(1200) < 0.5
    truth = np.where(hard[:, None], 0.0, situation.quality)
    quality = truth.copy()
    quality[::3, 1] = np.nan
    quality[1, 1:] = np.nan
    features = Features.of(situation.embedding)(situation.embedding)
    filled = completed(features, quality)
    seen = np.isfinite(quality)
    np.testing.assert_array_equal(filled[seen], quality[seen])
    assert np.isnan(filled[1, 1:]).all(), "one answer alone says too little"
    gaps = np.arange(0, 1200, 3)
    assert ((filled >= 0) & (filled <= 1))[gaps].all()
    # The same request's own answers say something about how hard it was, beyond the text.
    text_alone = fit(features, quality).quality(features)[gaps, 1]
    assert ((filled[gaps, 1] - truth[gaps, 1]) ** 2).mean() < ((text_alone - truth[gaps, 1]) ** 2).mean()


def test_what_is_at_stake_is_the_doubt_about_who_leads():
    situation, _ = world(800, 3, known=300)
    features = Features.of(situation.embedding)(situation.embedding)
    beliefs = fit(features, situation.quality)
    at_stake = stakes(beliefs, features, situation.charge)
    assert np.linalg.eigvalsh(at_stake).min() > -1e-9
    own = at_stake.reshape(3, features.shape[1], 3, features.shape[1])[[0, 1, 2], 0, [0, 1, 2], 0]
    assert own[2] < 0.01 * own[:2].min(), "nobody doubts that the hopeless one trails"


def test_planned_requests_leave_out_who_cannot_win_and_random_ones_ask_everyone():
    situation, _ = world(800, 4, known=200)
    picks = plan(situation, Planning(budget_usd=5.0, requests=100), NAMES, seed=0)
    random = [p for p in picks if p.kind == "random"]
    planned = [p for p in picks if p.kind == "planned"]
    assert (len(random), len(planned)) == (20, 80)
    assert all(p.candidates == (0, 1, 2) for p in random)
    assert all(2 not in p.candidates for p in planned)
    assert all(len(p.candidates) == 2 for p in planned), "paired with the leader"
    assert all("leads" in p.reason and p.gain > 0 for p in planned)
    assert len({p.row for p in picks}) == 100


def test_planned_requests_are_where_the_leader_is_in_doubt():
    rng = np.random.default_rng(5)
    kind = np.arange(1500) % 2
    embedding = (np.eye(2)[kind] + rng.normal(0, 0.05, (1500, 2))).astype(np.float32)
    # On requests of the first kind all is plain; on the second the two are nearly alike.
    chance = np.array([[0.9, 0.1, 0.05], [0.52, 0.5, 0.05]])[kind]
    quality = np.where(np.arange(1500)[:, None] < 300, (rng.random((1500, 3)) < chance).astype(float), np.nan)
    situation, _ = world(1500, 5)
    situation = replace(situation, embedding=embedding, quality=quality, askable=np.isnan(quality))
    picks = plan(situation, Planning(budget_usd=5.0, requests=60, random_share=0.0), NAMES, seed=0)
    assert np.mean([kind[p.row] for p in picks]) > 0.8


def test_a_dear_request_must_be_worth_it():
    situation, _ = world(800, 6, known=200)
    price = situation.price.copy()
    price[::2] *= 20
    picks = plan(replace(situation, price=price), Planning(50.0, 60, random_share=0.0), NAMES, seed=0)
    dear = np.mean([p.row % 2 == 0 for p in picks])
    assert dear < 0.2


def test_the_budget_is_kept_and_nothing_known_is_asked_again():
    situation, _ = world(500, 7, known=100)
    for budget in (0.0, 0.03, 0.5):
        picks = plan(situation, Planning(budget, 400), NAMES, seed=1)
        assert sum(p.usd for p in picks) <= budget + 1e-12
        assert all(p.row >= 100 for p in picks)


def test_cold_everyone_is_asked_by_lot():
    situation, _ = world(300, 8, known=FEW - 1)
    picks = plan(situation, Planning(10.0, 50), NAMES, seed=0)
    assert len(picks) == 50
    assert all(p.candidates == (0, 1, 2) for p in picks)


def test_busy_prompts_are_planned_first():
    situation, _ = world(600, 9)
    traffic = np.where(np.arange(600) < 100, 20.0, 1.0)
    picks = plan(replace(situation, traffic=traffic), Planning(10.0, 60, random_share=0.0), NAMES, seed=0)
    assert np.mean([p.row < 100 for p in picks]) > 0.6


def test_random_requests_of_several_plans_are_one_sample_whatever_was_planned_between():
    situation, _ = world(400, 10)
    drawn: set[int] = set()
    quality = situation.quality.copy()
    for _ in range(3):
        known = replace(situation, quality=quality, askable=np.isnan(quality))
        for pick in plan(known, Planning(10.0, 50), NAMES, seed=5):
            quality[pick.row, list(pick.candidates)] = 0.5
            if pick.kind == "random":
                drawn.add(pick.row)
    lots = np.array([lot(5, "random", name) for name in situation.request_ids.tolist()])
    complete = np.isfinite(quality).all(axis=1)
    largest = max(lots[row] for row in drawn)
    # Everyone whose lot is smaller is known whole: drawn, or planned before and asked of all the same.
    assert complete[lots <= largest].all()
    assert len(drawn) >= 25


def test_the_lot_does_not_look_at_the_request():
    lots = np.array([lot(0, "random", f"r{i}") for i in range(20_000)])
    counts = np.histogram(lots, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees of freedom, p = .001
    assert lot(0, "random", "r1") != lot(1, "random", "r1")


def test_inclusion_is_the_share_of_requests_drawn():
    situation, _ = world(1000, 11)
    picks = plan(situation, Planning(100.0, 200), NAMES, seed=2)
    (inclusion,) = {p.inclusion for p in picks if p.kind == "random"}
    assert inclusion == pytest.approx(40 / 1000)


def test_a_candidate_that_cannot_be_called_keeps_nobody_from_being_drawn():
    situation, _ = world(200, 12)
    askable = situation.askable.copy()
    askable[:, 2] = False
    picks = plan(replace(situation, askable=askable), Planning(10.0, 20, random_share=1.0), NAMES, seed=0)
    assert len(picks) == 20
    assert all(p.candidates == (0, 1) for p in picks)


def test_planned_rows_would_bias_the_gate_and_are_left_out_of_it():
    """Two policies that differ on half of the requests; a planner probes that half, where nothing else does."""
    n, differences, flawed = 400, [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        easy = rng.random(n) < 0.5
        quality = np.where(easy[:, None], [0.9, 0.5], [0.4, 0.6]) + rng.normal(0, 0.1, (n, 2))
        random = rng.random(n) < 0.25
        planned = ~random & ~easy & (rng.random(n) < 0.6)
        seen = np.where((random | planned)[:, None], quality, np.nan)
        table = Table(
            candidates=("a", "b"), request_ids=np.arange(n).astype(str), texts=("x",) * n,
            at=np.datetime64("2026-01-01", "us") + np.arange(n), sessions=np.arange(n).astype(str),
            input_tokens=np.ones(n), quality=seen, cost_usd=seen, latency_ms=seen, output_tokens=seen,
            served=np.full(n, -1), propensity=np.full(n, np.nan), probed=random,
        )  # fmt: skip
        second, first = np.tile([0.0, 1.0], (n, 1)), np.tile([1.0, 0.0], (n, 1))
        differences.append(contrast(table, seen, second, first))
        flawed.append(contrast(replace(table, probed=random | planned), seen, second, first).value)
    truth = 0.5 * (0.5 - 0.9) + 0.5 * (0.6 - 0.4)
    assert abs(np.mean([d.value for d in differences]) - truth) < 0.01
    assert np.mean([d.low <= truth <= d.high for d in differences]) > 0.88
    assert np.mean(flawed) > truth + 0.05
