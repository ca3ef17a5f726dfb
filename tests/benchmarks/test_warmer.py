"""The warmer benchmark on a generated world: rows that add up, an oracle that is not beaten, times that are refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import warmer
from features.worlds.demand import DemandSettings, demand


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    known = demand(DemandSettings(days=8, popular_per_day=200), 0)
    moments = pa.array((known.at * 1e6).astype(np.int64), pa.timestamp("us"))
    pq.write_table(pa.table({"timestamp": moments, "key": known.key}), folder / "cache_world.parquet")
    out = folder / "out.json"
    options = ["--trace", "world", "--data", str(folder), "--budget", ".1", ".3", "--parts", "2", "--json", str(out)]
    assert warmer.main(options) == 0
    return json.loads(out.read_text())["cache_world"]


def test_every_row_lies_between_no_warming_and_the_ceiling_and_spends_its_budget(found):
    for budget, told in found["budgets"].items():
        for name in ("last_window", "ewma", "lfu", "lightgbm", "chosen"):
            row = told[name]
            assert found["none"] < row["hit_rate"] <= told["oracle"]["hit_rate"] <= found["ceiling"] + 1e-9
            assert 0.9 * float(budget) <= row["prefills_per_request"] <= 1.01 * float(budget)
            assert row["counts"]
            assert row["gap_closed"] == pytest.approx(
                (row["hit_rate"] - found["none"]) / (found["ceiling"] - found["none"]), abs=1e-3
            )


def test_the_learner_wins_where_there_are_jobs_and_the_tournament_sees_it(found):
    told = found["budgets"]["0.1"]
    assert told["lightgbm_less_best_points"][0] > 1
    assert "lightgbm" in told["chosen"]["warmers"]
    assert told["chosen"]["useful_share"] > told["ewma"]["useful_share"]


def test_who_is_told_rates_beats_counting_and_not_the_oracle(found):
    for told in found["budgets"].values():
        assert told["lfu"]["hit_rate"] - 0.01 < told["rates"]["hit_rate"] <= told["oracle"]["hit_rate"]


def test_prefills_at_the_price_of_a_miss_never_save_money(found):
    for told in found["budgets"].values():
        assert all(told[name]["net_saved_usd"] <= 0 for name in ("ewma", "lightgbm", "chosen", "oracle"))


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (np.full(50, 1_700_000_000.0), "in 0 seconds none can be judged"),
        (np.arange(50) / 50 + 1_700_000_000, "no whole window of 3600 seconds; plan more often"),
        ([1_700_000_000.0], "of 1 requests"),
    ],
)
def test_a_trace_of_which_nothing_can_be_judged_is_refused(tmp_path, at, why, capsys):
    moments = pa.array((np.array(at) * 1e6).astype(np.int64), pa.timestamp("us"))
    pq.write_table(pa.table({"timestamp": moments, "key": np.arange(len(at)) % 5}), tmp_path / "t.parquet")
    assert warmer.main(["--trace", str(tmp_path / "t.parquet")]) == 2
    told = capsys.readouterr()
    assert why in told.err
    assert told.err.count("\n") == 1
    assert not told.out


def test_options_that_mean_nothing_are_refused(capsys):
    for option, value in (("--budget", "0"), ("--budget", "inf"), ("--parts", "0"), ("--rows", "none")):
        with pytest.raises(SystemExit) as left:
            warmer.main(["--trace", "x", option, value])
        assert left.value.code == 2
        assert f"argument {option}: {value!r}" in capsys.readouterr().err


@pytest.mark.parametrize("ttl", ["6", "h", "6 weeks", "nanh", "0h"])
def test_a_time_without_a_unit_is_refused(ttl, capsys):
    assert warmer.main(["--trace", "x", "--ttl", ttl]) == 2
    assert "as in 6h" in capsys.readouterr().err
