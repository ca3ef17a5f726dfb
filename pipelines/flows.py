"""The steps as Prefect flows: thin wrappers that add retries, artifacts and a place in a schedule."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from models.comparison import Judgement
from pipelines import history, improve, logs, promote
from pipelines.compare import Compared, compare, recall
from pipelines.context import Context
from pipelines.costs import Costs, costs
from pipelines.ingest import LossReport, check
from pipelines.monitor import Monitored, monitor
from pipelines.probe import Probed, probe
from pipelines.progress import stages
from pipelines.promote import Promotion
from pipelines.rollback import RolledBack, rollback
from pipelines.settings import load
from pipelines.spreading import over
from pipelines.stages import Advance, advance
from pipelines.steps import step
from pipelines.tracker import Progress, progress
from pipelines.train import Training
from pipelines.train_verifier import TrainedVerifier, train_verifier
from pipelines.train_warmer import Trained, train_warmer
from pipelines.warm import Warmed, warm


def _open(config: str, overrides: Sequence[str]) -> tuple[Context, datetime]:
    context = Context.open(load(config, tuple(overrides)))
    return context, datetime.now(UTC)


def _reconcile(context: Context) -> None:
    """Make the registry agree with the pointer, and say what had to be mended."""
    context.tracker.ready()
    for line in step("reconcile", lambda: promote.reconcile(context.store, context.tracker, context.model)):
        get_run_logger().warning("mended: %s", line)


@flow(name="replay", log_prints=False)
def replay_flow(config: str = "default", overrides: Sequence[str] = ()) -> tuple[str, ...]:
    """Write a world's log and feedback, in the format of a gateway, to be ingested like any other."""
    context, _ = _open(config, overrides)
    return _replay(context)


@flow(name="ingest", log_prints=False)
def ingest_flow(config: str = "default", overrides: Sequence[str] = (), dry_run: bool = False) -> LossReport:
    """Read the configured logs into the lake; a dry run says what would be read, and writes nothing."""
    context, at = _open(config, overrides)
    # First, since logs rotate away while a tracking server is down.
    report = _ingest(context, at, dry_run=dry_run)
    _reconcile(context)
    return report


@flow(name="train-selector", log_prints=False)
def train_selector_flow(config: str = "default", overrides: Sequence[str] = ()) -> Training:
    """Train a challenger from the lake as it is now."""
    context, at = _open(config, overrides)
    _reconcile(context)
    with stages("train") as show:
        training = step("train", lambda: improve.learn(context, at, show))
    _tell("training", f"Trained **{training.bundle.name}**, MLflow run `{training.run_id}`. Not judged yet.")
    return training


@flow(name="compare", log_prints=False)
def compare_flow(config: str = "default", overrides: Sequence[str] = (), run_id: str | None = None) -> Compared:
    """Judge a trained challenger, the latest unless `run_id` names another."""
    context, at = _open(config, overrides)
    _reconcile(context)
    training = step("recall", lambda: recall(context, run_id, lambda as_of: history.table(context, as_of)))
    champion, _ = step("champion", lambda: improve.champion_or_first(context, training, at))
    compared = step("compare", lambda: compare(context, training, champion, at))
    _tell_verdict(compared)
    return compared


@flow(name="promote", log_prints=False)
def promote_flow(
    config: str = "default", overrides: Sequence[str] = (), run_id: str | None = None, force: bool = False
) -> Promotion:
    """Put a challenger that was proven better into service."""
    context, at = _open(config, overrides)
    _reconcile(context)
    promotion = step("promote", lambda: improve.promote_run(context, run_id, at, force=force))
    _tell_service(promotion)
    return promotion


