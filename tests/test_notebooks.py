"""The notebooks teach what runs: each is executed in a fresh kernel."""

from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.py")), ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("BEASTMODE_WORKSPACE", str(tmp_path))
    NotebookClient(jupytext.read(path), timeout=240, resources={"metadata": {"path": str(ROOT)}}).execute()
