"""The growth benchmark: every size is trained and exported, and the slope is that of the logarithms."""

import json

import pytest

from benchmarks.__main__ import main
from benchmarks.growth import exponent


@pytest.mark.slow
def test_sizes_are_measured_along_both_axes(tmp_path, capsys):
    out = tmp_path / "growth.json"
    sizes = ["--prompts", "120", "240", "--candidates", "2", "3", "--at-prompts", "120", "--at-candidates", "3"]
    assert main(["growth", *sizes, "--small", "--json", str(out)]) == 0
    capsys.readouterr()
    found = json.loads(out.read_text())
    # (120, 3) lies on both axes and is measured once.
    assert [(row["prompts"], row["candidates"]) for row in found["rows"]] == [(120, 3), (240, 3), (120, 2)]
    for row in found["rows"]:
        assert 0 < sum(row["stages"].values()) <= row["seconds"]
        assert row["bundle_bytes"] > 0
    assert found["exponent_prompts"] is not None
    assert found["exponent_candidates"] is not None


def test_the_exponent_is_of_the_larger_sizes():
    assert exponent([(1, 7.0), (2, 7.0), (10, 1.0), (1000, 100.0)]) == pytest.approx(1.0)
    assert exponent([(10, 1.0)]) is None
