"""The estimators benchmark: simulated logs of a table whose truth is known, and goals that name what misses them."""

import json

import numpy as np
import pytest

from benchmarks import estimators
from benchmarks.__main__ import main
from benchmarks.estimator_worlds import around, rule
from features.outcomes import outcomes
from tests.benchmarks.test_selector import frame

FARED = {"bias", "bias_se", "rmse", "coverage", "coverage_95", "coverage_where_given", "half_width"}


def test_every_cell_is_written_and_honest(tmp_path, capsys):
    table = frame(0, 500)
    table.to_parquet(tmp_path / "a.parquet")
    out, models = tmp_path / "out.json", list(dict.fromkeys(table["model"]))[:4]
    code = main(
        ["estimators", "--outcomes", str(tmp_path / "a.parquet"), "--models", *models, "--per-dollar", "10", "--sizes",
         "20", "400", "--simulations", "60", "--small", "--json", str(out)]
    )  # fmt: skip
    assert code == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert (found["candidates"], found["prompts"]) == (models, 250)
    assert found["apart_from_best_single"]["best single"] == 0 < found["apart_from_best_single"]["tuned kNN"]
    cells = {(c["logging"], c["n"], c["target"]): c for c in found["cells"]}
    assert len(cells) == 3 * 2 * 3
    for (logging, n, target), one in cells.items():
        assert set(one["estimators"]) == {"ips", "snips", "dm", "dr", "switch"}
        assert all(set(fared) == FARED for fared in one["estimators"].values())
        doubly = one["estimators"]["dr"]
        assert doubly["coverage_95"][0] <= doubly["coverage"] <= doubly["coverage_95"][1]
        if n == 400 and logging != "eps .1":
            assert one["refused"] == 0
            assert doubly["coverage"] >= 0.85
            assert abs(doubly["bias"]) < 4 * doubly["bias_se"]
            assert doubly["coverage"] > one["estimators"]["dm"]["coverage"]
        if n == 20 and logging == "eps .1" and target == "best single":
            assert one["refused"] > 0.5
    assert found["goals"]["coverage"]["cells"] == 0  # no log of a thousand was drawn


def test_the_rule_goes_by_length_and_exploration_leaves_nobody_out():
    table = outcomes(frame(0, 300))
    train, rest = table.take(np.arange(150)), table.take(np.arange(150, 300))
    drawn = rule(train, rest, train.quality)
    assert (drawn.sum(axis=1) == 1).all()
    short = rest.input_tokens <= np.quantile(train.input_tokens, 1 / 3)
    assert drawn[short, train.cost_usd.mean(axis=0).argmin()].all()
    explored = around(drawn, 0.3)
    assert explored.min() == pytest.approx(0.3 / explored.shape[1])
    np.testing.assert_allclose(explored.sum(axis=1), 1)


def cell(n, coverage, refused, rmse=1.0, snips=1.0):
    dr = {"coverage": coverage, "coverage_95": [coverage - 0.01, coverage + 0.01], "rmse": rmse}
    return {"logging": "uniform", "n": n, "target": f"t{n}", "refused": refused,
            "estimators": {"dr": dr, "snips": {"rmse": snips}}}  # fmt: skip


def test_goals_name_the_cells_that_miss_them():
    cells = [
        cell(1000, 0.95, 0.0),
        cell(1001, 0.91, 0.0),
        cell(1002, 0.95, 0.0, rmse=1.2),
        cell(300, 0.85, 0.2),
        cell(301, 0.80, 0.9),
        cell(302, 0.94, 0.9),
        cell(1003, 0.5, 1.0, rmse=9.0),
    ]
    found = estimators.goals(cells)
    assert found["coverage"] == {"cells": 3, "missed": ["uniform, n = 1001, t1001"]}
    assert found["rmse_to_snips"] == {"cells": 3, "missed": ["uniform, n = 1002, t1002"]}
    assert found["thin_but_given"] == ["uniform, n = 300, t300"]
    assert found["honest_but_refused"]["refused"] == ["uniform, n = 302, t302"]
    assert found["honest_but_refused"]["cells"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "10"], "give either --outcomes FILE or --set NAME"),
        (["--set", "nothing", "--data", "."], "no candidate set 'nothing'; known: one"),
        (["--outcomes", "a.parquet", "--per-dollar", "5"], "has prompts of unknown cost: give --prices"),
    ],
)
def test_what_cannot_be_run_is_said(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candidate_sets.json").write_text('{"one": {}}')
    frame(0, 60, priced=False).to_parquet("a.parquet")
    assert main(["estimators", *options]) == 2
    assert message in capsys.readouterr().err
