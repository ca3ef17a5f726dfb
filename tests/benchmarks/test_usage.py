"""The usage benchmark on tables of its own: every figure, honest about what was never observed."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.usage_report import wilson
from features.worlds.synthetic import SyntheticSettings, outcomes


def frame(prompts: int = 400, models: int = 4, **columns: float) -> pd.DataFrame:
    table, tasks = outcomes(SyntheticSettings(prompts=prompts), 4)
    rows = [
        {
            "dataset": "made-up", "task": tasks[i], "prompt_id": table.request_ids[i], "prompt": table.texts[i],
            "model": table.candidates[j], "score": table.quality[i, j], "cost_usd": table.cost_usd[i, j],
            "input_tokens": table.input_tokens[i], "output_tokens": table.output_tokens[i, j], "latency_ms": np.nan,
            **columns,
        }
        for i in range(prompts)
        for j in range(models)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def run(tmp_path, capsys, *options: str) -> tuple[dict, str]:
    out = tmp_path / "out.json"
    common = ["--small", "--encoder", "terms", "--folds", "2", "--json", str(out)]
    assert main(["usage", "--train", str(tmp_path / "a.parquet"), *common, *options]) == 0
    return json.loads(out.read_text()), capsys.readouterr().out


def test_lengths_latencies_and_costs_of_held_out_prompts(tmp_path, capsys):
    frame().to_parquet(tmp_path / "a.parquet")
    found, said = run(tmp_path, capsys)
    assert found["n"] == 400
    for name in ("output_tokens", "latency_ms"):
        known = found[name]
        assert known["pinball_ratio"] < 1 - 2 * known["pinball_ratio_se"], "better than each model's own quantiles"
        assert known["coverage"] == pytest.approx(0.9, abs=0.04)
        assert known["coverage_interval"][0] < known["coverage"] < known["coverage_interval"][1]
        assert known["r2_log"] > known["r2_log_per_model_mean"]
        # The proper score is above; an interval that covers as it should must not pay for it by much width.
        assert known["mean_width"] < 1.05 * known["mean_width_per_model"]
        assert known["worst_coverage"]["coverage"] == known["coverage_by_model"][known["worst_coverage"]["model"]]
    assert found["latency_source"] == "hosts of common speeds"
    assert found["cost_usd"]["total_ratio"] == pytest.approx(1, abs=0.1)
    assert found["cost_usd"]["coverage"] == pytest.approx(0.9, abs=0.05)
    assert f"covers {found['output_tokens']['coverage']:.4f}" in said
    assert "predicted / actual total" in said


def test_what_was_never_observed_has_no_figures(tmp_path, capsys):
    frame(200, output_tokens=np.nan, cost_usd=np.nan).to_parquet(tmp_path / "a.parquet")
    found, said = run(tmp_path, capsys, "--models", "atlas-large,atlas-small")
    assert found["candidates"] == ["atlas-large", "atlas-small"]
    assert found["output_tokens"] is None
    assert found["cost_usd"] is None
    assert found["latency_ms"]["coverage"] > 0.8
    assert "tokens: never observed" in said
    assert "cost: no model is priced" in said


def test_one_fold_holds_nothing_out(tmp_path, capsys):
    assert main(["usage", "--train", str(tmp_path / "a.parquet"), "--folds", "1"]) == 2
    assert "at least 2" in capsys.readouterr().err


def test_the_interval_of_a_share_holds_it_as_often_as_it_says():
    hits = np.random.default_rng(0).binomial(200, 0.9, 4000)
    ends = np.array([wilson(float(h), 200) for h in hits])
    inside = ((ends[:, 0] <= 0.9) & (ends[:, 1] >= 0.9)).mean()
    assert inside == pytest.approx(0.95, abs=0.02)
