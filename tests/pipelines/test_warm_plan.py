"""The plan of a window: what is worth a prefill, by rules that can be worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from beastmode.objective import Objective
from beastmode.records import Request
from models.warmers.following import Follower
from pipelines.warm_demand import Logged
from pipelines.warm_plan import Following, WarmPlan, make_plan, ordered
from pipelines.warm_settings import WarmSettings

AT = datetime(2026, 3, 1, tzinfo=UTC)
NOW, HOUR = AT.timestamp(), 3600.0
TTL = 4 * HOUR


def logged(k: int, usd: float = 1.0, without: int | None = None) -> Logged:
    requests = tuple(None if row == without else Request.of(f"key {row}") for row in range(k))
    return Logged(
        keys=tuple(bytes([row]) for row in range(k)), key=np.zeros(0, np.int64), at=np.zeros(0),
        session=np.zeros(0, np.int64), tenant=np.zeros(k, np.int64), miss_usd=np.full(k, usd),
        miss_ms=np.full(k, 1000.0), answer_bytes=np.ones(k), requests=requests,
    )  # fmt: skip


def plan(known: Logged, p, dies, **settings) -> WarmPlan:
    told = WarmSettings(**{"hit_usd": 1.0, "budget_usd": 100.0, **settings})
    until = AT + timedelta(hours=1)
    return make_plan(known, np.array(p), np.array(dies), AT, until, told, Objective(), "w", TTL)


def test_a_prefill_is_used_by_what_comes_in_its_life_once_the_held_answer_is_dead():
    dies = [0.0, NOW - 1, NOW + HOUR / 2, NOW + HOUR, NOW + 3 * HOUR]
    found = plan(logged(5), [0.8] * 5, dies)
    used = {cell.key: cell.p for cell in found.cells}
    assert used == {
        "00": pytest.approx(0.8), "01": pytest.approx(0.8), "02": pytest.approx(1 - 0.2 ** (1 - 0.5 / 4)),
    }  # fmt: skip
    # Two are held for the whole window: the next plan has them.
    assert (found.keys, found.held, found.without, found.worthless, found.beyond) == (5, 2, 0, 0, 0)


def test_only_what_saves_more_than_it_costs_is_planned_the_best_use_of_a_dollar_first():
    found = plan(logged(4, without=3), [0.4, 0.6, 0.9, 0.9], [0.0] * 4)
    assert [cell.key for cell in found.cells] == ["02", "01"]  # 2 p > 1
    assert [cell.saving_usd for cell in found.cells] == pytest.approx([1.8, 1.2])
    assert (found.worthless, found.without) == (1, 1)
    poor = plan(logged(4), [0.4, 0.6, 0.9, 0.9], [0.0] * 4, budget_usd=1.5)
    assert [cell.key for cell in poor.cells] == ["02"]
    assert poor.beyond == 2


def test_a_plan_survives_being_written_and_keys_that_are_gone_are_passed_over(tmp_path):
    found = plan(logged(3), [0.9, 0.8, 0.7], [0.0] * 3)
    found.write(tmp_path / "plan.json")
    assert WarmPlan.read(tmp_path / "plan.json") == found
    assert [row for _, row in ordered(found, logged(2))] == [0, 1]


def test_follow_ups_share_the_budget_with_the_plan_at_one_price():
    requests = np.array([NOW - 2 * HOUR, *(NOW - HOUR / 2 + np.arange(10))])
    known = replace(logged(6), key=np.zeros(11, np.int64), at=requests)
    p = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    # Ten requests should bring two follow-ups of .75 and more; those of .3 would cost more than they save.
    follower = Follower(1.0, 60.0, (0.0,), (0.0,), (1.0, 0.0, 0.0, 0.0), ((0.75, 0.2), (0.3, 10.0)))
    following = Following(follower, np.array(p))

    def shared(budget: float, dies=(0.0,) * 6, **settings) -> WarmPlan:
        told = WarmSettings(hit_usd=1.0, budget_usd=budget, **settings)
        until = AT + timedelta(hours=1)
        return make_plan(known, np.array(p), np.array(dies), AT, until, told, Objective(), "w", TTL, following)

    alone = plan(known, p, [0.0] * 6, budget_usd=4.0)
    assert (len(alone.cells), alone.price) == (4, 0.0)
    found = shared(4.0)
    # Of four prefills two are left: at .7 the third planned one would be one too many.
    assert [cell.key for cell in found.cells] == ["00", "01"]
    assert (found.price, found.worthless, found.beyond) == (0.7, 2, 2)
    rich = shared(100.0)
    assert (rich.cells, rich.price, rich.beyond) == (alone.cells, 0.0, 0)
    # `prefills` binds as money does, and what is held for a part of the window is worth as much less.
    assert [cell.key for cell in shared(100.0, prefills=4).cells] == ["00", "01"]
    assert shared(4.0, dies=(NOW + 0.9 * HOUR, *(0.0,) * 5)).price == pytest.approx(0.9 * (1 - 0.9 / 4))


def test_a_plan_closes_before_the_next_run_may_come_and_older_ones_had_no_price():
    found = plan(logged(1), [0.9], [0.0])
    assert found.closes == AT + timedelta(minutes=59)
    assert replace(found, until=(AT + timedelta(seconds=20)).isoformat()).closes == AT + timedelta(seconds=19)
