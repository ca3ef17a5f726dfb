"""Probe: ask chosen requests of chosen candidates again, under a budget, and journal what they answer and are worth."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from beastmode.candidates import Candidate
from beastmode.journal import Journal
from beastmode.records import Request
from features.joins import PROBE
from features.table import Table
from models import encoders
from models.experiments.needed import standing
from pipelines import history, logs
from pipelines.context import Context
from pipelines.probe_asking import Asked, Asking, Question
from pipelines.probe_calls import Caller
from pipelines.probe_journal import INCLUSION, PLAN, probe_id, recall
from pipelines.probe_paying import Payer
from pipelines.probe_plan import COLUMNS, ProbePlan, asked_again, make_plan, reference
from pipelines.probe_purse import Purse
from pipelines.probe_scoring import function
from pipelines.progress import counts
from pipelines.settings import SettingsError
from pipelines.storage import Storage

WIDTH = 0.05
"""Plus or minus so much utility is near enough to call a candidate known."""
SHOWN = 12
"""Cells of a plan that are printed."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A plan, and what came of asking it."""

    plan: ProbePlan
    resumed: bool
    asked: Asked | None
    """None where only the plan was wanted."""
    spent_usd: float
    budget_usd: float | None
    standing: tuple[str, ...]
    """What is known of each candidate against the incumbent, a line each."""
    notes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        kinds = Counter((cell.kind, cell.request_id) for cell in self.plan.cells)
        drawn = sum(kind == "random" for kind, _ in kinds)
        yield (
            f"plan {self.plan.name}{' (resumed)' if self.resumed else ''}: {len(self.plan.cells)} calls on "
            f"{len(kinds)} requests, {drawn} of them drawn by lot; expected to cost ${self.plan.usd:.4f}"
        )
        yield from (f"left out, {cells} cells: {why}" for why, cells in self.plan.left_out.items())
        yield from self.standing
        if self.asked is None:
            yield from (
                f"  {cell.request_id[:16]} -> {cell.candidate}, ${cell.usd:.6f}: {cell.reason}"
                for cell in self.plan.cells[:SHOWN]
            )
        else:
            told = self.asked
            yield f"answered {told.answered}, scored {told.scored}, already there {told.recalled}"
            yield from (f"not asked or not scored, {cells} cells: {why}" for why, cells in told.skipped.most_common())
            yield f"spent ${self.spent_usd:.6f} of ${self.budget_usd:g} on this plan, grading included"
            if told.stopped:
                yield f"stopped: {told.stopped}"
        yield from self.notes


def probe(context: Context, at: datetime, *, plan_only: bool = False) -> Probed:
    """Plan and ask; a plan that a killed or stopped run left open is gone on with, and nothing is asked twice.

    Raises SettingsError where the budget, the judge or the scoring function is missing, NotEnough where the lake is
    empty, and BusyError where another run is asking.
    """
    settings = context.settings.probe
    catalogue = logs.candidates(context)
    judge, graded = _judge(context, catalogue), None
    if settings.scoring == "function":
        graded = function(settings.function)
    if settings.budget_usd is None and not plan_only:
        raise SettingsError("probe.budget_usd is not set: say how many US dollars a plan may spend")
    place = context.workspace.root / "probes"
    place.mkdir(parents=True, exist_ok=True)
    journals = Path(settings.journal.replace("{root}", str(context.workspace.root)))
    with Storage.of(place).writing(0.0):
        known = recall(journals)
        table = history.table(context, at)
        requests = asked_again(context.lake.interactions(until=at.date(), columns=COLUMNS))
        columns = history.candidates(context, table)
        caller = Caller(os.environ, settings.max_output_tokens, settings.timeout_seconds)
        open_plan = next(iter(sorted(place.glob("*.open.json"))), None)
        if open_plan is not None:
            plan = ProbePlan.read(open_plan)
        else:
            embedding = _embedding(context, table)
            plan = make_plan(
                table, embedding, requests, columns, judge, settings, context.settings.objective, caller,
                known.answered, context.settings.seed,
            )  # fmt: skip
        standing = tuple(_standing(context, table))
        if plan_only:
            spent = known.spent.get(plan.name, 0.0)
            return Probed(plan, open_plan is not None, None, spent, settings.budget_usd, standing, ())
        assert settings.budget_usd is not None
        path = place / f"{plan.name}.open.json"
        plan.write(path)
        purse = Purse(settings.budget_usd, known.spent.get(plan.name, 0.0))
        with Journal(journals) as journal, counts("probe", "calls") as show:
            payer = Payer(journal=journal, caller=caller, purse=purse, settings=settings)
            asking = Asking(payer=payer, settings=settings, waiting=place / "unscored", graded=graded, judge=judge)
            questions = _questions(plan, requests, columns, context)
            told = asking.run(questions, known, show)
        if told.stopped is None or told.stopped.startswith("the budget"):
            path.rename(place / f"{plan.name}.closed.json")
    notes = tuple(_notes(context, journals, told))
    return Probed(plan, open_plan is not None, told, purse.spent, settings.budget_usd, standing, notes)


