"""What a training run leaves in MLflow, so that a person who opens it sees in a minute why it was promoted or not."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME

from pipelines.plots import png
from pipelines.settings import Settings, flat
from pipelines.workspace import Workspace

BUNDLE = "bundle"
"""The artifact folder of a run that holds its bundle."""
PARAMETER_CHARS = 500
VIEW = "verdicts"
"""The key of a view of the runs that shows, in columns, what each router gained, its verdict and the reason."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
COLUMNS = (
    "metrics.`utility_gain/over_champion`", "metrics.`quality_gain/over_champion`",
    "metrics.`cost_usd_change/vs_champion`", "tags.`verdict`", "tags.`reason`",
)  # fmt: skip
EXPERIMENT_TAGS = {
    VIEW_TAG: json.dumps({"selectedColumns": COLUMNS}),
    # Opens MLflow's pages for models, not those for prompts and traces.
    "mlflow.experimentKind": "custom_model_development",
    MLFLOW_RUN_NOTE: "Each run named after its verdict is a router that was trained, and judged on later requests: "
    "its description says why it was promoted, held or rejected; `report.html` among its artifacts shows it.",
}


class TrackingError(RuntimeError):
    """MLflow has no run of the kind asked for, or cannot be reached; the message says what to do."""


@dataclass(frozen=True)
class Tracker:
    """A place to write runs: MLflow's client and the experiment, which is looked for when it is first needed."""

    client: MlflowClient
    experiment: str
    place: str | None
    """Where a new experiment keeps its artifacts; where the server says, if it is None."""
    uri: str
    about: Mapping[str, str] = field(default_factory=lambda: EXPERIMENT_TAGS, hash=False)
    """The tags of a new experiment."""

    @classmethod
    def open(cls, settings: Settings, workspace: Workspace) -> "Tracker":
        """Return the tracker of the configured experiment; no server is asked for anything yet."""
        uri = workspace.tracking_uri
        local = uri.startswith("sqlite:")
        if local:
            workspace.root.mkdir(parents=True, exist_ok=True)
        place = workspace.artifacts.as_uri() if local else None
        return cls(MlflowClient(tracking_uri=uri), settings.tracking.experiment, place, uri)

    @cached_property
    def experiment_id(self) -> str:
        """The experiment's id; it is made where there is none. Raises TrackingError where MLflow does not answer."""
        try:
            known = self.client.get_experiment_by_name(self.experiment)
            if known is not None:
                return str(known.experiment_id)
            return str(self.client.create_experiment(self.experiment, self.place, dict(self.about)))
        except MlflowException as error:
            raise TrackingError(
                f"MLflow at {self.uri}: {error}; start it, or unset MLFLOW_TRACKING_URI to use the workspace's database"
            ) from error

    def ready(self) -> None:
        """Raise TrackingError where MLflow does not answer."""
        assert self.experiment_id

    @contextmanager
    def run(self, name: str, kind: str, parent: str | None = None) -> Iterator["Run"]:
        """Open a run, and close it as finished, or as failed where the block raises."""
        tags = {MLFLOW_RUN_NAME: name, "kind": kind, MLFLOW_SOURCE_NAME: f"python -m pipelines {kind}"}
        if parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = parent
        made = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
        run = Run(self.client, made.info.run_id)
        try:
            yield run
        except BaseException as error:
            run.describe(f"**Failed.** {type(error).__name__}: {error}")
            self.client.set_terminated(run.run_id, "FAILED")
            raise
        self.client.set_terminated(run.run_id, "FINISHED")

    def latest(self, kind: str) -> str:
        """Return the id of the last finished run of a kind; raises TrackingError where there is none."""
        runs = self.client.search_runs(
            [self.experiment_id], f"tags.kind = '{kind}' and attributes.status = 'FINISHED'",
            max_results=1, order_by=["attributes.start_time DESC"],
        )  # fmt: skip
        if not runs:
            raise TrackingError(f"no finished {kind!r} run in MLflow at {self.uri}: run `python -m pipelines {kind}`")
        return str(runs[0].info.run_id)

    def of(self, run_id: str) -> "Run":
        """Return a run that exists, to read it or to add to it; raises TrackingError where there is none."""
        try:
            self.client.get_run(run_id)
        except MlflowException as error:
            raise TrackingError(f"MLflow at {self.uri} has no run {run_id!r}: {error.message}") from error
        return Run(self.client, run_id)


