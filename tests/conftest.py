"""What tests share: where the outcome tables lie, and quiet libraries."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Tests measure nothing by wall clock, and two busy workers with two threads each only spin.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of outcome tables and traces; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("BEASTMODE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "candidate_sets.json").exists():
        pytest.skip(f"no outcome tables under {folder}; set BEASTMODE_DATA to their folder")
    return folder
