"""What the tests of the flows share: a table with a truth worth learning, and a tracker that costs no migration."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from features.table import Table
from features.worlds import synthetic
from pipelines.context import Context
from pipelines.settings import Settings, parse
from pipelines.tracking import Tracker
from pipelines.workspace import Workspace

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database whose migrations have run: copying it takes milliseconds, making it seconds."""
    workspace = Workspace.of(tmp_path_factory.mktemp("template"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MLFLOW_LOGGING_LEVEL", "WARNING")
        Tracker.open(parse({"tracking": {"experiment": "template"}}), workspace)
    return workspace.root / "mlflow.db"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Small settings in a folder of their own."""
    return parse(
        {
            "paths": {"root": str(tmp_path / "workspace")},
            "objective": {"per_dollar": 10.0},
            "recipe": {"selector": "neighbours", "learning": {"folds": 3, "trials": 2, "prototypes": 128}},
        }
    )


@pytest.fixture
def context(settings: Settings, database: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """An opened configuration."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings.paths.root.mkdir(parents=True)
    shutil.copy(database, settings.paths.root / "mlflow.db")
    return Context.open(settings)


@pytest.fixture(scope="session")
def table() -> Table:
    """Two weeks of synthetic requests, every candidate known for each."""
    known, _ = synthetic.outcomes(synthetic.SyntheticSettings(prompts=600), seed=3)
    n = len(known)
    return replace(
        known,
        at=np.datetime64("2026-01-05T00:00:00", "us") + np.arange(n) * np.timedelta64(1800, "s"),
        sessions=np.array([f"session-{i // 2}" for i in range(n)], dtype=str),
        probed=np.ones(n, dtype=bool),
        latency_ms=np.full(known.quality.shape, 900.0),
    )


@pytest.fixture(scope="session")
def candidates():
    """The catalogue of the table's candidates."""
    return tuple(candidate for candidate, _, _ in synthetic.CANDIDATES)
