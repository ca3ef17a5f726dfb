"""The folder that the flows own, and the environment that keeps every tool inside it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where each thing lies below one root; MLflow, Prefect and Optuna each have a database of their own."""

    root: Path

    @classmethod
    def of(cls, root: Path) -> "Workspace":
        """Return the workspace below `root`, made absolute: a schedule may run elsewhere."""
        return cls(root.expanduser().resolve())

    @property
    def logs(self) -> Path:
        """What worlds write and applications leave to be ingested."""
        return self.root / "logs"

    @property
    def lake(self) -> Path:
        """Interactions, feedback and quarantine as Parquet."""
        return self.root / "lake"

    @property
    def store(self) -> Path:
        """Bundles, and the pointer to the champion."""
        return self.root / "store"

    @property
    def reports(self) -> Path:
        """Reports as files, beside their copies in MLflow."""
        return self.root / "reports"

    @property
    def embeddings(self) -> Path:
        """The teacher's embeddings of prompts, by the hash of their text."""
        return self.root / "embeddings"

    @property
    def studies(self) -> Path:
        """Optuna's journal."""
        return self.root / "optuna" / "journal.log"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "mlartifacts"

    @property
    def tracking_uri(self) -> str:
        """MLflow's database, unless MLFLOW_TRACKING_URI names another place."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.root / 'mlflow.db'}"

    def environment(self) -> dict[str, str]:
        """Return the variables that keep MLflow and Prefect in this workspace, quiet and without telemetry."""
        return {
            "PREFECT_HOME": str(self.root / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # Twenty seconds, the default, are too few for the migrations of a new database on a busy machine.
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
            # In memory, the default, the lease of a run that was killed with its server is forgotten and never given
            # back: the flow's next runs would wait for it for ever. From disk it expires within five minutes.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_CLI_COLORS": "false",
            # The server of a single run is stopped while it still writes events, and would print that as tracebacks.
            "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # MLflow and alembic report every migration of a new database otherwise.
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }


def apply(environment: Mapping[str, str]) -> None:
    """Set variables that the user has not set; to be called before Prefect or MLflow is imported."""
    for name, value in environment.items():
        os.environ.setdefault(name, value)
