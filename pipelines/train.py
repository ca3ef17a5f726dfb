"""Train a challenger from a table, and track everything it rests on in one MLflow run."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate
from beastmode.policies import Greedy
from beastmode.scorers import Constant
from features.outcomes import fingerprint
from features.splits import by_time
from features.table import Table
from models import exporting, guarantee, ladder
from models.ladder import Standing
from models.recipes import Progress, Trained
from models.usage import usual_amounts
from models.values import NEVER
from pipelines.context import Context
from pipelines.rungs import Teachers, climb
from pipelines.settings import Settings, Split
from pipelines.signing import signed
from pipelines.tracking import BUNDLE, Run, moment, trials

IDENTITY = "identity.json"
"""Artifact that says what a run was made of and what it made, by hashes."""
LADDER = "ladder"
"""Key of a bundle's evaluation: where each rung of the ladder of encoders stood when it was trained."""
ALONE: Teachers = {"static": None}
BASELINE, FIRST = "baseline", "best_single"
"""Artifact folders of the tuned kNN, and of the bundle that sends everything to the best single candidate."""


class NotEnough(ValueError):
    """A log from which nothing can be learned yet; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A table cut in time."""

    train: Table
    test: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A tracked challenger, and what is needed to judge it."""

    run_id: str
    bundle: Bundle
    baseline: Bundle | None
    """The tuned kNN on the same encoder."""
    best_single: str
    """The best single candidate, chosen on the training rows."""
    first: Bundle
    """The bundle that sends everything there: what serves before anything was proven."""
    train_rows: int
    test: Table
    as_of: datetime
    importance: tuple[tuple[str, float], ...] = ()


def held_out(table: Table, split: Split) -> Parts:
    """Cut a table in time; raises NotEnough where too few rows have a known quality."""
    known = int((~np.isnan(table.quality)).any(axis=1).sum())
    if known < split.minimum_rows:
        raise NotEnough(
            f"{known} of {len(table)} requests have a known quality, {split.minimum_rows} are needed "
            "(split.minimum_rows): ingest more logs, or feedback that joins them by request id"
        )
    train, test = by_time(table, split.test_share)
    return Parts(train, test)


def train_selector(
    context: Context,
    table: Table,
    candidates: Sequence[Candidate],
    as_of: datetime,
    *,
    teachers: Teachers = ALONE,
    study: Any = None,
    progress: Progress | None = None,
) -> Training:
    """Train on the earlier part of a table and log the run: configuration, data, metrics, models, bundles."""
    settings = context.settings
    parts = held_out(table, settings.split)
    name = f"router-{as_of:%Y%m%d-%H%M%S}"
    with context.tracker.run(f"{settings.recipe.selector} {moment(as_of)}", "train-selector") as run:
        run.describe("**Training.** No verdict yet: `compare` judges it on the held-out slice.")
        run.settings(settings)
        about = _log_data(context, run, parts, as_of)
        trained, standings = climb(
            parts.train, settings.recipe, settings.seed, teachers, candidates=candidates,
            objective=settings.objective, errors=settings.ladder.errors, study=study, progress=progress,
        )  # fmt: skip
        _log_ladder(run, trained, standings)
        run.metrics({f"training/{key}": value for key, value in trained.metrics.items()})
        run.metrics(_newcomers(trained.report))
        run.keep("training_report.json", _plain(trained.report))
        trials(context.tracker, run, trained.report.get("trials", ()), settings.tracking.nested_trials)
        common: dict[str, Any] = {"created": as_of.isoformat(), "training": about, "evaluation": dict(trained.metrics)}
        if standings:
            common["evaluation"][LADDER] = [standing.to_json() for standing in standings]
        bundle = _certified(run, exporting.bundle(trained, name=name, mlflow_run_id=run.run_id, **common), trained,
                            parts.test, settings)  # fmt: skip
        baseline = None
        if trained.baseline is not None:
            baseline = _logged(run, exporting.baseline_bundle(trained, name=f"{name}-knn", **common), BASELINE)
        first = _logged(run, single(trained, parts.train, f"{name}-best-single", common), FIRST)
        bundle = _logged(run, bundle, BUNDLE)
        importance = [(str(column), float(gain)) for column, gain in trained.report.get("feature_importance", ())]
        best = str(trained.report["best_single"])
        known = {BUNDLE: bundle.sha256, BASELINE: baseline and baseline.sha256, FIRST: first.sha256}
        run.keep(
            IDENTITY,
            {"as_of": as_of.isoformat(), "best_single": best, "train_sha256": about["sha256"],
             "test_sha256": fingerprint(parts.test), "bundles": known, "feature_importance": importance},
        )  # fmt: skip
        run.tag({"bundle": name, "bundle_sha256": bundle.sha256, "best_single": best})
        run.describe(f"**Not judged yet.** Trained on {about['rows']:,} requests; run `python -m pipelines compare`.")
    return Training(
        run_id=run.run_id, bundle=bundle, baseline=baseline, best_single=best, first=first,
        train_rows=len(parts.train), test=parts.test, as_of=as_of, importance=tuple(importance),
    )  # fmt: skip


def _newcomers(report: Mapping[str, Any]) -> dict[str, float]:
    """Return what is known of each candidate that was hardly asked, under names that MLflow takes."""
    return {
        f"newcomer/{re.sub(r'[^A-Za-z0-9_. -]', '_', one['candidate'])}/{name}": float(one[name])
        for one in report.get("newcomers", ())
        for name in ("probes", "mean", "se", "promised", "probes_needed")
    }


def _log_ladder(run: Run, trained: Trained, standings: Sequence[Standing]) -> None:
    """Log the encoder that was taken and every rung's figures, the ones passed over among them."""
    run.tag({"encoder": trained.encoder.kind})
    if standings:
        run.tag({"ladder": ladder.sentence(standings)})
        run.metrics({f"ladder/{s.name}/{name}": value for s in standings for name, value in s.figures().items()})
        run.keep("ladder.json", _plain([standing.to_json() for standing in standings]))


