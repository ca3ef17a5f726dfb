"""Newcomers: a head from few probes that knows its doubt, leaks nothing, and leaves the others as they were."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from beastmode.blend import combine
from beastmode.bundle import Bundle
from beastmode.candidates import Candidate
from beastmode.objective import Objective
from features.outcomes import catalogue
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import exporting
from models.examples import Examples, examples
from models.fitted import Learning
from models.newcomers import LEAST, joined, newcomers
from models.recipes import Settings, Trained, train
from models.routing_metrics import auc

M, NEW = 5, 4
"""Candidates of the drawn world; the last is the newcomer."""
MIX = np.concatenate([np.eye(M)[None], np.zeros((2, M, M))])
"""All is said by the first part."""


def hide(table: Table, column: int, asked: np.ndarray) -> Table:
    seen = np.ones(table.quality.shape, dtype=bool)
    seen[:, column] = False
    seen[asked, column] = True
    names = ("quality", "cost_usd", "latency_ms", "output_tokens")
    return replace(table, **{name: np.where(seen, getattr(table, name), np.nan) for name in names})


def drawn(seed: int, n: int, probes: int, heads: int = M - 1) -> tuple[Examples, list[np.ndarray], float]:
    """Return a world where chances are linear in a difficulty and a taste, what is said of it, and the newcomer's mean.

    What is foretold is the truth less a request's own luck; `heads` is how many others there are.
    """
    rng = np.random.default_rng(seed)
    difficulty, taste, luck = (rng.normal(0, size, n) for size in (0.12, 0.08, 0.12))
    mean = rng.normal(0.55, 0.08, M)
    slope, lean = rng.normal(1.0, 0.2, M), rng.choice([-1.0, 1.0], M)
    foretold = difficulty[:, None] * slope + taste[:, None] * lean
    chance = np.clip(mean + foretold + luck[:, None], 0, 1)
    quality = (rng.random((n, M)) < chance).astype(float)
    absent = np.arange(M) < NEW - heads
    table = replace(
        Table(
            candidates=tuple("abcde"), request_ids=np.array([str(i) for i in range(n)]),
            texts=tuple(f"ask {i}" for i in range(n)), at=np.datetime64("2026-01-01", "us") + np.arange(n),
            sessions=np.array([str(i) for i in range(n)]), input_tokens=np.full(n, 10.0), quality=quality,
            cost_usd=np.full((n, M), np.nan), latency_ms=np.full((n, M), np.nan), output_tokens=np.full((n, M), np.nan),
            served=np.full(n, -1), propensity=np.full(n, np.nan), probed=np.ones(n, dtype=bool),
        ),
        quality=np.where(absent, np.nan, quality),
    )  # fmt: skip
    asked = rng.permutation(n)[:probes]
    known = examples(
        hide(table, NEW, asked), np.zeros((n, 2), dtype=np.float32), ("x", "y"), slice(0, 2),
        [Candidate(name) for name in table.candidates], Objective(), 4, 0,
    )  # fmt: skip
    said = np.where(known.active, foretold, 0.0)
    return known, [said, np.zeros_like(said), np.zeros_like(said)], float(quality[:, NEW].mean())


def test_intervals_of_a_newcomers_mean_hold_and_beat_those_of_the_bare_mean():
    errors, doubts, bare = [], [], []
    for seed in range(150):
        known, words, truth = drawn(seed, 800, 100)
        (one,) = newcomers(known, words, MIX)
        assert one.probes == 100
        errors.append(one.mean - truth)
        doubts.append(one.se)
        bare.append(np.nanmean(known.table.quality[:, NEW]) - truth)
    covered = np.mean(np.abs(errors) <= 1.96 * np.array(doubts))
    assert 0.91 <= covered <= 1.0, covered
    assert np.std(errors) < 0.95 * np.std(bare)
    # An honest doubt is no larger than it need be. The truth is the mean over 800 requests, so it is a little large.
    assert np.mean(doubts) < 1.25 * np.std(errors)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(150)


def test_more_probes_find_the_slopes_and_leave_less_doubt():
    found = {}
    for probes in (40, 390):
        gaps, doubts = [], []
        for seed in range(30):
            known, words, _ = drawn(seed, 800, probes)
            (one,) = newcomers(known, words, MIX)
            full, more, _ = drawn(seed, 800, 800)
            best = np.linalg.lstsq(
                np.column_stack([np.ones(800), more[0]]), full.table.quality[:, NEW], rcond=None
            )[0][1:]  # fmt: skip
            gaps.append(np.std(words[0] @ one.head - more[0] @ best))
            doubts.append(one.se)
        found[probes] = np.mean(gaps), np.mean(doubts)
    assert found[390][0] < 0.75 * found[40][0]
    assert found[390][1] < 0.5 * found[40][1]


def test_the_column_that_is_joined_says_what_the_head_says_and_leaves_the_others():
    known, words, _ = drawn(1, 500, 90)
    (one,) = newcomers(known, words, MIX)
    mix, mean = joined([one], MIX, known.mean)
    quality = combine(words, mix, mean)
    np.testing.assert_allclose(quality[:, NEW], one.offset + words[0] @ one.head)
    np.testing.assert_allclose(quality[:, NEW].mean(), one.mean - 2 * one.se, atol=1e-9)
    np.testing.assert_array_equal(quality[:, :NEW], combine(words, MIX, known.mean)[:, :NEW])


def test_out_of_fold_words_do_not_know_the_fold_they_are_for():
    known, words, _ = drawn(2, 500, 90)
    (before,) = newcomers(known, words, MIX)
    inside = known.fold == 1
    turned = known.table.quality.copy()
    turned[inside, NEW] = 1 - turned[inside, NEW]
    (after,) = newcomers(replace(known, table=replace(known.table, quality=turned)), words, MIX)
    np.testing.assert_allclose(after.out_of_fold[inside], before.out_of_fold[inside])
    assert not np.allclose(after.out_of_fold[~inside], before.out_of_fold[~inside])


@pytest.mark.parametrize("heads", [2, 3])
def test_two_or_three_others_are_enough_to_go_by(heads):
    known, words, truth = drawn(3, 600, 200, heads)
    assert known.active.sum() == heads
    (one,) = newcomers(known, words, MIX)
    assert abs(one.mean - truth) < 4 * one.se
    assert 0.2 < one.head.sum() < 2.0
    assert set(np.flatnonzero(one.head)) <= set(np.flatnonzero(known.active))


def test_a_single_other_is_gone_by_as_the_stated_guess_has_it():
    known, words, _ = drawn(5, 900, 900)
    # Three candidates were asked of a third of the requests each: only the fourth was asked of most.
    third = np.arange(900) % 3
    quality = known.table.quality.copy()
    quality[:, 0] = np.nan
    quality[third[:, None] != np.array([9, 0, 1, 9, 2])] = np.nan
    quality[:, 3] = known.table.quality[:, 3]
    table = replace(known.table, quality=quality)
    lone = examples(
        table, known.encoding, known.names, known.embedding, [Candidate(name) for name in table.candidates],
        Objective(), 4, 0,
    )  # fmt: skip
    assert lone.active.tolist() == [False, False, False, True, False]
    found = newcomers(lone, [np.where(lone.active, word, 0.0) for word in words], MIX)
    assert [one.column for one in found] == [1, 2, 4]
    for one in found:
        assert np.flatnonzero(one.head).tolist() == [3]
        assert abs(one.mean - known.table.quality[:, one.column].mean()) < 4 * one.se


def test_too_few_probes_and_probes_of_a_lone_candidate_teach_nothing():
    known, words, _ = drawn(4, 500, LEAST - 1)
    assert newcomers(known, words, MIX) == ()
    known, words, _ = drawn(4, 500, LEAST)
    assert len(newcomers(known, words, MIX)) == 1
    # What was served alone was chosen for the request: the others' outcomes are unknown there.
    alone = np.isfinite(known.table.quality[:, NEW])
    quality = np.where(alone[:, None] & (np.arange(M) != NEW), np.nan, known.table.quality)
    assert newcomers(replace(known, table=replace(known.table, quality=quality)), words, MIX) == ()


@cache
def trained(column: int, probes: int) -> tuple[Trained, Table, Table]:
    table = outcomes(SyntheticSettings(prompts=1200), 6)[0]
    past, future = table.take(np.arange(800)), table.take(np.arange(800, 1200))
    asked = np.random.default_rng(0).permutation(800)[:probes]
    settings = Settings(learning=Learning(folds=4, trials=2, rounds=30, prototypes=128))
    made = train(hide(past, column, asked), settings, 0, candidates=catalogue(past), objective=Objective())
    return made, past, future


@pytest.mark.parametrize("column", [0, 1])
def test_a_bundle_ranks_requests_for_a_newcomer_and_the_report_says_how_sure_it_is(column, tmp_path):
    made, past, future = trained(column, 100)
    written = exporting.bundle(made, name="new", created="2026-01-01", training={}, evaluation={}).write(tmp_path / "b")
    said = Bundle.read(tmp_path / "b", written.sha256).expect(future.texts).quality
    assert auc(future.quality[:, [column]], said[:, [column]]) > 0.55
    (one,) = made.report["newcomers"]
    assert one["candidate"] == past.candidates[column]
    assert one["probes"] == 100
    assert abs(one["mean"] - past.quality[:, column].mean()) < 3 * one["se"]
    assert one["promised"] == pytest.approx(one["mean"] - 2 * one["se"])
    assert said[:, column].mean() == pytest.approx(one["promised"], abs=0.03)
    assert (one["probes_needed"] == 0) == one["decided"]


def test_no_operating_point_is_rehearsed_with_a_newcomer():
    # The cheapest candidate is the newcomer: a policy that took it would have no known outcome.
    column = 5
    made, _, _ = trained(column, 100)
    assert np.isnan(made.rehearsal.expected_quality[:, column]).all()
    assert np.isfinite(np.delete(made.rehearsal.expected_quality, column, axis=1)).all()
    assert made.policy.incumbent != column
    assert any(trade["saving"] > 0 for trade in made.report["trades"])
    assert all(np.isfinite(trade["saving"]) for trade in made.report["trades"])


def test_a_table_without_a_newcomer_reports_none():
    table = outcomes(SyntheticSettings(prompts=120), 6)[0]
    made = train(table, Settings.small(), 0, candidates=catalogue(table), objective=Objective())
    assert made.report["newcomers"] == []
