"""The plan of a window: what is worth a prefill, by rules that can be worked out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from beastmode.objective import Objective
from beastmode.records import Request
from pipelines.warm_demand import Logged
from pipelines.warm_plan import WarmPlan, make_plan, ordered
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
