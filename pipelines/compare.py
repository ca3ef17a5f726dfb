"""Judge a trained challenger on the held-out slice, and write down why it is promoted, held or rejected."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from matplotlib.figure import Figure

from beastmode.bundle import Bundle
from features.outcomes import fingerprint
from features.table import Table
from models import comparison, guarantee, unlogged
from models.comparison import Judgement
from models.estimators import EvaluationRefused
from pipelines import evidence, plots, report
from pipelines.context import Context
from pipelines.evaluation import (
    BEST_SINGLE,
    CHALLENGER,
    CHAMPION,
    KNN,
    Evaluation,
    always,
    contestant,
    headline,
    points,
    shares,
)
from pipelines.report import Report
from pipelines.tracking import BUNDLE, TrackingError, moment
from pipelines.train import BASELINE, FIRST, IDENTITY, LADDER, Training, held_out


@dataclass(frozen=True, slots=True)
class Compared:
    """A judged challenger, and where its report lies."""

    run_id: str
    bundle: Bundle
    judgement: Judgement
    report: Report
    path: Path


def evaluate(
    challenger: Bundle,
    champion: Bundle,
    baseline: Bundle | None,
    best_single: str,
    test: Table,
    settings: comparison.Settings,
    seed: int = 0,
    *,
    watched: bool = False,
) -> Evaluation:
    """Judge a challenger against the champion, the best single candidate and the tuned kNN, on the same requests.

    With `watched` the bounds hold at all looks at once: for a champion that is challenged again and again. All are
    judged by the challenger's objective; where the rows cannot say for want of propensities, on estimates of
    them, and the judgement says so. Neither paths nor tracking: what a flow and a benchmark both call.
    """
    main = contestant(challenger, test)
    contestants = {
        CHALLENGER: main,
        CHAMPION: contestant(champion, test),
        BEST_SINGLE: always(test, test.candidates.index(best_single), main),
    }
    if baseline is not None:
        contestants[KNN] = contestant(baseline, test)
    judgement = comparison.judge(contestants, test, challenger.objective, settings, watched=watched)
    if judgement.refused is not None and not (test.propensity[test.served >= 0] > 0).all():
        features = challenger.encoder.encode(test.texts)
        try:
            judgement, test = unlogged.judge(
                contestants, test, challenger.objective, settings, features, seed=seed, watched=watched
            )
        except EvaluationRefused as why:
            told = f"{judgement.refused} Estimated propensities are no way out: {why}"
            judgement = replace(judgement, reason=f"No verdict: {told}", refused=told)
    drawn = () if judgement.refused else points(challenger, contestants, test, rules(settings))
    return Evaluation(judgement, test, drawn, shares(contestants), test.candidates, main.quality, test.quality)


def rules(settings: comparison.Settings) -> dict[str, float]:
    """Return the gate's rules of evidence as estimates take them."""
    return {"level": settings.level, "min_rows": settings.min_rows, "min_effective": settings.min_effective}


def pictures(
    evaluation: Evaluation, gains: list[tuple[str, float]], more: Mapping[str, Figure] | None = None
) -> dict[str, Figure]:
    """Return the figures that explain an evaluation, with `more` of them; what the rows cannot show is left out."""
    drawn: dict[str, Figure] = {}
    if evaluation.judgement.comparisons:
        drawn["differences"] = plots.differences(evaluation.judgement.comparisons)
    if evaluation.points:
        drawn["frontier"] = plots.frontier(evaluation.points)
        drawn["savings"] = plots.savings(evaluation.points, BEST_SINGLE)
    drawn |= more or {}
    drawn["traffic"] = plots.traffic(evaluation.shares, evaluation.candidates)
    drawn["calibration"] = plots.calibration(evaluation.expected.ravel(), evaluation.observed.ravel())
    if gains:
        drawn["importance"] = plots.importance(gains)
    return drawn


def compare(context: Context, training: Training, champion: Bundle, at: datetime) -> Compared:
    """Judge a training's bundle, log the evidence to its run, and keep the report as a file too.

    Night by night a champion is challenged on nearly the same requests, so that the second challenger that may be
    promoted at once, and those after it, are judged by bounds that hold at all looks. With [stages] traffic decides.
    """
    settings, seed = context.settings.gate, context.settings.seed
    watched = context.settings.stages is None and _challenged(context, training, champion)
    evaluation = evaluate(
        training.bundle, champion, training.baseline, training.best_single, training.test, settings, seed,
        watched=watched,
    )  # fmt: skip
    judgement = evaluation.judgement
    beside = evidence.gather(context, training, champion, evaluation)
    figures = pictures(evaluation, list(training.importance), beside.figures)
    facts = {
        **_facts(training, champion, at),
        "bounds": "hold at all looks: this champion was challenged before" if watched else "of one look",
        **_ladder(training.bundle),
        **_guarantees(training, champion, seed),
        **beside.facts,
    }
    written = report.write(judgement, beside.sections, figures, facts, context.config, settings)
    run = context.tracker.of(training.run_id)
    run.metrics({**headline(judgement, (CHAMPION, BEST_SINGLE, KNN)), **beside.metrics})
    run.figures(figures)
    run.file("report.html", written.html)
    run.describe(written.markdown)
    run.tag(
        {
            "verdict": judgement.verdict,
            "reason": judgement.reason,
            "propensities": "estimated" if judgement.estimated else "as logged",
            "compared_with": champion.name,
            "compared_with_sha256": champion.sha256,
        }
    )
    run.rename(f"{judgement.verdict}: {training.bundle.name}")
    path = context.workspace.reports / f"{training.bundle.name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written.html, encoding="utf-8")
    return Compared(training.run_id, training.bundle, judgement, written, path)


