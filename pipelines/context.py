"""What every flow holds: its settings, its workspace, the store of bundles and the tracker."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from beastmode.store import Store
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.tracking import Tracker
from pipelines.workspace import Workspace

T = TypeVar("T")


class Step(Protocol):
    """Runs a named step: in a flow as a task with its retries, else as it is."""

    def __call__(self, name: str, call: Callable[[], T]) -> T:
        """Return what the step returns."""


@dataclass(frozen=True, slots=True)
class Context:
    """One configuration, opened."""

    settings: Settings
    workspace: Workspace
    store: Store
    tracker: Tracker

    @classmethod
    def open(cls, settings: Settings) -> "Context":
        """Open a configuration: the workspace's MLflow database is made where it does not exist."""
        workspace = Workspace.of(settings.paths.root)
        return cls(settings, workspace, Store(workspace.store), Tracker.open(settings, workspace))

    @property
    def lake(self) -> Lake:
        """Interactions and feedback, wherever the configuration keeps them."""
        return Lake(self.settings.paths.lake or self.workspace.lake)

    @property
    def model(self) -> str:
        """The name of the registered model."""
        return self.settings.tracking.registered_model

    @property
    def config(self) -> str:
        """The whole resolved configuration as JSON."""
        return json.dumps(self.settings.model_dump(mode="json"), indent=1)


def at_once(name: str, call: Callable[[], T]) -> T:
    """Run a step as it is."""
    return call()
