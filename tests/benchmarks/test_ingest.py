"""The ingest, crash and fuzz benchmarks run on little data and say what they promise to say."""

import json
from pathlib import Path

import pytest

from benchmarks import crash, fuzz, ingest


@pytest.mark.slow
def test_every_arm_reads_the_same_log_and_nothing_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert ingest.main(["--rows", "300", "--lake-rows", "500", "--work", str(tmp_path), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    (size,) = found["sizes"]
    assert size["rows"] == 300
    assert size["accounted_for"]
    assert size["torn"] > 0
    assert size["full"]["report"]["written"] == size["lines"] - size["torn"] - size["duplicate"]
    assert min(size[arm]["us_a_line"] for arm in ingest.ARMS) > 0
    assert size["full"]["peak_mib"] > size["bare"]["peak_mib"] / 4
    assert size["full_to_bare"] > 0
    assert not list(tmp_path.glob("tmp*"))


def test_the_exponent_of_a_power_law_is_found() -> None:
    sizes = [{"lines": n, "full": {"cpu_seconds": 3e-5 * n**1.25}} for n in (10**4, 10**5, 10**6)]
    assert ingest._exponent(sizes) == 1.25


@pytest.mark.slow
def test_a_format_without_a_bare_loop_is_measured_by_itself(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["--rows", "200", "--lake-rows", "100", "--format", "langfuse", "--arms", "full", "bare"]
    assert ingest.main([*arguments, "--json", str(out)]) == 0
    (size,) = json.loads(out.read_text())["sizes"]
    assert size["accounted_for"]
    assert "bare" not in size


@pytest.mark.slow
def test_kills_leave_the_lake_of_an_undisturbed_run(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert crash.main(["--kills", "2", "--requests", "30", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["kills"] >= 2
    assert found["lakes"] == len(found["kills_a_lake"]) > 0
    assert found["rows"] > 100


def test_mutated_logs_of_every_format_are_accounted_for(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert fuzz.main(["--rows", "1100", "--seed", "7", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    whole = found["all"]
    assert whole["records"] >= 1000
    assert (whole["crashes"], whole["unaccounted"], whole["wrong_sums"]) == (0, 0, 0)
    assert all(part["quarantined"] > 0 for name, part in found.items() if not part["refused_logs"])
