"""The selector benchmark on a table of its own: every key, no prompt on both sides, honest about prices."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import COMMANDS, main
from features.worlds.synthetic import SyntheticSettings, outcomes

KEYS = {
    "n_train", "n_test", "candidates", "best_single", "best_single_value", "value", "gain", "gain_se", "knn_gain",
    "knn_gain_se", "versus_knn", "versus_knn_se", "oracle_value", "save_at", "zero_router_save_at", "auc", "brier",
    "ece", "train_seconds", "bundle_sha256", "bundle_bytes", "encoder", "route_p50_ms",
}  # fmt: skip


def frame(start: int, stop: int, models: int = 6, priced: bool = True) -> pd.DataFrame:
    table, tasks = outcomes(SyntheticSettings(prompts=700), 4)
    rows = [
        {
            "dataset": "made-up", "task": tasks[i], "prompt_id": table.request_ids[i], "prompt": table.texts[i],
            "model": table.candidates[j], "score": table.quality[i, j],
            "cost_usd": table.cost_usd[i, j] if priced else np.nan, "input_tokens": table.input_tokens[i],
            "output_tokens": table.output_tokens[i, j], "latency_ms": np.nan,
        }
        for i in range(start, stop)
        for j in range(models)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def run(tmp_path, capsys, *options: str) -> dict:
    out = tmp_path / "out.json"
    assert main(["selector", *options, "--small", "--encoder", "terms", "--json", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    return json.loads(out.read_text())


def test_train_and_test_files(tmp_path, capsys):
    frame(0, 420).to_parquet(tmp_path / "a.parquet")
    frame(380, 600).to_parquet(tmp_path / "b.parquet")
    found = run(tmp_path, capsys, "--train", str(tmp_path / "a.parquet"), "--test", str(tmp_path / "b.parquet"))
    assert set(found) >= KEYS
    # Forty prompts stand in both files.
    assert (found["n_train"], found["n_test"]) == (420, 180)
    assert found["best_single"] in found["candidates"]
    assert found["gain"] == pytest.approx(found["value"] - found["best_single_value"])
    assert found["versus_knn"] == pytest.approx(found["gain"] - found["knn_gain"])
    assert found["value"] <= found["oracle_value"]
    point = found["save_at"]["0.97"]
    assert set(point) == {
        "lambda", "achieved_ratio", "achieved_ratio_se", "saving", "saving_ci", "hindsight_saving"
    }  # fmt: skip
    assert point["saving_ci"][0] <= point["saving"] <= point["saving_ci"][1]
    assert 0 <= found["zero_router_save_at"]["0.97"] <= 1
    assert len(found["bundle_sha256"]) == 64


def test_folds_of_a_pair_pool_every_prompt_once(tmp_path, capsys):
    frame(0, 360, models=2, priced=False).to_parquet(tmp_path / "a.parquet")
    found = run(tmp_path, capsys, "--train", str(tmp_path / "a.parquet"), "--folds", "2")
    assert found["n_test"] == 360
    assert len(found["bundle_sha256"]) == 2
    assert set(found) >= {"apgr", "cpt50", "cpt80"}
    # Nothing is priced: a saving is not made up.
    assert set(found["save_at"].values()) == {None}


def test_prices_replace_the_costs_of_a_table(tmp_path, capsys):
    frame(0, 360, models=2).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "prices.json").write_text(json.dumps({"atlas-large": 0.02, "atlas-small": 0.0001}))
    found = run(
        tmp_path, capsys, "--train", str(tmp_path / "a.parquet"), "--folds", "2",
        "--prices", str(tmp_path / "prices.json"), "--models", "atlas-large,atlas-small",
    )  # fmt: skip
    assert found["candidates"] == ["atlas-large", "atlas-small"]
    # With one dear and one all but free, what is saved is the share that the cheap one serves.
    assert found["save_at"]["0.97"]["saving"] > 0.1


def test_a_benchmark_is_named_and_a_test_side_is_needed(tmp_path, capsys):
    assert main(["nothing"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in COMMANDS)
    assert main(["selector", "--train", str(tmp_path / "a.parquet")]) == 2
    assert "--test FILE or --folds K" in capsys.readouterr().err


def test_seeds_are_averaged_for_each_prompt(tmp_path, capsys):
    frame(0, 360, models=2).to_parquet(tmp_path / "a.parquet")
    options = ("--train", str(tmp_path / "a.parquet"), "--folds", "2", "--seeds")
    both, first, second = (run(tmp_path, capsys, *options, *seeds) for seeds in (("0", "1"), ("0",), ("1",)))
    assert both["n_test"] == 360
    assert both["gain"] == pytest.approx((first["gain"] + second["gain"]) / 2)
    assert both["by_seed"]["1"]["versus_knn"] == pytest.approx(second["versus_knn"])
    # One prompt twice is not two observations.
    assert both["knn_gain_se"] > 0.75 * min(first["knn_gain_se"], second["knn_gain_se"])
    assert both["gain_low"] == pytest.approx(both["gain"] - 1.645 * both["gain_se"])


def test_sets_are_found_by_name_and_pooled(tmp_path, capsys):
    frame(0, 330).to_parquet(tmp_path / "a.parquet")
    names = ["atlas-large", "atlas-small"]
    sets = {
        "all": {"file": "a.parquet", "models": sorted(frame(0, 1)["model"])},
        "pair": {"file": "a.parquet", "models": names, "assumed_usd_per_request": {"atlas-large": 0.02}},
    }
    (tmp_path / "candidate_sets.json").write_text(json.dumps(sets))
    found = run(tmp_path, capsys, "--set", "all", "pair", "--data", str(tmp_path), "--folds", "2")
    assert list(found["sets"]) == found["versus_knn"]["sets"] == ["all", "pair"]
    assert found["sets"]["pair"]["candidates"] == names
    alike = found["versus_knn"]["sets_alike"]
    each = [one["versus_knn"] for one in found["sets"].values()]
    assert alike["mean"] == pytest.approx(np.mean(each))
    alone = run(tmp_path, capsys, "--set", "pair", "--data", str(tmp_path), "--folds", "2")
    assert alone["versus_knn"] == pytest.approx(found["sets"]["pair"]["versus_knn"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "a.parquet"], "either --test"),
        (["--folds", "2"], "either --train"),
        (["--set", "none", "--folds", "2", "--data", "{}"], "no candidate set 'none'; known: some"),
    ],
)
def test_options_that_do_not_fit_are_named(tmp_path, capsys, options, message):
    (tmp_path / "candidate_sets.json").write_text('{"some": {}}')
    assert main(["selector", *(o.format(tmp_path) for o in options)]) == 2
    assert message in capsys.readouterr().err
