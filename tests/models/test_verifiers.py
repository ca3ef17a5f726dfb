"""The verifier refuses what turns a question, accepts what does not, and its budget holds."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.cache import Cache, CacheSettings, Memory, Semantic
from beastmode.cache.learned import LearnedVerifier
from beastmode.errors import BundleError
from features.edits import HARMFUL, HARMLESS, edits
from features.questions import questions
from features.worlds.questions import pairs
from models.encoders import EncoderSettings, fit
from models.verifiers import VerifierSettings, examples, train, trained, within_budget, without
from models.verifiers_stream import Served, bounded_threshold, candidates, point_threshold, served, wrong_bounds

SETTINGS = VerifierSettings(trees=80, edited=500, budget=0.02, candidates=8)


@pytest.fixture(scope="module")
def world():
    known = questions(pairs(1000, 0))
    encoder = fit(
        known.texts, [str(i) for i in range(len(known))], EncoderSettings(surface_columns=0, term_columns=96), 0
    )

    def embed(texts):
        vectors = encoder.encode(texts)[:, encoder.embedding]
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    taught = examples(known, embed, SETTINGS, 0)
    return known, encoder, embed, taught, trained(taught, SETTINGS, 0)


def edited(embed, families, seed):
    fresh = questions(pairs(400, 99)).texts
    made = list(edits(fresh, families, seed))
    cosines = (embed([edit.edited for edit in made]) * embed([edit.text for edit in made])).sum(axis=1)
    return [(edit.edited, edit.text, float(cosine)) for edit, cosine in zip(made, cosines, strict=True)]


@pytest.mark.parametrize("family", HARMFUL)
def test_an_edit_to_another_meaning_is_refused(world, family):
    _, _, embed, _, learned = world
    assert (learned.verifier.scores(edited(embed, [family], 7)) >= learned.verifier.threshold).mean() <= 0.02


@pytest.mark.parametrize("family", sorted(set(HARMLESS) - {"reorder", "contraction"}))
def test_a_harmless_edit_is_accepted(world, family):
    _, _, embed, _, learned = world
    assert (learned.verifier.scores(edited(embed, [family], 8)) >= learned.verifier.threshold).mean() >= 0.8


@pytest.mark.parametrize("family", HARMFUL)
def test_a_family_left_out_of_training_is_told_from_harmless_edits(world, family):
    _, _, embed, taught, _ = world
    naive = without(taught, [family], SETTINGS, 0)
    harmless = np.sort(naive.scores(edited(embed, HARMLESS, 9)))
    assert (naive.scores(edited(embed, [family], 9)) >= harmless[len(harmless) // 2]).mean() <= 0.05


def test_the_verifier_beats_the_cosine_on_questions_never_seen(world):
    _, _, embed, _, learned = world
    fresh = questions(pairs(500, 5))
    order = np.random.default_rng(0).permutation(len(fresh))
    near = candidates(embed(fresh.texts), order, SETTINGS.candidates, SETTINGS.floor)
    rows = [
        (fresh.texts[a], fresh.texts[b], float(c)) for a, b, c in zip(near.asked, near.stored, near.cosine, strict=True)
    ]
    by_cosine = served(near, near.cosine, fresh.classes, order)
    by_verifier = served(near, learned.verifier.scores(rows), fresh.classes, order)
    best = by_cosine.at(point_threshold(by_cosine, 0.02))["good"]
    told = by_verifier.at(learned.verifier.threshold)
    assert told["good"] > best + 0.05
    assert told["wrong"] <= 0.03


def test_the_bound_holds_in_at_least_nineteen_of_twenty_streams():
    """Scores of right answers N(1, 1), of wrong ones N(-1, 1): the true risk at a threshold is a known integral."""
    from math import erfc, sqrt

    rng, requests, budget, over, naive = np.random.default_rng(3), 2000, 0.02, 0, 0
    for _ in range(400):
        right = rng.random(requests) < 0.3
        stream = Served(rng.normal(np.where(right, 1.0, -1.0)), right, right)
        risk = [0.7 * 0.5 * erfc((low + 1) / sqrt(2)) for low in
                (bounded_threshold(stream, budget), point_threshold(stream, budget))]  # fmt: skip
        over += risk[0] > budget
        naive += risk[1] > budget
    # Three standard errors of 5% among 400, and what trusts the point alone breaks its word half of the time.
    assert over / 400 <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    assert naive / 400 > 0.3


def test_the_bound_holds_where_the_mistakes_of_a_group_come_together():
    """Groups of one to ten requests that are served wrong all together, or not at all: the true risk is the share."""
    rng, risk, over, naive = np.random.default_rng(4), 0.04, 0, 0
    for _ in range(400):
        size = rng.integers(1, 11, 300)
        group = np.repeat(np.arange(300), size)
        bad = (rng.random(300) < risk)[group]
        # Every wrong answer scores 1 or more, so that a threshold under that serves them all.
        stream = Served(rng.random(len(group)) + bad, ~bad, ~bad, group)
        over += stream.at(0.0)["wrong_upper"] < risk
        naive += replace(stream, group=None).at(0.0)["wrong_upper"] < risk
    assert over / 400 <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    assert naive / 400 > 0.15


def test_bounds_are_those_of_the_design_effect_computed_group_by_group():
    from models.exact import upper, uppers

    rng = np.random.default_rng(5)
    group = rng.integers(0, 40, 500)
    wrong = rng.permutation(500)[:60]
    none = np.zeros(500, dtype=bool)
    bounds = wrong_bounds(Served(np.ones(500), none, none, group), wrong, 0.05)
    for k in (0, 1, 7, 60):
        flags = np.zeros(500)
        flags[wrong[:k]] = 1
        p, residual = flags.mean(), np.bincount(group, flags - flags.mean())
        effect = max(40 / 39 * (residual**2).sum() / 500**2 / max(p * (1 - p) / 499, 1e-12), 1.0) if k else 1.0
        assert bounds[k] == pytest.approx(float(uppers(np.array(k / effect), np.array(500 / effect), 0.05)))
    alone = wrong_bounds(Served(np.ones(500), none, none), wrong, 0.05)
    assert alone == pytest.approx([upper(k, 500, 0.05) for k in range(61)])


def test_no_threshold_is_given_where_the_stream_is_too_short_for_the_budget():
    stream = Served(np.array([3.0, 2.0]), np.array([True, True]), np.array([True, True]))
    assert bounded_threshold(stream, 0.01) == np.inf
    assert point_threshold(stream, 0.01) == 2.0


def test_a_threshold_serves_no_wrong_answer_more_than_allowed():
    score, right = np.array([5.0, 4.0, 3.0, 3.0, 1.0, -np.inf]), np.array([1, 0, 1, 0, 1, 0], dtype=bool)
    stream = Served(score, right, right)
    assert point_threshold(stream, 1 / 6) == 4.0
    assert point_threshold(stream, 0.0) == 5.0
    assert point_threshold(stream, 0.5) == 1.0
    assert stream.at(4.0)["good"] == stream.at(4.0)["wrong"] == 1 / 6


def test_candidates_are_earlier_ones_and_the_nearest(world):
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 0, 1, 0]]
    found = candidates(vectors, np.array([4, 1, 2, 3, 0]), 2, 0.5)
    assert list(zip(found.asked.tolist(), found.stored.tolist(), strict=True)) == [(2, 4), (3, 1), (0, 4), (0, 2)]


def test_a_verifier_comes_back_as_it_was_written(world, tmp_path):
    verifier = world[-1].verifier
    digest = verifier.write(tmp_path / "verifier")
    back = LearnedVerifier.load(tmp_path / "verifier", digest)
    rows = edited(world[2], HARMFUL, 3)[:50]
    assert np.array_equal(back.scores(rows), verifier.scores(rows))
    assert back.accepts(*rows[0]) == pytest.approx(verifier.scores(rows[:1])[0], abs=1e-12)
    assert back.threshold == verifier.threshold
    assert back.told == verifier.told


def test_a_damaged_or_foreign_verifier_is_refused(world, tmp_path):
    verifier = world[-1].verifier
    verifier.write(tmp_path / "one")
    with pytest.raises(BundleError, match="expected"):
        LearnedVerifier.load(tmp_path / "one", "0" * 64)
    file = tmp_path / "one" / "forest_verifier.txt"
    file.write_bytes(file.read_bytes().replace(b"leaf_value=", b"leaf_value=9", 1))
    with pytest.raises(BundleError):
        LearnedVerifier.load(tmp_path / "one")
    with pytest.raises(ValueError, match="columns"):
        LearnedVerifier.of(verifier.text.replace("max_feature_idx=", "max_feature_idx=1"), verifier.rarity.table, 0.5)


def test_where_nothing_keeps_the_budget_nothing_is_served(world, tmp_path):
    never = replace(world[-1].verifier, threshold=float("inf"))
    never.write(tmp_path / "never")
    assert LearnedVerifier.load(tmp_path / "never").threshold == float("inf")


def test_a_lower_budget_means_a_higher_threshold_and_none_buys_what_is_likely_wrong(world):
    stream = world[-1].stream
    assert within_budget(stream, 0.0005, None) > within_budget(stream, 0.2, None) == 0.5
    assert within_budget(stream, 0.005, 0.05) >= within_budget(stream, 0.005, None)


def test_the_cache_serves_a_paraphrase_and_refuses_an_edit(world):
    _, encoder, _, _, learned = world
    semantic = Semantic(encoder, learned.verifier, candidates=8, quarantine_seconds=0, canary_share=0)
    with Cache([Memory(), semantic], CacheSettings(ttl_seconds=60)) as cache:
        cache.put("Can I return a premium camera after 3 weeks in Norway?", "Yes.", model="m")
        kept = cache.get("can i return the premium camera after 3 weeks in Norway", model="m")
        assert kept is not None
        assert kept.tier == "semantic"
        assert 0 < kept.score <= 1
        assert cache.get("Can I not return a premium camera after 3 weeks in Norway?", model="m") is None
        assert cache.get("Can I return a premium camera after 5 weeks in Norway?", model="m") is None
        assert cache.get("Can I return a premium camera after 3 weeks in Kenya?", model="m") is None


def test_one_label_alone_teaches_nothing():
    rows = [{"text_a": f"a {i}?", "text_b": f"b {i}?", "label": 1} for i in range(10)]
    known = questions(rows)
    settings = VerifierSettings(edited=0, folds=2)
    with pytest.raises(ValueError, match="one label"):
        train(known, lambda texts: np.eye(20, dtype=np.float32)[: len(texts)], settings, 0)
