"""The guarantee benchmark: worlds drawn from a population of known risk, the certified choice beside the naive one."""

import json

import numpy as np
import pytest

from benchmarks import guarantee
from benchmarks.__main__ import main
from models.guarantee import Settings, Step, Trial
from tests.benchmarks.test_selector import frame

FARED = {"worlds", "holds", "holds_low", "holds_high", "certified", "diverted", "saving", "risk", "worst_risk"}


def test_every_figure_is_written_and_adds_up(tmp_path, capsys):
    frame(0, 700).to_parquet(tmp_path / "a.parquet")
    out = tmp_path / "out.json"
    code = main(
        ["guarantee", "--train", str(tmp_path / "a.parquet"), "--alpha", ".1", "--worlds", "60", "--sizes", "100,400",
         "--selector", "neighbours", "--small", "--encoder", "terms", "--json", str(out)]
    )  # fmt: skip
    assert code == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert (found["n_train"], found["n_population"]) == (280, 420)
    assert found["reference"] in found["candidates"]
    assert found["oracle"]["risk"] <= 0.1
    assert set(found["worlds"]) == {"100", "400"}
    for known in found["worlds"].values():
        assert set(known["certified"]) == set(known["naive"]) == FARED
        assert known["certified"]["holds_low"] <= known["certified"]["holds"] <= known["certified"]["holds_high"]
        assert known["certified"]["holds"] > known["naive"]["holds"]
        assert known["certified"]["saving"] <= found["oracle"]["saving"] + 0.02
    assert found["worlds"]["400"]["certified"]["saving"] >= found["worlds"]["100"]["certified"]["saving"]


def test_candidate_sets_are_measured_by_name(tmp_path, capsys):
    (tmp_path / "candidate_sets.json").write_text(
        json.dumps({"one": {"file": "a.parquet", "models": sorted(set(frame(0, 10)["model"]))}})
    )
    frame(0, 300).to_parquet(tmp_path / "a.parquet")
    code = main(
        ["guarantee", "--set", "one", "--data", str(tmp_path), "--worlds", "5", "--sizes", "50", "--selector",
         "neighbours", "--small", "--encoder", "terms"]
    )  # fmt: skip
    assert code in (0, 1)
    found = json.loads(capsys.readouterr().out)["sets"]["one"]
    assert found["worlds"]["50"]["certified"]["worlds"] == 5
    assert main(["guarantee", "--worlds", "5"]) == 2
    assert "--train" in capsys.readouterr().err


def population() -> list[Trial]:
    """Three policies of risk .02, .06 and .2, each cheaper than the one before."""
    rows = np.arange(1000)
    return [
        Trial(Step(float(k), 0.0), rows % 100 < lost, rows % 100 < 50, np.full(1000, 1.0 - 0.2 * k))
        for k, lost in enumerate((2, 6, 20), 1)
    ]


def test_a_world_is_judged_by_the_risk_of_the_population():
    found = guarantee.resampled(population(), 1.0, Settings(alpha=0.05), 500, 200, 0)
    # The first policy is certified in nearly every world; the second, whose risk is .06, in few.
    assert found["certified"]["certified"] > 0.95
    assert found["certified"]["holds"] >= 0.95
    assert found["certified"]["saving"] == pytest.approx(0.2, abs=0.02)
    # A sample of 500 shows the second at .05 or less about once in five.
    assert 0.7 < found["naive"]["holds"] < 0.9
    assert found["naive"]["worst_risk"] == 0.06


def test_nothing_to_certify_is_not_broken():
    found = guarantee.resampled([], 1.0, Settings(), 100, 10, 0)
    assert (found["certified"]["certified"], found["certified"]["holds"]) == (0.0, 1.0)


def test_a_guarantee_broken_beyond_chance_fails_the_command(tmp_path, capsys, monkeypatch):
    frame(0, 400).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(guarantee.guarantee, "safe", lambda trials, settings: trials)
    code = main(
        ["guarantee", "--train", str(tmp_path / "a.parquet"), "--worlds", "20", "--sizes", "100",
         "--selector", "neighbours", "--small", "--encoder", "terms"]
    )  # fmt: skip
    assert code == 1
    assert "holds too seldom" in capsys.readouterr().err


def test_where_nothing_is_priced_nothing_is_certified_and_nothing_broken(tmp_path, capsys):
    frame(0, 300, models=2, priced=False).to_parquet(tmp_path / "a.parquet")
    code = main(
        ["guarantee", "--train", str(tmp_path / "a.parquet"), "--worlds", "5", "--sizes", "100",
         "--selector", "neighbours", "--small", "--encoder", "terms"]
    )  # fmt: skip
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["policies"], found["oracle"]) == ([], None)
    assert found["worlds"]["100"]["certified"]["certified"] == 0