def _certified(run: Run, bundle: Bundle, trained: Trained, test: Table, settings: Settings) -> Bundle:
    """Return the bundle with the quality guarantee that the held-out rows certify, where one is asked for."""
    if settings.guarantee is None:
        return bundle
    steps = guarantee.ladder(trained.rehearsal, trained.objective, settings.guarantee)
    known = guarantee.certify(steps, bundle, test, trained.reference, settings.guarantee, settings.seed)
    figures = {name: value for name, value in known.to_json().items() if isinstance(value, int | float)}
    run.metrics({f"guarantee/{name}": value for name, value in figures.items()})
    run.tag({"guarantee": known.sentence})
    return replace(bundle, guarantee=known)


def single(trained: Trained, train: Table, name: str, common: dict[str, Any]) -> Bundle:
    """Return the bundle that sends every request to the best single candidate of the training rows."""
    column = train.candidates.index(str(trained.report["best_single"]))
    scorer = Constant(_means(train.quality), *usual_amounts(train))
    return Bundle(
        name=name, candidates=trained.candidates, encoder=trained.encoder, scorer=scorer,
        policy=Greedy(incumbent=column, margin=NEVER), objective=trained.objective,
        code_version=exporting.code_version(), **common,
    )  # fmt: skip


def _means(values: Any) -> Any:
    """The mean of each column over what is known; zero for a candidate that was never observed, which is asked last."""
    return np.nansum(values, axis=0) / np.maximum((~np.isnan(values)).sum(axis=0), 1)


def _log_data(context: Context, run: Run, parts: Parts, as_of: datetime) -> dict[str, Any]:
    """Log both sides of the cut with their hashes, and return what a bundle remembers of its training rows."""
    about: dict[str, Any] = {}
    for role, table in (("training", parts.train), ("evaluation", parts.test)):
        facts = {
            "rows": len(table),
            "probed": int(table.probed.sum()),
            "with_quality": int((~np.isnan(table.quality)).any(axis=1).sum()),
            "with_propensity": int((table.propensity > 0).sum()),
            "from": str(table.at.min()) if len(table) else None,
            "until": str(table.at.max()) if len(table) else None,
        }
        run.dataset(f"lake, {role}", fingerprint(table), context.lake.storage.url, facts, role)
        if role == "training":
            about = {**facts, "sha256": fingerprint(table), "as_of": as_of.isoformat()}
    return about


def _logged(run: Run, bundle: Bundle, folder: str) -> Bundle:
    """Write a bundle, log it below the run, and return it with the hash of its manifest."""
    with tempfile.TemporaryDirectory() as temporary:
        written = bundle.write(Path(temporary) / bundle.name)
        signed(Path(temporary) / bundle.name)
        run.folder(Path(temporary) / bundle.name, folder)
    return written


def _plain(report: Any) -> Any:
    """Return a report as JSON has it."""
    return json.loads(json.dumps(report, default=lambda value: getattr(value, "tolist", lambda: str(value))()))
