"""Verdicts from logs without propensities: what is said is true, and estimates alone decide nothing by default."""

import re
from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from models.comparison import Contestant, Settings
from models.estimators import EvaluationRefused
from models.unlogged import judge
from tests.models.logs import world

FREE = Objective(0.0)
TRUE = 0.2 / 3
"""What always asking the dear one gains over always asking the cheap one."""


def pair(drawn):
    n = len(drawn.table)
    known = (drawn.mean, np.full((n, 3), 0.001), np.full((n, 3), 500.0))
    dear, cheap = (Contestant(np.tile(np.eye(3)[k], (n, 1)), *known) for k in (2, 0))
    return {"challenger": dear, "champion": cheap}


def judged(drawn, settings, seed=0):
    return judge(pair(drawn), drawn.table, FREE, settings, drawn.features, seed=seed)


def test_the_difference_covers_and_no_estimate_decides_by_default():
    rng, covered, proven = np.random.default_rng(0), 0, 0
    for seed in range(40):
        found, table = judged(world(rng, 1500, known=False), Settings(), seed)
        gain = found.comparison("champion", "utility")
        covered += gain.low <= TRUE <= gain.high
        proven += gain.low > 0
        assert found.verdict == "hold"
        assert "estimated from the requests" in found.reason
        assert "An estimate alone decides nothing here" in found.reason
        assert (table.propensity > 0).all()
        first, *_, last = found.estimated.hidden["utility"]
        assert last.low < first.low < first.high < last.high
    assert covered >= 32  # of 90% intervals
    assert proven > 8


def test_with_odds_that_are_named_it_promotes_what_withstands_them_and_nothing_else():
    drawn = world(np.random.default_rng(1), 6000, known=False)
    right = (np.random.default_rng(2).uniform(size=(6000, 3)) < np.array([0.4, 0.4, 0.8])).astype(float)
    quality = np.where(np.isnan(drawn.table.quality), np.nan, right)
    strong = replace(drawn, table=replace(drawn.table, quality=quality), mean=np.full((6000, 3), 0.6))
    found, _ = judged(strong, Settings(estimated_odds=1.25))
    assert found.verdict == "promote"
    assert "withstands hidden reasons" in found.reason
    assert found.estimated.withstands > 1.25
    asked_more, _ = judged(strong, Settings(estimated_odds=found.estimated.withstands + 0.1))
    assert asked_more.verdict == "hold"
    assert re.search(r"It must withstand a factor of \d", asked_more.reason)
    worse = {"challenger": pair(strong)["champion"], "champion": pair(strong)["challenger"]}
    found, _ = judge(worse, strong.table, FREE, Settings(estimated_odds=1.25), strong.features, seed=0)
    assert found.verdict == "reject"


def test_a_log_that_users_chose_from_promotes_no_worse_challenger_where_the_odds_are_named():
    """Users pick the dear model where it will be right; it looks far better than it is, and is not promoted for it."""
    rng, naive, promoted = np.random.default_rng(3), 0, 0
    for seed in range(25):
        drawn = world(rng, 2000, hidden=2.0, known=False)
        found, _ = judged(drawn, Settings(estimated_odds=2.0), seed)
        gain = found.comparison("champion", "quality")
        naive += gain.low > TRUE
        promoted += found.verdict == "promote"
    assert naive > 12
    assert promoted <= 2


def test_two_that_decide_alike_need_no_estimate():
    drawn = world(np.random.default_rng(8), 400, known=False)
    one = pair(drawn)["champion"]
    found, _ = judge({"challenger": one, "champion": one}, drawn.table, FREE, Settings(), drawn.features, seed=0)
    assert found.reason.startswith("The challenger decides every held-out request as the champion does")


def test_what_cannot_be_estimated_is_refused():
    drawn = world(np.random.default_rng(4), 500)
    with pytest.raises(EvaluationRefused, match="every propensity is known"):
        judged(drawn, Settings())
    few = world(np.random.default_rng(5), 20, known=False)
    with pytest.raises(EvaluationRefused, match="30 are needed"):
        judged(few, Settings())
    # One model alone was ever asked: nothing is known of the other.
    n = 400
    one = world(np.random.default_rng(6), n, known=False)
    quality = np.full((n, 3), np.nan)
    quality[:, 0] = np.random.default_rng(7).integers(2, size=n)
    alone = replace(one, table=replace(one.table, served=np.zeros(n, dtype=np.int64), quality=quality))
    found, _ = judged(alone, Settings())
    assert (found.verdict, found.values) == ("hold", {})
    assert "with estimated ones there is no off-policy value" in found.refused
    assert "goes to dear, which served 0 of 400" in found.refused
