"""What a finished flow prints runs as it is printed."""

import sys
from pathlib import Path

import pytest

from pipelines.printing import activation


def test_the_environment_is_activated_first_where_the_shell_knows_another_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, script = tmp_path / "python", tmp_path / "activate"
    python.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    assert list(activation()) == []
    script.touch()
    assert list(activation()) == [f"    . {script}"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(activation()) == []