def _judge(context: Context, catalogue: Sequence[Candidate]) -> Candidate | None:
    settings = context.settings.probe
    if settings.scoring != "judge":
        return None
    found = next((candidate for candidate in catalogue if candidate.name == settings.judge), None)
    if found is None:
        there = ", ".join(candidate.name for candidate in catalogue) or "nobody"
        what = "is not set: name one of" if settings.judge is None else f"= {settings.judge!r} is not in"
        raise SettingsError(f"probe.judge {what} the catalogue, which has {there}")
    lacks = Caller(os.environ, 1, 1).lacks(found)
    if lacks is not None:
        raise SettingsError(f"probe.judge = {settings.judge!r}: {lacks}")
    return found


def _embedding(context: Context, table: Table) -> np.ndarray:
    """Return where the requests lie, (n, d): by the encoder in service, else by one of terms that is fitted here."""
    if context.store.champion() is not None:
        encoder = context.store.load_champion().encoder
    else:
        settings = context.settings.recipe.encoder
        encoder = encoders.fit(table.texts, table.sessions.tolist(), settings, context.settings.seed)
    return encoder.encode(table.texts)[:, encoder.embedding]


def _questions(
    plan: ProbePlan, requests: Mapping[str, Request], candidates: Sequence[Candidate], context: Context
) -> list[Question]:
    by_name = {candidate.name: candidate for candidate in candidates}
    found = []
    for cell in plan.cells:
        parent, candidate = requests.get(cell.request_id), by_name.get(cell.candidate)
        if parent is None or candidate is None:
            continue
        marks = {PROBE: cell.kind, INCLUSION: f"{cell.inclusion:.6g}", PLAN: plan.name}
        request = Request(
            messages=parent.messages,
            tenant=parent.tenant,
            session_id=parent.session_id,
            context=marks,
            needs=parent.needs,
            request_id=probe_id(cell.request_id, cell.candidate),
        )
        found.append(Question(request, cell.request_id, candidate, reference(parent, context.settings.probe)))
    return found


def _standing(context: Context, table: Table) -> Iterator[str]:
    """Yield what paired answers say of each candidate against the best, and how many probes are still needed."""
    utility = context.settings.objective.utility(table.quality, table.cost_usd, table.latency_ms)
    seen = np.isfinite(utility)
    if not seen.any():
        return
    mean = np.where(
        seen.any(axis=0), np.where(seen, utility, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1), -np.inf
    )
    incumbent = int(np.argmax(np.where(seen.sum(axis=0) >= min(30, seen.sum(axis=0).max()), mean, -np.inf)))
    yield f"against {table.candidates[incumbent]}, on the same requests:"
    for column, name in enumerate(table.candidates):
        if column == incumbent:
            continue
        found = standing(utility[:, column] - utility[:, incumbent], WIDTH)
        if not found.probes:
            yield f"  {name}: never asked together; {found.for_width} probes would tell its utility to ±{WIDTH:g}"
            continue
        state = "decided" if found.decided else f"about {found.more} more probes decide it or tell it to ±{WIDTH:g}"
        span = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        yield f"  {name}: {span} utility on {found.probes} probes; {state}"


def _notes(context: Context, journals: Path, told: Asked) -> Iterator[str]:
    written = str(journals / "journal-x.jsonl")
    sources = [s.path.replace("{root}", str(context.workspace.root)) for s in context.settings.ingest.sources]
    if not any(fnmatch(written, path) for path in sources):
        yield f"no source of [ingest] reads {journals}: add one with the path {journals}/*.jsonl"
    elif told.answered:
        yield f"next: python -m pipelines ingest --config {context.settings.name}"