@dataclass(frozen=True, slots=True)
class Run:
    """One MLflow run, by its id."""

    client: MlflowClient
    run_id: str

    @property
    def artifact_uri(self) -> str:
        """Where its artifacts lie."""
        return str(self.client.get_run(self.run_id).info.artifact_uri)

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self.client.get_run(self.run_id).data.tags)

    def settings(self, settings: Settings) -> None:
        """Log the whole resolved configuration, as parameters and as one JSON artifact."""
        parameters = [Param(key, value[:PARAMETER_CHARS]) for key, value in flat(settings).items()]
        for start in range(0, len(parameters), 100):
            self.client.log_batch(self.run_id, params=parameters[start : start + 100])
        self.keep("config.json", settings.model_dump(mode="json"))

    def dataset(self, name: str, fingerprint: str, source: str, about: Mapping[str, Any], context: str) -> None:
        """Log which data were used: the hash of their content, where they lie, and their size."""
        data = Dataset(name=name, digest=fingerprint[:16], source_type="local", source=json.dumps({"uri": source}),
                       profile=json.dumps(dict(about)))  # fmt: skip
        tag = InputTag(key="mlflow.data.context", value=context)
        self.client.log_inputs(self.run_id, [DatasetInput(data, [tag])])

    def rename(self, name: str) -> None:
        """Give the run another name."""
        self.client.update_run(self.run_id, name=name)

    def keep(self, path: str, known: Any) -> None:
        """Log plain data as one JSON artifact."""
        self.client.log_dict(self.run_id, known, path)

    def kept(self, path: str) -> Any:
        """Return what `keep` logged; raises TrackingError where there is nothing."""
        with tempfile.TemporaryDirectory() as folder:
            return json.loads(self.download(path, Path(folder)).read_text(encoding="utf-8"))

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log metrics; what is not a finite number is left out, since no chart can show it."""
        now = int(time.time() * 1000)
        finite = [Metric(key, float(v), now, 0) for key, v in values.items() if abs(float(v)) < float("inf")]
        for start in range(0, len(finite), 1000):
            self.client.log_batch(self.run_id, metrics=finite[start : start + 1000])

    def tag(self, values: Mapping[str, Any]) -> None:
        """Set tags."""
        self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)[:5000]) for key, value in values.items()])

    def describe(self, markdown: str) -> None:
        """Set the text that opens the run's page."""
        self.tag({MLFLOW_RUN_NOTE: markdown})

    def figures(self, drawn: Mapping[str, Figure], folder: str = "plots") -> None:
        """Log figures as PNG."""
        for name, figure in drawn.items():
            self.file(f"{folder}/{name}.png", png(figure))

    def file(self, path: str, content: bytes | str) -> None:
        """Log one file by its content."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            local = Path(temporary) / name
            local.write_bytes(content.encode() if isinstance(content, str) else content)
            self.client.log_artifact(self.run_id, str(local), folder or None)

    def folder(self, local: Path, path: str) -> None:
        """Log a folder with everything below it."""
        self.client.log_artifacts(self.run_id, str(local), path)

    def download(self, path: str, into: Path) -> Path:
        """Fetch an artifact below a folder that exists; raises TrackingError where the run has none of it."""
        try:
            return Path(self.client.download_artifacts(self.run_id, path, str(into)))
        except (MlflowException, OSError) as error:
            raise TrackingError(f"run {self.run_id} has no artifact {path!r}: {error}") from error


def trials(tracker: Tracker, parent: Run, tried: Sequence[Mapping[str, Any]], most: int) -> int:
    """Log the best tuning trials as runs below their parent, and all of them as one table; return how many runs.

    A trial is `{number, value, params, state}`; more is better. Aggregates only: a study of thousands stays readable.
    """
    if not tried:
        return 0
    parent.keep("tuning/trials.json", {"trials": [dict(trial) for trial in tried]})
    done = [trial for trial in tried if trial.get("value") is not None]
    best = sorted(done, key=lambda trial: -float(trial["value"]))[:most]
    for place, trial in enumerate(best, start=1):
        with tracker.run(f"trial {trial['number']} (rank {place})", "trial", parent.run_id) as run:
            params = [Param(str(key), str(value)[:PARAMETER_CHARS]) for key, value in trial["params"].items()]
            run.client.log_batch(run.run_id, params=params)
            run.metrics({"cross_validated_value": float(trial["value"])})
    return len(best)


def moment(at: datetime) -> str:
    """Return a moment as runs and reports write it.

    >>> from datetime import UTC
    >>> moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02 03:04 UTC'
    """
    return f"{at:%Y-%m-%d %H:%M} UTC"
