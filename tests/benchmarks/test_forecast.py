import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.forecast import KINDS


def test_the_coverage_is_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", "--worlds", "4", "--days", "21", "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert [figure["world"] for figure in figures] == list(KINDS)
    assert all(0 <= figure["held_7"] <= 1 and figure["width_30"] > 0 for figure in figures)
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(KINDS)
