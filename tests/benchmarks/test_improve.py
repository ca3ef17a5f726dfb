import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.improve import ARMS, main, one, summary

SMALL = ("replay.synthetic.prompts=400", "recipe.selector=neighbours")


def world(arm: str, root: Path, *more: str):
    return one(arm, 0, "small", root, (*SMALL, *more))


@pytest.fixture(autouse=True)
def _own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_what_is_stated_of_a_fully_probed_world_is_its_truth(tmp_path: Path) -> None:
    found = world("full", tmp_path)
    assert found["adds_up"]
    assert found["refused"] is None
    # Calls fail at random and their twins are asked again, so that every request is known for every candidate.
    assert found["challenger"]["quality"]["value"] == pytest.approx(found["truth"]["quality"], abs=1e-9)
    assert found["challenger"]["utility"]["n"] == found["n_test"]


def test_a_log_without_decisions_is_estimated_and_promotes_nothing(tmp_path: Path) -> None:
    found = world("stripped", tmp_path)
    assert found["without_propensity"] == found["written"]
    assert (found["verdict"], found["refused"], found["propensities"]) == ("hold", None, "estimated")
    stated = found["challenger"]["quality"]
    assert stated["low"] - 0.05 < found["truth"]["quality"] < stated["high"] + 0.05


def test_a_shuffled_world_has_the_same_means_and_nothing_to_learn(tmp_path: Path) -> None:
    found = world("shuffled", tmp_path, "objective.per_dollar=0")
    assert found["verdict"] != "promote"


def test_the_summary_counts(tmp_path: Path) -> None:
    row = {
        "verdict": "promote", "refused": None, "adds_up": True, "truth": {"utility": 0.5, "quality": 0.9},
        "challenger": {m: {"value": 0.5, "low": 0.4, "high": 0.6} for m in ("utility", "quality")},
        "utility over champion": {"difference": 0.1, "low": 0.05, "high": 0.15},
    }  # fmt: skip
    refused = {"verdict": "hold", "refused": "why", "adds_up": True, "truth": None, "challenger": {}}
    told = summary({"0": row, "1": refused, "2": row})
    assert (told["promote"], told["hold"], told["refused"], told["valued"]) == (2, 1, 1, 2)
    assert told["estimated"] == 0
    assert told["utility_interval_covers_truth"] == 2
    assert told["quality_interval_covers_truth"] == 0
    assert told["utility over champion"]["proven_better"] == 2
    assert np.isclose(told["utility over champion"]["mean_difference"], 0.1)


def test_seeds_that_are_done_are_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    row = {"verdict": "hold", "refused": "why", "adds_up": True, "truth": None, "challenger": {}}
    known = {"arm": "full", "config": "small", "overrides": [], "summary": {"n": 1}, "seeds": {"0": row}}
    out.write_text(json.dumps(known))
    assert main(["--arm", "full", "--config", "small", "--seeds", "1", "--json", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 1}
    assert main(["--arm", "shuffled", "--config", "small", "--seeds", "1", "--json", str(out)]) == 2
    assert "holds other runs" in capsys.readouterr().err


def test_every_arm_is_a_set_of_overrides() -> None:
    assert all("=" in override for overrides in ARMS.values() for override in overrides)
