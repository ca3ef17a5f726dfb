"""The gate benchmark: exact truths, the product's own functions, and a verdict on itself."""

import json

import numpy as np
import pytest

from benchmarks import gate
from benchmarks.__main__ import main
from features.outcomes import outcomes
from tests.benchmarks.test_selector import frame

SMALL = ["--worlds", "60", "--probes", "600", "--daily", "100", "--min-prompts", "100"]


@pytest.fixture(scope="module")
def population():
    return gate.Population.of(outcomes(frame(0, 400)))


@pytest.mark.parametrize("churn", [0.0, 0.08])
@pytest.mark.parametrize("difference", [-0.02, 0.0, 0.01])
def test_a_challenger_differs_by_exactly_what_is_said(population, difference, churn):
    shares = population.shares(difference, churn)
    rows, choice = population.draw(np.random.default_rng(1), shares, (400_000,))
    quality = population.table.quality
    gained = quality[rows, choice] - quality[rows, population.champion]
    assert gained.mean() == pytest.approx(difference, abs=4 * gained.std() / np.sqrt(400_000) + 1e-12)
    expected = shares[0] * population.gains(population.best).mean() + (
        shares[1] * population.gains(population.worst).mean()
    )
    assert expected == pytest.approx(difference, abs=1e-12)


def test_a_difference_that_the_table_has_no_room_for_is_none(population):
    assert population.shares(0.9, 0.0) is None
    assert population.shares(0.02, 0.01) is None


def test_every_cell_is_written_and_the_gate_is_the_products(tmp_path, capsys):
    frame(0, 400).to_parquet(tmp_path / "a.parquet")
    out = tmp_path / "out.json"
    assert main(["gate", "--train", str(tmp_path / "a.parquet"), "--json", str(out), *SMALL]) == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == found
    cells = found["a"]["churning"]
    assert list(cells) == ["-2", "-1", "-0.75", "-0.5", "+0", "+0.5", "+1", "+2"]
    for cell in cells.values():
        assert cell["judge_disagrees"] == 0
        for name in ("gate", "sequence_without_a_plan", "naive", "t_test_once", "t_test_daily"):
            assert sum(cell[name][verdict] for verdict in ("promote", "hold", "reject")) == pytest.approx(1)
    assert found["a"]["harmful"]["share"] <= 0.02
    assert cells["+2"]["gate"]["promote"] > cells["+0"]["gate"]["promote"]
    assert cells["-2"]["gate"]["reject"] > cells["-2"]["gate"]["promote"] == 0
    assert cells["+0"]["naive"]["promote"] > 0.3


def test_promoting_the_harmful_fails_the_command(tmp_path, capsys, monkeypatch):
    frame(0, 400).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(gate.comparison, "verdicts", lambda u, q, s: np.full(np.shape(u[0]), "promote"))
    assert main(["gate", "--train", str(tmp_path / "a.parquet"), *SMALL]) == 1
    assert json.loads(capsys.readouterr().out)["a"]["harmful"]["share"] == 1


def test_a_small_table_is_left_out_by_name(tmp_path, capsys):
    frame(0, 200).to_parquet(tmp_path / "a.parquet")
    assert main(["gate", "--train", str(tmp_path / "a.parquet"), "--json"]) == 0
    assert "prompts, under 1000" in json.loads(capsys.readouterr().out)["a"]["left_out"]


def test_the_units_that_are_foretold_prove_the_difference_four_times_in_five(tmp_path, capsys):
    frame(0, 400).to_parquet(tmp_path / "a.parquet")
    arguments = ["--train", str(tmp_path / "a.parquet"), "--min-prompts", "100", "--worlds", "150"]
    assert main(["gate", "--units", "--difference", ".04", *arguments]) == 0
    ways = json.loads(capsys.readouterr().out)["a"]["ways"]
    for known in ways.values():
        assert known["once"]["observations"] < known["watched"]["observations"]
        assert 0.7 < known["watched"]["proved"] < 0.99
    assert ways["probes"]["once"]["observations"] < ways["A/B units"]["once"]["observations"] / 4
