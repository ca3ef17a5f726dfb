"""The gate's error rates in worlds whose truth is known, and its words."""

import re
from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from features.table import Table
from models.comparison import Contestant, Settings, bounds, judge
from models.comparison import verdicts as verdicts_at
from models.experiments.sequences import running

N, M = 700, 3
SETTINGS = Settings()


def contestant(probabilities, truth):
    return Contestant(probabilities, truth, np.full(truth.shape, 0.001), np.full(truth.shape, 500.0))


def world(rng, *, lift=0.0, cost=(0.001, 0.001, 0.001), n=N, served=None):
    """Probed requests of two kinds; a policy that sends kind 1 to candidate 1 gains `lift` on them."""
    kind = rng.integers(2, size=n)
    truth = np.full((n, M), 0.6)
    truth[:, 1] += np.where(kind == 1, lift, -0.2)
    truth[:, 2] -= 0.1
    ids = np.array([f"r{i}" for i in range(n)])
    table = Table(
        candidates=("a", "b", "c"),
        request_ids=ids,
        texts=tuple(ids),
        at=np.datetime64("2026-01-01", "us") + np.arange(n).astype("timedelta64[s]"),
        sessions=ids,
        input_tokens=np.full(n, 10.0),
        quality=(rng.uniform(size=(n, M)) < truth).astype(float),
        cost_usd=np.tile(cost, (n, 1)),
        latency_ms=np.full((n, M), 500.0),
        output_tokens=np.full((n, M), 50.0),
        served=np.zeros(n, dtype=np.int64),
        propensity=np.full(n, np.nan),
        probed=np.ones(n, dtype=bool),
    )
    champion = np.zeros((n, M))
    champion[:, 0] = 1
    routed = np.zeros((n, M))
    routed[np.arange(n), kind] = 1
    return table, contestant(champion, truth), contestant(routed, truth)


def verdicts(rng, worlds, per_dollar=0.0, **known):
    found = []
    for _ in range(worlds):
        table, champion, challenger = world(rng, **known)
        judged = judge({"challenger": challenger, "champion": champion}, table, Objective(per_dollar), SETTINGS)
        found.append(judged.verdict)
    return found


def test_a_challenger_that_is_no_better_is_promoted_as_seldom_as_alpha_says():
    """At the very edge of the null the rate is alpha itself: 5%, with a binomial error of 0.9% over 600 worlds."""
    found = verdicts(np.random.default_rng(1), 600, lift=0.0)
    assert found.count("promote") / 600 <= 0.05 + 2.6 * 0.009


def test_a_challenger_that_is_worse_is_never_promoted_and_mostly_rejected():
    found = verdicts(np.random.default_rng(2), 100, lift=-0.15)
    assert "promote" not in found
    assert found.count("reject") > 80


def test_a_challenger_that_is_clearly_better_is_promoted():
    found = verdicts(np.random.default_rng(3), 100, lift=0.2)
    assert found.count("promote") > 90


def test_cheap_is_not_enough_where_quality_may_suffer():
    """Half the requests go to a model that costs nothing and answers 20 points worse."""
    found = verdicts(np.random.default_rng(4), 50, lift=-0.2, cost=(0.01, 0.0, 0.01), per_dollar=100.0)
    assert "promote" not in found


def test_same_quality_for_less_money_is_promoted():
    found = verdicts(np.random.default_rng(5), 50, lift=0.06, cost=(0.002, 0.0, 0.002), per_dollar=50.0, n=2500)
    assert found.count("promote") > 40


def test_something_simpler_that_is_better_still_holds_the_challenger():
    table, champion, routed = world(np.random.default_rng(6), lift=0.3)
    timid = Contestant((champion.probabilities + routed.probabilities) / 2, routed.quality, *[routed.cost_usd] * 2)
    judged = judge({"challenger": timid, "champion": champion, "neighbours": routed}, table, Objective(), SETTINGS)
    assert judged.verdict == "hold"
    assert "neighbours is proven better still" in judged.reason
    assert judged.comparison("champion", "utility").verdict == "better"


def test_identical_decisions_hold():
    table, champion, _ = world(np.random.default_rng(7))
    judged = judge({"challenger": champion, "champion": champion}, table, Objective(), SETTINGS)
    assert judged.verdict == "hold"
    assert "decides every held-out request as the champion does" in judged.reason


def test_no_propensity_and_no_probe_gives_no_number():
    table, champion, routed = world(np.random.default_rng(8))
    blind = np.where(np.arange(M) == table.served[:, None], table.quality, np.nan)
    hidden = Table(**{**{f: getattr(table, f) for f in table.__slots__}, "quality": blind})
    judged = judge({"challenger": routed, "champion": champion}, hidden, Objective(), SETTINGS)
    assert judged.verdict == "hold"
    assert judged.refused is not None
    assert "propensity_source = unknown" in judged.refused
    assert not judged.values
    assert not judged.comparisons


def test_a_cost_that_no_log_knows_leaves_quality_judged():
    table, champion, routed = world(np.random.default_rng(9), lift=0.3, cost=(np.nan,) * 3)
    judged = judge({"challenger": routed, "champion": champion}, table, Objective(), SETTINGS)
    assert judged.verdict == "promote"
    assert "cost_usd" not in judged.values["challenger"]


