"""The probe benchmark on a table of its own: both ways pay the same, and the saving is what the curves say."""

import json

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.probes import Point, report


@pytest.mark.parametrize("learner", ["beliefs", "neighbours"])
def test_the_command_writes_paired_curves(made_up, capsys, learner):
    out = made_up / "out.json"
    options = ["--train", str(made_up / "a.parquet"), "--budgets", "40", "120", "--seeds", "2", "--json", str(out)]
    options += ["--learner", learner]
    assert main(["probes", *options]) == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert [row["budget"] for row in found["random"]] == [40, 50, 100, 120]
    for way in ("random", "planner"):
        for row in found[way]:
            # The plan goes by expected cost; what it comes to lies near the budget.
            assert row["probes"] == pytest.approx(row["budget"], rel=0.15)
    calls, candidates = found["random"][-1]["calls"], len(found["candidates"])
    assert calls == candidates * found["random"][-1]["requests"]
    assert found["planner"][-1]["calls"] < candidates * found["planner"][-1]["requests"]
    for row, first, second in zip(found["planner_less_random"], found["planner"], found["random"], strict=True):
        assert row["points"] == pytest.approx(first["points"] - second["points"])
    assert [row["budget"] for row in found["saving"]] == [40, 120]


def test_a_planner_that_is_there_with_half_the_probes_saves_half():
    def walk(speed: float, seed: int) -> list[Point]:
        noise = np.random.default_rng(seed).normal(0, 1e-4)
        return [Point(probes, 0, 0, 0.001 * speed * probes + noise) for probes in (50, 100, 200)]

    curves = {"random": [walk(1, i) for i in range(8)], "planner": [walk(2, i) for i in range(8)]}
    found = report(curves, [50, 100, 200], [100, 200])["saving"]
    assert [row["saving"] for row in found] == [pytest.approx(0.5, abs=0.01)] * 2
    assert all(row["saving_90"][0] <= 0.5 <= row["saving_90"][1] + 0.01 for row in found)
    slower = report({"random": curves["planner"], "planner": curves["random"]}, [50, 100, 200], [200])["saving"][0]
    assert slower["planner_needs"] is None, "not reached within the largest budget"
    assert slower["saving"] is None
