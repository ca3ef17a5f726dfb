"""The frontier benchmark draws every policy where the table says it lies."""

import json

import pytest

from benchmarks.__main__ import main
from tests.benchmarks.test_selector import frame


@pytest.mark.slow
def test_a_candidates_place_is_its_mean_and_ours_follows_the_price_of_money(tmp_path, capsys):
    rows = frame(0, 240, models=3)
    rows.to_parquet(tmp_path / "made.parquet")
    names = sorted(set(rows["model"]))
    (tmp_path / "candidate_sets.json").write_text(json.dumps({"made": {"file": "made.parquet", "models": names}}))
    options = ["--set", "made", "--data", str(tmp_path), "--folds", "2", "--small", "--encoder", "terms"]
    assert main(["frontier", *options, "--out", str(tmp_path / "pictures")]) == 0
    points = {point["label"]: point for point in json.loads(capsys.readouterr().out)["points"]}
    for name in names:
        assert points[name]["quality"] == pytest.approx(rows[rows["model"] == name]["score"].mean(), abs=1e-3)
    priced = [point["usd_per_1000"] for point in points.values() if point["kind"] == "operating"]
    assert priced[-1] <= priced[0]
    assert (tmp_path / "pictures" / "frontier_made.png").stat().st_size > 5_000
