"""The tournament on worlds of known truth: jobs are foreseen, and where there is nothing to learn nothing is lost."""

import pytest

from features.worlds.demand import DemandSettings, demand, evenly
from models.warmers import WARMERS, tournament
from models.warmers.contest import Contestant
from models.warmers.playing import middle, play
from models.warmers.settings import WarmerSettings

SETTINGS = WarmerSettings(budgets=(0.1, 0.3))


def later(known, trained, budget=0.1):
    rows = {name: Contestant(warmer, budget) for name, warmer in trained.items()}
    return play(known, middle(known, 0.4), SETTINGS, rows)


def test_jobs_are_foreseen_and_the_learner_is_chosen():
    known = demand(DemandSettings(), 0)
    past = known.until(middle(known, 0.4))
    held, chosen = tournament.train(past, SETTINGS, 0)
    assert [one.name for one in held.chosen.values()] == ["lightgbm", "lightgbm"]
    assert all(one.low > 0.01 for one in held.chosen.values())
    told = later(known, {"ours": chosen[0.1], "ewma": WARMERS["ewma"](past, SETTINGS, 0)})
    assert told["ours"].hit_rate > told["ewma"].hit_rate + 0.03
    assert told["ours"].useful_share > told["ewma"].useful_share


@pytest.mark.parametrize("seed", range(3))
def test_where_keys_come_at_random_nothing_is_lost_to_the_heuristic(seed):
    known = evenly(150, 300, 10, seed)
    past = known.until(middle(known, 0.4))
    held, chosen = tournament.train(past, SETTINGS, seed)
    told = later(known, {"ours": chosen[0.1], "ewma": WARMERS["ewma"](past, SETTINGS, seed)})
    assert told["ours"].hit_rate > told["ewma"].hit_rate - 0.01
    assert all(one.name in WARMERS for one in held.chosen.values())


def test_every_warmer_and_none_are_in_the_report():
    known = evenly(40, 100, 6, 0)
    held = tournament.hold(known, SETTINGS, 0)
    rows = (*WARMERS, "oracle")
    assert set(held.played) == {"none"} | {f"{name}@{budget:g}" for name in rows for budget in SETTINGS.budgets}
    for budget in SETTINGS.budgets:
        best = held.played[f"oracle@{budget:g}"].hit_rate
        assert all(held.played[f"{name}@{budget:g}"].hit_rate <= best <= held.ceiling for name in WARMERS)