@flow(name="rollback", log_prints=False)
def rollback_flow(
    config: str = "default",
    overrides: Sequence[str] = (),
    reason: str = "rolled back by hand",
    of: Literal["router", "warmer", "verifier"] = "router",
) -> Promotion | RolledBack:
    """Put the previous bundle back into service, the previous warmer with its tuned cache, or the previous verifier."""
    context, at = _open(config, overrides)
    if of != "router":
        back = rollback(context, of, at, reason)
        _tell(of, "\n".join(f"- {line}" for line in back.lines()))
        return back
    _reconcile(context)
    # One attempt: a second one would roll back the rollback.
    promotion = promote.rollback(context.store, context.tracker, context.model, at=at, reason=reason)
    _tell_service(promotion)
    return promotion


@flow(name="improve", log_prints=False)
def improve_flow(config: str = "default", overrides: Sequence[str] = ()) -> improve.Improvement:
    """One turn of the loop: ingest, train, compare, and promote what is proven better.

    Where the configuration names a world to replay and its log is not there yet, it is written first.
    """
    context, at = _open(config, overrides)
    if logs.missing(context):
        _replay(context)
    _ingest(context, at)
    context.tracker.ready()
    with stages("train") as show:
        turn = improve.improve(context, at, step=step, progress=show)
    for line in turn.mended:
        get_run_logger().warning("mended: %s", line)
    _tell_verdict(turn.compared)
    if turn.promotion is not None:
        _tell_service(turn.promotion)
    return turn


@flow(name="costs", log_prints=False)
def costs_flow(
    config: str = "default", overrides: Sequence[str] = (), month: str | None = None, what_if: str | None = None
) -> Costs:
    """Account for what was spent, check the logged costs, and say what is to come."""
    context, _ = _open(config, overrides)
    report = step("costs", lambda: costs(context, month, None if what_if is None else Path(what_if)))
    _tell("costs", f"{report.markdown}\n\nMLflow run `{report.run_id}`, report `{report.path}`")
    return report


@flow(name="progress", log_prints=False)
def progress_flow(config: str = "default", overrides: Sequence[str] = ()) -> Progress:
    """Hold hit rate, latency, selection, saving, errors and uptime to the configured targets, and track them."""
    context, at = _open(config, overrides)
    context.tracker.ready()
    found = step("progress", lambda: progress(context, at))
    get_run_logger().info("%s", found.sentence)
    _tell("progress", f"{found.markdown}\n\nMLflow run `{found.run_id}`, report `{found.path}`")
    return found


@flow(name="probe", log_prints=False)
def probe_flow(config: str = "default", overrides: Sequence[str] = (), plan_only: bool = False) -> Probed:
    """Ask chosen requests of chosen candidates under the budget; the answers are journalled, to be ingested."""
    context, at = _open(config, overrides)
    # One attempt, for it goes on by itself where it was stopped, and money is nothing to repeat without being asked.
    probed = step("probe", lambda: probe(context, at, plan_only=plan_only))
    _tell("probe", "\n".join(f"- {line}" for line in probed.lines()))
    return probed


@flow(name="advance", log_prints=False)
def advance_flow(config: str = "default", overrides: Sequence[str] = ()) -> Advance:
    """Judge the challenger that is tried on traffic, and move it to its next stage, or stop it."""
    context, at = _open(config, overrides)
    context.tracker.ready()
    moved = step("advance", lambda: advance(context, at))
    for line in moved.mended:
        get_run_logger().warning("mended: %s", line)
    get_run_logger().info("%s %s %s", moved.verdict, moved.reason, moved.done)
    _tell("stage", f"{moved.done}\n\n{moved.report.markdown if moved.report is not None else moved.reason}")
    if moved.promotion is not None:
        _tell_service(moved.promotion)
    return moved


@flow(name="monitor", log_prints=False)
def monitor_flow(config: str = "default", overrides: Sequence[str] = ()) -> Monitored:
    """Re-check the champion on fresh interactions; where something changed and `monitor.retrain` is set, improve."""
    context, at = _open(config, overrides)
    _reconcile(context)
    found = step("monitor", lambda: monitor(context, at))
    get_run_logger().log(logging.WARNING if found.retrain else logging.INFO, "%s", found.reason)
    _tell("monitor", found.report.markdown if found.report is not None else found.reason)
    if found.retrain is not None and context.settings.monitor.retrain:
        improve_flow(config, overrides)
    return found


