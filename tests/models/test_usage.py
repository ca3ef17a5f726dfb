"""Lengths and latencies: totals are right, long answers take longer, and what was never seen is NaN."""

from dataclasses import replace

import numpy as np
import pytest

from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models.usage import fit_usage, verbosity_target


@pytest.fixture(scope="module")
def table() -> Table:
    return outcomes(SyntheticSettings(prompts=500), 1)[0]


def with_latency(table: Table, seed: int = 0) -> Table:
    noise = np.random.default_rng(seed).lognormal(0, 0.2, table.quality.shape)
    latency = (300 + 12 * table.output_tokens + 0.5 * table.input_tokens[:, None]) * noise
    return replace(table, latency_ms=latency)


def test_constant_lengths_are_means(table):
    tokens, _ = fit_usage(table).predict(np.zeros(3), np.full(3, 50.0))
    np.testing.assert_allclose(tokens[0], table.output_tokens.mean(axis=0))


def test_verbosity_explains_lengths_and_keeps_totals(table):
    spoken, known = verbosity_target(table.output_tokens)
    assert known.all()
    usage = fit_usage(table, spoken)
    tokens, _ = usage.predict(spoken, table.input_tokens)
    np.testing.assert_allclose(tokens.sum(axis=0), table.output_tokens.sum(axis=0), rtol=1e-6)
    flat = np.abs(np.log(table.output_tokens / table.output_tokens.mean(axis=0))).mean()
    assert np.abs(np.log(table.output_tokens / tokens)).mean() < 0.8 * flat


def test_latency_has_a_base_and_a_price_for_each_token(table):
    slow = with_latency(table)
    usage = fit_usage(slow, verbosity_target(table.output_tokens)[0])
    np.testing.assert_allclose(usage.per_output, 12, rtol=0.2)
    assert (usage.base >= 0).all()
    spoken = verbosity_target(table.output_tokens)[0]
    _, latency = usage.predict(spoken, table.input_tokens)
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
    said, took = usage.predict(np.zeros(1), np.array([10.0]))
    assert np.isnan(said[0, 0])
    assert np.isfinite(said[0, 1:]).all()
    assert np.isnan(took[0, 1])
    # Its tokens were never counted, but its latency was: that it can be told without them.
    assert np.isfinite(took[0, 0])
