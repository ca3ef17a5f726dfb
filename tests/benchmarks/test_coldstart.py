"""The cold-start benchmark on a set of its own: its figures, its means, and what it refuses."""

import json

import pytest

from benchmarks.__main__ import main
from benchmarks.coldstart import summary


def test_the_command_teaches_the_model_left_out_and_reports_its_doubt(made_up, capsys):
    out = made_up / "out.json"
    options = [
        "--data",
        str(made_up),
        "--set",
        "made_up",
        "--probes",
        "20",
        "80",
        "--left-out",
        "forge-coder",
        "--small",
    ]
    assert main(["coldstart", *options, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == found
    few, more = found["sets"]["made_up"]["rows"]
    assert (few["probes"], more["probes"]) == (20, 80)
    # Twenty probes are too few to be taught by, so nothing is claimed of the mean.
    assert "se" not in few
    assert 0.02 < more["se"] < 0.1
    assert abs(more["mean_error"]) < 4 * more["se"]
    for row in (few, more):
        assert all(0.3 < row[name] < 1 for name in ("auc", "difficulty", "alone"))
    summed = found["sets"]["made_up"]["summary"]
    assert summed["80"]["auc"]["mean"] == pytest.approx(more["auc"])
    assert summed["80"]["auc"]["se"] is None, "one model has no spread"


def test_means_are_over_models_of_the_means_over_seeds():
    rows = [
        {"model": m, "seed": s, "probes": 50, "auc": a} for m, s, a in [("a", 0, 0.5), ("a", 1, 0.7), ("b", 0, 0.8)]
    ]
    found = summary(rows, ["a", "b"], [50])["50"]
    assert found["auc"]["mean"] == pytest.approx(0.7)
    assert found["auc"]["se"] == pytest.approx(0.1)
    assert found["first_three"]["auc"] == found["auc"]


def test_an_unknown_set_and_too_many_probes_are_refused(made_up, capsys):
    assert main(["coldstart", "--data", str(made_up), "--set", "nowhere"]) == 2
    assert "made_up" in capsys.readouterr().err
    assert main(["coldstart", "--data", str(made_up), "--set", "made_up", "--probes", "300", "--small"]) == 2
    assert "--probes 300" in capsys.readouterr().err
    assert main(["coldstart", "--data", str(made_up), "--set", "made_up", "--left-out", "nobody", "--small"]) == 2
    assert "nobody" in capsys.readouterr().err