def recall(context: Context, run_id: str | None, table: Callable[[datetime], Table]) -> Training:
    """Return a training that an earlier flow tracked, its held-out slice cut again as of the same moment.

    `table` gives the lake as of a moment.

    Raises TrackingError where the run is not there, or where the lake no longer gives the table it was trained on.
    """
    run = context.tracker.of(run_id or context.tracker.latest("train-selector"))
    try:
        known = run.kept(IDENTITY)
    except TrackingError as error:
        raise TrackingError(f"run {run.run_id} is no finished training run: {error}") from error
    as_of = datetime.fromisoformat(known["as_of"])
    parts = held_out(table(as_of), context.settings.split)
    if fingerprint(parts.test) != known["test_sha256"]:
        raise TrackingError(
            f"run {run.run_id}: the lake gives another held-out slice as of {moment(as_of)} than the run was trained "
            "beside (rows came late, or the configuration changed): run `python -m pipelines train-selector` again"
        )
    with tempfile.TemporaryDirectory() as folder:
        bundles = {
            name: Bundle.read(run.download(name, Path(folder)), sha256)
            for name, sha256 in known["bundles"].items()
            if sha256 is not None
        }
    return Training(
        run_id=run.run_id, bundle=bundles[BUNDLE], baseline=bundles.get(BASELINE), first=bundles[FIRST],
        best_single=known["best_single"], train_rows=len(parts.train), test=parts.test, as_of=as_of,
        importance=tuple((str(name), float(gain)) for name, gain in known["feature_importance"]),
    )  # fmt: skip


def _challenged(context: Context, training: Training, champion: Bundle) -> bool:
    """Whether an earlier run was weighed against this champion; one of which nothing could be said was not."""
    tracker = context.tracker
    query = f"tags.compared_with_sha256 = '{champion.sha256}' and metrics.`utility_gain/over_champion_se` >= 0"
    found = tracker.client.search_runs([tracker.experiment_id], query, max_results=2)
    return any(run.info.run_id != training.run_id for run in found)


def _guarantees(training: Training, champion: Bundle, seed: int) -> dict[str, str]:
    """Return what is certified of the challenger, and what the held-out requests say of the champion's certificate."""
    said = {}
    if training.bundle.guarantee is not None:
        said["quality guarantee"] = training.bundle.guarantee.sentence
    if champion.guarantee is not None and champion.guarantee.safe:
        again = guarantee.recheck(champion.guarantee, champion, training.test, seed)
        said["champion's guarantee"] = again.sentence
    return said


def _ladder(bundle: Bundle) -> dict[str, str]:
    """Return where the rungs of the ladder of encoders stood when the bundle was trained; nothing of a single one."""
    said = {}
    for rung in bundle.evaluation.get(LADDER, ()):
        said[f"encoder {rung['rung']}" + (", taken" if rung["chosen"] else "")] = (
            f"utility {rung['value']:.4f} ± {rung['value_se']:.4f}, {rung['behind']:.4f} ± {rung['behind_se']:.4f} "
            f"behind the best, {rung['milliseconds']:.2f} ms a decision, {rung['size_bytes'] / 1e6:.1f} MB"
        )
    return said


def _facts(training: Training, champion: Bundle, at: datetime) -> Mapping[str, str]:
    test = training.test
    span = " to ".join(str(moment)[:16].replace("T", " ") for moment in (test.at.min(), test.at.max()))
    probed = int(test.probed.sum())
    return {
        "challenger": f"{training.bundle.name}, manifest {training.bundle.sha256}",
        "champion": f"{champion.name}, manifest {champion.sha256}",
        "best single": f"{training.best_single}, chosen on the training rows",
        "trained on": f"{training.train_rows:,} requests, as of {moment(training.as_of)}",
        "held out": f"{len(test):,} later requests, {span} UTC, {probed:,} of them asked of every candidate",
        "judged": moment(at),
        "MLflow run": training.run_id,
    }