def test_an_absent_contestant_is_named():
    table, champion, _ = world(np.random.default_rng(10))
    with pytest.raises(ValueError, match="no contestant 'challenger'"):
        judge({"champion": champion}, table, Objective(), SETTINGS)


def probes_by_day(rng, n, lift):
    """A challenger and a champion that differ in one answer in twenty, on `n` probes."""
    table, champion, _ = world(rng, n=n)
    better = rng.choice([-1.0, 0.0, 1.0], n, p=[0.025 - lift / 2, 0.95, 0.025 + lift / 2])
    base = (rng.uniform(size=n) < 0.6).astype(float)
    base = np.where(better > 0, 0.0, np.where(better < 0, 1.0, base))
    table.quality[:] = np.stack([base, base + better, base], axis=1)
    second = np.zeros((n, M))
    second[:, 1] = 1
    return table, champion, contestant(second, champion.quality)


def test_probes_added_day_by_day_are_judged_as_the_vectorised_gate_judges_them():
    table, champion, routed = probes_by_day(np.random.default_rng(11), 3000, 0.03)
    looks = np.arange(200, 3001, 200)
    gained = table.quality[:, 1] - table.quality[:, 0]
    mean, se = running(gained, looks)
    known = bounds(mean, se, looks, SETTINGS)
    expected = verdicts_at((known.low, known.high), (known.low, known.high), SETTINGS)
    assert set(expected) == {"hold", "promote"}
    for look, n in enumerate(looks):
        seen = {
            name: Contestant(*(m[:n] for m in (c.probabilities, c.quality, c.cost_usd, c.latency_ms)))
            for name, c in {"challenger": routed, "champion": champion}.items()
        }
        judged = judge(seen, table.take(np.arange(n)), Objective(), SETTINGS, watched=True)
        assert judged.verdict == expected[look]
        quality = judged.comparison("champion", "quality")
        assert (quality.low, quality.high) == (pytest.approx(known.low[look]), pytest.approx(known.high[look]))


def test_a_gate_that_is_watched_errs_no_oftener_over_all_its_looks():
    """A challenger that is no better, 1,000 worlds, a look after every 100 of 3,000 probes."""
    looks, rng = np.arange(100, 3001, 100), np.random.default_rng(12)
    mean, se = running(rng.choice([-1.0, 0.0, 1.0], (1000, 3000), p=[0.025, 0.95, 0.025]), looks)
    known = bounds(mean, se, looks, SETTINGS)
    found = verdicts_at((known.low, known.high), (known.low, known.high), SETTINGS)
    assert (found == "promote").any(axis=1).mean() <= 0.05 + 2 * 0.007
    assert (found == "reject").any(axis=1).mean() <= 0.05 + 2 * 0.007
    assert (mean > 1.645 * se).any(axis=1).mean() > 0.15  # what a fixed interval does when it is watched


def test_a_watched_gate_proves_nothing_under_the_fewest_rows():
    known = bounds(np.array([0.5, 0.5]), np.array([0.01, 0.01]), np.array([29, 30]), SETTINGS)
    assert known.low[0] == -np.inf
    assert np.isfinite(known.low[1])


def test_a_watched_cost_is_bounded_on_its_own_scale():
    table, champion, routed = world(np.random.default_rng(13), lift=0.3, cost=(0.002, 0.001, 0.001))
    judged = judge({"challenger": routed, "champion": champion}, table, Objective(), SETTINGS, watched=True)
    assert judged.comparison("champion", "cost_usd").verdict == "better"
    once = judge({"challenger": routed, "champion": champion}, table, Objective(), SETTINGS)
    assert judged.comparison("champion", "utility").low < once.comparison("champion", "utility").low


def test_a_gain_that_is_not_proven_says_how_many_requests_would_do():
    table, champion, routed = world(np.random.default_rng(14), lift=0.03, n=400)
    judged = judge({"challenger": routed, "champion": champion}, table, Objective(), SETTINGS)
    assert judged.verdict == "hold"
    said = re.search(r"about ([\d,]+) such requests would prove it, and there are 400", judged.reason)
    assert said is not None
    assert int(said[1].replace(",", "")) > 400


def test_a_contestant_that_the_rows_say_nothing_of_is_left_out_and_the_champion_never():
    """The log asked a and b alone; a policy that asks c is no part of the verdict, unless it is the champion."""
    rng = np.random.default_rng(12)
    table, champion, challenger = world(rng, lift=0.3, n=1500)
    served = rng.integers(2, size=1500)
    quality = np.full((1500, M), np.nan)
    quality[np.arange(1500), served] = table.quality[np.arange(1500), served]
    table = replace(table, quality=quality, served=served, propensity=np.full(1500, 0.5), probed=np.zeros(1500, bool))
    never = replace(champion, probabilities=np.tile(np.eye(3)[2], (1500, 1)))
    known = {"challenger": challenger, "champion": champion, "neighbours": never}
    judged = judge(known, table, Objective(0.0), SETTINGS)
    assert judged.verdict == "promote"
    assert {c.reference for c in judged.comparisons} == {"champion"}
    assert judged.values["neighbours"] == {}
    swapped = {"challenger": challenger, "champion": never, "neighbours": champion}
    assert "goes to c, which served 0" in judge(swapped, table, Objective(0.0), SETTINGS).refused
