"""Lengths and latencies: totals are right, intervals hold nine in ten, and what was never seen is NaN."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.scoring import Usage
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models.usage import crossed_usage, fit_usage, length_factors
from models.usage_metrics import covered, pinball, usual

NOTHING = np.zeros((1, 0))


@pytest.fixture(scope="module")
def table() -> Table:
    return outcomes(SyntheticSettings(prompts=500), 1)[0]


def with_latency(table: Table, seed: int = 0) -> Table:
    noise = np.random.default_rng(seed).lognormal(0, 0.2, table.quality.shape)
    latency = (300 + 12 * table.output_tokens + 0.5 * table.input_tokens[:, None]) * noise
    return replace(table, latency_ms=latency)


def made(n: int, m: int, seed: int) -> tuple[Table, np.ndarray]:
    """Return lognormal answers whose length and spread depend on the request, and what is known of it, (n, 1)."""
    rng = np.random.default_rng(seed)
    base = outcomes(SyntheticSettings(prompts=n), 1)[0]
    spoken = rng.normal(size=(n, 1))
    spread = np.exp(-1.2 + 0.5 * spoken)
    log = 5 + np.linspace(-0.5, 0.5, m) + spoken * np.linspace(0.5, 1.0, m) + spread * rng.normal(size=(n, m))
    known = {name: getattr(base, name)[:, :m] for name in ("quality", "cost_usd")}
    tokens = np.exp(log)
    latency = (200 + 10 * tokens) * rng.lognormal(0, 0.3, tokens.shape)
    names = base.candidates[:m]
    return replace(base, candidates=names, output_tokens=tokens, latency_ms=latency, **known), spoken


def test_constant_lengths_are_means(table):
    tokens, *_ = fit_usage(table).predict(np.zeros((3, 0)), np.full(3, 50.0))
    np.testing.assert_allclose(tokens[0], table.output_tokens.mean(axis=0))


def test_length_factors_explain_lengths_and_keep_totals(table):
    spoken, loadings = length_factors(table.output_tokens, 1)
    assert np.isfinite(spoken).all()
    usage = fit_usage(table, spoken, loadings)
    tokens, *_ = usage.predict(spoken, table.expected_tokens)
    np.testing.assert_allclose(tokens.sum(axis=0), table.output_tokens.sum(axis=0), rtol=1e-6)
    flat = np.abs(np.log(table.output_tokens / table.output_tokens.mean(axis=0))).mean()
    assert np.abs(np.log(table.output_tokens / tokens)).mean() < 0.8 * flat


def test_factors_are_told_only_where_every_candidate_answered(table):
    tokens = table.output_tokens.copy()
    # The first hundred requests were served by one candidate each.
    tokens[:100, 1:] = np.nan
    spoken, loadings = length_factors(tokens, 2)
    assert spoken.shape == (500, 3)
    assert loadings.shape == (tokens.shape[1], 3)
    assert np.isfinite(spoken[:, 0]).all()
    assert np.isnan(spoken[:100, 1:]).all()
    assert np.isfinite(spoken[100:, 1:]).all()
    few, ones = length_factors(tokens[:150], 2)
    assert few.shape == (150, 1)
    assert (ones == 1).all()


def test_latency_has_a_base_and_a_price_for_each_token(table):
    slow = with_latency(table)
    spoken, loadings = length_factors(table.output_tokens, 0)
    usage = fit_usage(slow, spoken, loadings)
    np.testing.assert_allclose(usage.per_output, 12, rtol=0.2)
    assert (usage.base >= 0).all()
    _, latency, *_ = usage.predict(spoken, table.expected_tokens)
    assert np.median(np.abs(latency / slow.latency_ms - 1)) < 0.3


def test_outliers_do_not_move_the_fit(table):
    slow = with_latency(table)
    stuck = slow.latency_ms.copy()
    stuck[np.random.default_rng(0).random(len(table)) < 0.04] *= 100
    np.testing.assert_allclose(fit_usage(replace(slow, latency_ms=stuck)).per_output, 12, rtol=0.25)


def test_what_was_never_seen_is_unknown_and_not_zero(table):
    tokens, latency = table.output_tokens.copy(), with_latency(table).latency_ms.copy()
    tokens[:, 0], latency[:, 1] = np.nan, np.nan
    usage = fit_usage(replace(table, output_tokens=tokens, latency_ms=latency))
    said, took, lengths, times = usage.predict(NOTHING, np.array([10.0]))
    assert np.isnan(said[0, 0])
    assert np.isnan(lengths[:, 0, 0]).all()
    assert np.isfinite(said[0, 1:]).all()
    assert np.isfinite(lengths[:, 0, 1:]).all()
    assert np.isnan(took[0, 1])
    assert np.isnan(times[:, 0, 1]).all()
    # Its tokens were never counted, but its latency was: that it can be told without them.
    assert np.isfinite(took[0, 0])
    assert np.isfinite(times[:, 0, 0]).all()


def test_a_table_in_which_nothing_was_counted_tells_nothing(table):
    nobody = np.full_like(table.output_tokens, np.nan)
    told = fit_usage(replace(table, output_tokens=nobody, latency_ms=nobody)).predict(NOTHING, np.array([10.0]))
    assert all(np.isnan(values).all() for values in told)


def test_intervals_hold_nine_in_ten_where_the_spread_depends_on_the_request():
    learned, spoken = made(2000, 4, 0)
    asked, heard = made(2000, 4, 1)
    _, _, lengths, times = fit_usage(learned, spoken, np.ones((4, 1))).predict(heard, asked.expected_tokens)
    for observed, quantiles in ((asked.output_tokens, lengths), (asked.latency_ms, times)):
        inside = covered(observed, quantiles)
        error = np.sqrt(0.9 * 0.1 / inside.size)
        # Both sides are drawn: four errors of the test's and the training's own.
        assert abs(inside.mean() - 0.9) < 4 * np.sqrt(2) * error
        below, above = observed < quantiles[0], observed > quantiles[-1]
        assert abs(below.mean() - 0.05) < 4 * np.sqrt(2) * error
        assert abs(above.mean() - 0.05) < 4 * np.sqrt(2) * error
        # Where answers are of uncertain length and where they are not: constant quantiles fail both.
        for part in (heard[:, 0] < -0.5, heard[:, 0] > 0.5):
            assert abs(inside[part].mean() - 0.9) < 0.035
    plain, _ = usual(learned.output_tokens, np.arange(2000) % 2)
    constant = np.repeat(plain[:, :1], 2000, axis=1)
    assert pinball(asked.output_tokens, lengths).sum() < 0.7 * pinball(asked.output_tokens, constant).sum()


def test_the_median_and_the_mean_follow_the_request():
    learned, spoken = made(3000, 4, 2)
    asked = np.array([[-1.5], [0.0], [1.5]])
    mean, _, lengths, _ = fit_usage(learned, spoken, np.ones((4, 1))).predict(asked, np.full(3, 50.0))
    truth = 5 + np.linspace(-0.5, 0.5, 4) + asked * np.linspace(0.5, 1.0, 4)
    np.testing.assert_allclose(np.log(lengths[1]), truth, atol=0.2)
    spread = np.exp(-1.2 + 0.5 * asked)
    np.testing.assert_allclose(np.log(mean), truth + spread**2 / 2, atol=0.25)
    assert (np.diff(lengths, axis=0) >= 0).all()


@pytest.mark.parametrize("seen", [1, 3, 10])
def test_a_candidate_of_few_answers_borrows_the_spread_of_the_others(seen):
    inside, size = [], []
    for seed in range(40):
        learned, spoken = made(600, 4, seed)
        asked, heard = made(200, 4, 1000 + seed)
        tokens = learned.output_tokens.copy()
        tokens[seen:, 3] = np.nan
        told = fit_usage(replace(learned, output_tokens=tokens), spoken, np.ones((4, 1))).predict(
            heard, asked.expected_tokens
        )[2]
        inside.append(covered(asked.output_tokens, told)[:, 3].mean())
        size.append(np.log(told[2] / told[0])[:, 3].mean())
    # The range of one or three answers would hold far less; of one, the middle itself is a guess.
    error = 3 * np.std(inside) / np.sqrt(len(inside))
    assert np.mean(inside) > 0.9 - error - 0.04
    assert np.mean(inside) < 0.97
    assert np.mean(size) > 0.8


def test_a_crossed_fit_has_not_seen_the_request(table):
    fold = np.arange(len(table)) % 4
    means = crossed_usage(table, fold)[0]
    for held in range(4):
        others = table.output_tokens[fold != held].mean(axis=0)
        np.testing.assert_allclose(means[fold == held], np.tile(others, ((fold == held).sum(), 1)))


def test_what_only_one_fold_knows_is_told_by_the_whole(table):
    tokens = table.output_tokens.copy()
    tokens[1:, 2] = np.nan
    told = crossed_usage(replace(table, output_tokens=tokens), np.arange(len(table)) % 4)
    assert np.isfinite(told[0]).all()
    assert np.isfinite(told[2]).all()


def test_a_single_request_is_told_by_itself(table):
    alone = table.take([0])
    tokens, _, lengths, _ = crossed_usage(alone, np.zeros(1, dtype=np.int64))
    np.testing.assert_allclose(tokens, alone.output_tokens)
    assert (lengths[0] <= lengths[2]).all()


def test_whole_numbers_lie_inside_their_own_quantiles(table):
    tokens = np.full_like(table.output_tokens, 7.0)
    _, _, lengths, _ = fit_usage(replace(table, output_tokens=tokens)).predict(NOTHING, np.array([10.0]))
    assert (lengths[0] <= 7).all()
    assert (lengths[2] >= 7).all()


def test_parts_give_the_same_usage_back():
    learned, spoken = made(600, 4, 0)
    usage = fit_usage(learned, spoken, np.ones((4, 1)))
    back = Usage.from_arrays(usage.arrays())
    for before, after in zip(*(u.predict(spoken, learned.expected_tokens) for u in (usage, back)), strict=True):
        np.testing.assert_array_equal(before, after)
