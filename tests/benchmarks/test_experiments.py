"""The benchmark of experiments: small runs of every part."""

import json

import pytest

from benchmarks.__main__ import main
from tests.benchmarks.test_selector import frame


def test_alike_power_and_shares_are_written(tmp_path, capsys):
    out = tmp_path / "out.json"
    arguments = ["--worlds", "8", "--units", "2000", "--sizes", "1500", "--json", str(out)]
    assert main(["experiments", *arguments]) == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert set(found) == {"alike", "power", "shares"}
    for cell in found["alike"].values():
        shares = [cell[verdict]["share"] for verdict in ("promote", "hold", "reject", "roll back")]
        assert sum(shares) == pytest.approx(1)
        assert cell["promote"]["low"] <= cell["promote"]["share"] <= cell["promote"]["high"]
    assert found["alike"]["cost_usd"]["variance_cut"] > 0.4
    assert found["shares"]["48/52, 10,000 units an arm"]["at_end"]["share"] >= 0.75


def test_a_table_is_replayed_with_the_routers_predictions(tmp_path, capsys):
    frame(0, 500).to_parquet(tmp_path / "a.parquet")
    assert main(["experiments", "--parts", "predictions", "--train", str(tmp_path / "a.parquet"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["predictions"]["a"]
    assert found["units"] == 250
    assert 0 < found["variance_cut"]["quality"]["mean"] < 1
