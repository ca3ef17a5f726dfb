"""What a finished flow says to the person who started it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.compare import Compared
from pipelines.costs import Costs
from pipelines.improve import Improvement
from pipelines.ingest import LossReport
from pipelines.monitor import Monitored
from pipelines.probe import Probed
from pipelines.promote import Promotion
from pipelines.report import plainly
from pipelines.rollback import RolledBack
from pipelines.settings import Settings
from pipelines.stages import Advance
from pipelines.tracker import Progress
from pipelines.train import Training
from pipelines.train_verifier import TrainedVerifier
from pipelines.train_warmer import Trained
from pipelines.warm import Warmed
from pipelines.workspace import Workspace

EXAMPLE = "Write a function that merges two sorted lists, and say what its complexity is."

TOLD = (LossReport, Probed, Advance, Monitored, Trained, TrainedVerifier, Warmed, RolledBack, Progress)
"""What says itself what it is worth."""


def told(flow: str, result: Any, settings: Settings) -> Iterator[str]:
    """Yield the lines that a flow's result is worth."""
    if isinstance(result, TOLD):
        yield from result.lines()
    elif isinstance(result, Training):
        yield f"trained {result.bundle.name} on {result.train_rows:,} requests; MLflow run {result.run_id}"
        yield "not judged yet: python -m pipelines compare"
    elif isinstance(result, Compared):
        yield from _verdict(result)
    elif isinstance(result, Promotion):
        yield from _service(result, settings)
    elif isinstance(result, Costs):
        yield from (*result.sentences, f"report: {result.path}", f"MLflow run: {result.run_id}")
    elif isinstance(result, Improvement):
        yield from (f"mended: {line}" for line in result.mended)
        if result.first is not None:
            yield f"first: {result.first.pointer.reason}"
        yield from _verdict(result.compared)
        if result.promotion is not None:
            yield from _service(result.promotion, settings)
        else:
            yield "what serves stays as it is"
        if settings.stages is not None:
            yield f"to try it on traffic: python -m pipelines advance --config {settings.name}"
    else:
        yield from result


def _verdict(compared: Compared) -> Iterator[str]:
    yield compared.report.sentence
    yield f"{plainly(compared.judgement)}{compared.judgement.reason}"
    yield f"report: {compared.path}"
    yield f"MLflow run: {compared.run_id}"


def _service(promotion: Promotion, settings: Settings) -> Iterator[str]:
    pointer = promotion.pointer
    version = f", version {pointer.registry.version} of {pointer.registry.model}" if pointer.registry else ""
    yield f"in service: {pointer.bundle}{version}"
    if pointer.previous is not None:
        yield f"to go back to {pointer.previous.bundle}: python -m pipelines rollback --config {settings.name}"


def next_steps(settings: Settings, config: str) -> Iterator[str]:
    """Yield an example request, routed by what serves now, and what to open next."""
    workspace = Workspace.of(settings.paths.root)
    yield ""
    yield f"A request, routed: {EXAMPLE!r}"
    yield from (f"    {line}" for line in routed(workspace.store))
    yield ""
    yield "Open next:"
    yield from activation()
    yield f"    python -m pipelines ui --config {config}      MLflow's and Prefect's pages, on this machine"
    yield f"    python -m pipelines progress --config {config}    how it does against your [targets]"
    yield ""
    yield "In an application (numpy is all it needs):"
    yield "    from beastmode import Router"
    yield f"    router = Router.load({str(workspace.store)!r})"
    yield '    decision = router.route("your prompt")   # decision.candidate is the model to call'


def activation() -> Iterator[str]:
    """Yield how to make `python` the one that runs this, where the shell knows another, as after `make demo`."""
    script, python = Path(sys.executable).with_name("activate"), shutil.which("python")
    if script.is_file() and (python is None or Path(python).parent != script.parent):
        yield f"    . {script}"


def routed(store: Path) -> Iterator[str]:
    """Yield the decision on the example request as a table."""
    from beastmode.router import Router

    decision = Router.load(store).route(EXAMPLE)
    yield f"{'candidate':20} {'quality':>8} {'US dollars':>11} {'seconds':>8} {'utility':>8} {'chosen':>7}"
    for p in sorted(decision.predictions, key=lambda p: -p.utility):
        cost = "unknown" if p.cost_usd is None else f"{p.cost_usd:.6f}"
        wait = "unknown" if p.latency_ms is None else f"{p.latency_ms / 1000:.2f}"
        chosen = f"{decision.probabilities.get(p.candidate, 0.0):.0%}"
        yield f"{p.candidate:20} {p.quality:8.3f} {cost:>11} {wait:>8} {p.utility:8.3f} {chosen:>7}"
    yield f"-> {decision.reason}"
