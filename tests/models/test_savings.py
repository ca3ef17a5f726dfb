"""Causal savings: the truth is covered, overhead counts, and no reference is invented."""

from dataclasses import replace

import numpy as np
import pytest

from models.estimators import EvaluationRefused
from models.savings import Overhead, saved
from tests.models.logs import world

GROWTH = np.exp(0.02)
"""The mean of the log-normal factor on every cost."""


def single(n, column):
    return np.tile(np.eye(3)[column], (n, 1))


def expected(drawn):
    return np.tile(0.001 * (1 + np.arange(3)) * GROWTH, (len(drawn.table), 1))


def test_the_saving_against_a_single_candidate_covers_the_truth():
    rng, covered, shares = np.random.default_rng(1), 0, 0
    # The target sends half its requests, those of a feature above zero, to the cheap one; costs grow with it.
    big = world(np.random.default_rng(2), 400_000)
    factor = np.exp(0.2 * big.features[:, 0])
    cost = 0.001 * (1 + np.arange(3)) * factor[:, None]
    gain, base = cost[:, 2].mean() - (big.target * cost).sum(axis=1).mean(), cost[:, 2].mean()
    for _ in range(150):
        drawn = world(rng, 800)
        found = saved(drawn.table, drawn.target, single(800, 2), expected(drawn), name="best single (dear)")
        covered += found.net.low <= gain <= found.net.high
        shares += found.share.low <= gain / base <= found.share.high
    assert 0.9 <= covered / 150 <= 0.99
    assert 0.9 <= shares / 150 <= 0.99


def test_the_saving_against_the_log_itself_covers_the_truth():
    rng, covered = np.random.default_rng(3), 0
    big = world(np.random.default_rng(4), 400_000)
    cost = 0.001 * (1 + np.arange(3)) * np.exp(0.2 * big.features[:, :1])
    paid = (big.chances * cost).sum(axis=1).mean()
    gain = paid - (big.target * cost).sum(axis=1).mean()
    for _ in range(150):
        drawn = world(rng, 800)
        found = saved(drawn.table, drawn.target, None, expected(drawn), name="the log")
        covered += found.share.low <= gain / paid <= found.share.high
    assert 0.9 <= covered / 150 <= 0.99


def test_routing_itself_is_charged():
    drawn = world(np.random.default_rng(5), 600)
    free = saved(drawn.table, drawn.target, single(600, 2), expected(drawn), name="dear")
    spent = Overhead(router=0.01, probes=0.2, judge=0.06, warming=0.03)
    paid = saved(drawn.table, drawn.target, single(600, 2), expected(drawn), name="dear", overhead=spent)
    assert paid.gross == free.gross
    assert paid.overhead_usd == pytest.approx(0.3 / 600)
    assert paid.net.value == pytest.approx(free.net.value - 0.3 / 600)
    assert paid.share.value < free.share.value
    over = saved(drawn.table, drawn.target, single(600, 2), expected(drawn), name="dear", overhead=Overhead(router=9.0))
    assert over.share.high < 0
    tenth = saved(
        drawn.table, drawn.target, single(600, 2), expected(drawn), name="dear", overhead=spent, requests=6000
    )
    assert tenth.overhead_usd == pytest.approx(0.3 / 6000)


def test_the_policy_that_served_saves_nothing_against_its_own_log():
    drawn = world(np.random.default_rng(6), 500)
    found = saved(drawn.table, drawn.chances, None, expected(drawn), name="the log")
    assert abs(found.net.value) < 2e-5
    assert found.net.low < 0 < found.net.high


def test_what_the_rows_cannot_say_is_refused():
    drawn = world(np.random.default_rng(7), 300)
    blind = replace(drawn.table, propensity=np.full(300, np.nan))
    with pytest.raises(EvaluationRefused, match="propensity of 300 of 300"):
        saved(blind, drawn.target, single(300, 2), None, name="dear")
    with pytest.raises(EvaluationRefused, match="no saving against the log: 0 requests carry a propensity and a cost"):
        saved(blind, drawn.target, None, None, name="the log")
    free = replace(drawn.table, cost_usd=np.where(np.isnan(drawn.table.cost_usd), np.nan, 0.0))
    with pytest.raises(ValueError, match=r"the reference 'dear' costs 0\.0"):
        saved(free, drawn.target, single(300, 2), None, name="dear")
