"""The runs of the MLflow experiment `progress`: what they measured, and how the next one is kept beside them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from matplotlib.figure import Figure
from mlflow.entities import Metric
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from models.attainment import Measured
from pipelines.context import Context
from pipelines.report import Report
from pipelines.tracking import Tracker

EXPERIMENT = "progress"
SHOWN = 60
"""Runs that a trend reaches back."""
ABOUT = {
    "mlflow.experimentKind": "custom_model_development",
    MLFLOW_RUN_NOTE: "Each run is a look at the targets: its description is the table, each metric of it a trend over "
    "the runs before, and `report.html` among its artifacts shows both.",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured at a moment, by the key of the measure; what was not known is left out."""

    at: datetime
    known: Mapping[str, Measured]


def past(context: Context, at: datetime) -> tuple[Run, ...]:
    """Return the last runs before a moment that measured the same by this configuration, the earliest first."""
    tracker = _tracker(context)
    query = f"tags.series = '{_series(context)}' and attributes.status = 'FINISHED'"
    found = tracker.client.search_runs(
        [tracker.experiment_id], query, max_results=SHOWN, order_by=["attributes.start_time DESC"]
    )
    runs = [Run(datetime.fromisoformat(run.data.tags["at"]), _known(run.data.metrics)) for run in found]
    return tuple(sorted((run for run in runs if run.at < at), key=lambda run: run.at))


def keep(
    context: Context, now: Run, earlier: Sequence[Run], sentence: str, verdicts: Mapping[str, str], report: Report,
    figures: Mapping[str, Figure],
) -> str:  # fmt: skip
    """Write a run, and return its id; earlier figures are the earlier steps of its metrics: a line to draw."""
    tracker = _tracker(context)
    with tracker.run(f"{now.at:%Y-%m-%d %H:%M} {sentence}", EXPERIMENT) as run:
        run.describe(report.markdown)
        run.settings(context.settings)
        points = [
            Metric(key, value, int(each.at.timestamp() * 1000), step)
            for step, each in enumerate([*earlier, now])
            for name, found in each.known.items()
            for key, value in _metrics(name, found).items()
            if abs(value) < float("inf") and name in now.known
        ]
        for start in range(0, len(points), 1000):
            tracker.client.log_batch(run.run_id, metrics=points[start : start + 1000])
        met = [name for name, word in verdicts.items() if word == "met"]
        missed = [name for name, word in verdicts.items() if word == "missed"]
        run.tag({"config": context.settings.name, "series": _series(context), "at": now.at.isoformat()})
        run.tag({"met": ", ".join(met), "missed": ", ".join(missed)})
        run.tag({f"verdict.{name.replace(' ', '_')}": word for name, word in verdicts.items()})
        run.figures(figures)
        run.file("report.html", report.html)
    return run.run_id


def _series(context: Context) -> str:
    """Return what names runs whose figures are of the same: a hash, since a filter of MLflow takes no quotes."""
    targets = context.settings.targets
    same = (context.settings.name, targets.days, targets.margin, targets.baseline)
    return hashlib.sha256(repr(same).encode()).hexdigest()[:16]


def _tracker(context: Context) -> Tracker:
    return replace(context.tracker, experiment=EXPERIMENT, about=ABOUT)


def _metrics(name: str, found: Measured) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": found.n}


def _known(metrics: Mapping[str, float]) -> dict[str, Measured]:
    """Return what a run measured; a bound that no chart can show was infinite."""
    names = [name.removesuffix("_n") for name in metrics if name.endswith("_n")]
    return {
        name: Measured(
            metrics[name], metrics.get(f"{name}_low", float("-inf")), metrics.get(f"{name}_high", float("inf")),
            int(metrics[f"{name}_n"]),
        )
        for name in names
    }  # fmt: skip