@flow(name="train-warmer", log_prints=False)
def train_warmer_flow(config: str = "default", overrides: Sequence[str] = ()) -> Trained:
    """Play the tournament of warmers on logged demand, tune the cache, and put the winner into service."""
    context, at = _open(config, overrides)
    with stages("train-warmer") as show:
        trained = step("train-warmer", lambda: train_warmer(context, at, show))
    _tell("warmer", "\n".join(f"- {line}" for line in trained.lines()))
    return trained


@flow(name="warm", log_prints=False)
def warm_flow(config: str = "default", overrides: Sequence[str] = (), dry_run: bool = False) -> Warmed:
    """Fetch the answers that will be asked for, under the budget; a dry run prints the plan with its cost."""
    context, at = _open(config, overrides)
    # One attempt, as for probes: it goes on by itself, and money is nothing to repeat without being asked.
    warmed = step("warm", lambda: warm(context, at, dry_run=dry_run))
    _tell("warm", "\n".join(f"- {line}" for line in warmed.lines()))
    return warmed


@flow(name="train-verifier", log_prints=False)
def train_verifier_flow(config: str = "default", overrides: Sequence[str] = ()) -> TrainedVerifier:
    """Train the semantic cache's verifier, and put it into service where it is not worse than the one that serves."""
    context, at = _open(config, overrides)
    with stages("train-verifier") as show:
        trained = step("train-verifier", lambda: train_verifier(context, at, show))
    _tell("verifier", "\n".join(f"- {line}" for line in trained.lines()))
    return trained


def _replay(context: Context) -> tuple[str, ...]:
    lines = step("replay", lambda: logs.replay(context))
    _tell("replay", "\n".join(f"- {line}" for line in lines))
    return lines


def _ingest(context: Context, at: datetime, *, dry_run: bool = False) -> LossReport:
    settings = context.settings.ingest
    spread = over(settings.runner, settings.dask_address)
    if spread is None or dry_run:
        report = step("ingest", lambda: logs.ingest(context, at, dry_run=dry_run))
    else:
        # Its files are tasks of their own, each with its retries.
        report = logs.ingest(context, at, spread=spread)
    _tell("loss-report", "\n".join(f"- {line}" for line in report.lines()))
    if not dry_run:
        check(report, settings)
    return report


def _tell(key: str, markdown: str) -> None:
    create_markdown_artifact(markdown, key=key)


def _tell_verdict(compared: Compared) -> None:
    judgement: Judgement = compared.judgement
    get_run_logger().info("%s %s", compared.report.sentence, judgement.reason)
    _tell("comparison", f"{compared.report.markdown}\n\nMLflow run `{compared.run_id}`, report `{compared.path}`")


def _tell_service(promotion: Promotion) -> None:
    pointer = promotion.pointer
    lines = [f"**{pointer.bundle}** serves since {pointer.at}. {pointer.reason}", ""]
    lines += [f"- {line}" for line in promotion.mended]
    _tell("champion", "\n".join(lines))


FLOWS: dict[str, Any] = {
    "replay": replay_flow,
    "ingest": ingest_flow,
    "train-selector": train_selector_flow,
    "compare": compare_flow,
    "promote": promote_flow,
    "rollback": rollback_flow,
    "improve": improve_flow,
    "costs": costs_flow,
    "progress": progress_flow,
    "probe": probe_flow,
    "train-warmer": train_warmer_flow,
    "warm": warm_flow,
    "train-verifier": train_verifier_flow,
    "advance": advance_flow,
    "monitor": monitor_flow,
}
"""What can be run by name and scheduled."""
