"""Move a challenger through its stages: candidate, shadow, canary, champion, each on its evidence, or stop it."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from beastmode.arms import Dealing
from beastmode.arms import Step as Held
from beastmode.bundle import Bundle
from beastmode.errors import StaleError
from beastmode.experiment import Experiment, State
from beastmode.store import Pointer
from pipelines import trials
from pipelines.baseline import Measures, run_of
from pipelines.context import Context
from pipelines.promote import Promotion, promote, reconcile
from pipelines.report import VERDICTS, Report, tell
from pipelines.seen import seen
from pipelines.settings import SettingsError
from pipelines.stage_settings import StageSettings
from pipelines.tracking import BUNDLE, Run, moment
from pipelines.trials import Evidence

STAGE = "stage"
"""Tag of a run: where its bundle stands."""
ENDS = {"reject": "rejected", "roll back": "rolled back"}
SENTENCES = {
    ("candidate", "promote"): "Go on: the challenger is tried in the shadow.",
    ("shadow", "promote"): "Go on: the challenger serves its first share of the traffic.",
    ("shadow", "hold"): "Hold: the challenger stays in the shadow.",
    ("canary", "hold"): "Hold: the challenger keeps its share of the traffic.",
}
AfterStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Advance:
    """What one look at the trial found, and what was done."""

    stage: str
    """Where the challenger stood: candidate, shadow or canary; none where nobody is tried."""
    verdict: str
    """promote (to the next stage), hold, reject or roll back."""
    reason: str
    done: str
    """In words."""
    challenger: str | None = None
    run_id: str | None = None
    report: Report | None = None
    path: Path | None = None
    promotion: Promotion | None = None
    mended: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Return it as lines to print."""
        where = f"report: {self.path}" if self.path is not None else None
        said = (*(f"mended: {line}" for line in self.mended), f"{self.stage}: {self.verdict}. {self.reason}", self.done)
        return (*said, where) if where else said


def advance(context: Context, at: datetime, *, after_step: AfterStep = lambda step: None) -> Advance:
    """Judge the challenger on what the lake holds since its stage began, and move it on, or stop it.

    The store is the state and MLflow's tags are its picture, so that a run that was killed goes on from where it was:
    `after_step` is told each step done. Raises SettingsError where the configuration has no [stages].
    """
    settings = context.settings.stages
    if settings is None:
        raise SettingsError("stages: this configuration promotes at once; add a section [stages] to try challengers")
    mended = (*reconcile(context.store, context.tracker, context.model), *mend(context))
    state = context.store.state()
    pointer, trial = state.champion, state.trial
    if pointer is None:
        said = "Nothing is in service yet: run `python -m pipelines improve`."
        return Advance("none", "hold", said, "Nothing was done.", mended=mended)
    if trial is None:
        return replace(_begin(context, settings, state, pointer, at), mended=mended)
    champion = context.store.load_champion()
    challenger = context.store.read(trial.challenger, trial.manifest_sha256)
    stage = trial.dealing.mode
    known = seen(context, trial.dealing.ramp[0].at, at, (champion, challenger))
    if stage == "shadow":
        evidence = trials.shadow(known, champion, challenger, settings, context.settings.gate)
    else:
        evidence = trials.canary(known, champion, challenger, settings, challenger.objective)
    run = run_of(context, challenger)
    found = _told(context, run, trial, pointer, stage, evidence, at)
    if (stage, evidence.verdict) == ("canary", "promote"):
        # Before the pointer moves, so that no champion is without what it is to be held to.
        Measures.of(known.by(trial.manifest_sha256), challenger, at).keep(run)
    after_step("report")
    try:
        done, promotion = _act(context, settings, state, trial, challenger, run, evidence, at, after_step)
    except StaleError as error:
        # What a guard or a hand did while the evidence was weighed stands.
        return replace(found, verdict="hold", done=f"Nothing was done: {error}.", mended=(*mended, *mend(context)))
    return replace(found, done=done, promotion=promotion, mended=mended)


def mend(context: Context) -> tuple[str, ...]:
    """Make the runs' tags say what the store says; return what was mended."""
    state, mended = context.store.state(), []
    pointer = state.champion
    if pointer is None:
        return ()
    for stage in ("shadow", "canary", "champion"):
        for run in _tagged(context, stage):
            now, why = _standing(run.tags["bundle_sha256"], pointer, state)
            if (stage, now) == ("champion", "stopped"):
                now, why = "retired", f"{pointer.bundle} serves in its place"
            if now != stage:
                run.tag({STAGE: now, "stage_reason": why})
                mended.append(f"{run.tags.get('bundle', run.run_id)} is {now}: {why}")
    return tuple(mended)


def _standing(sha256: str, pointer: Pointer, state: State) -> tuple[str, str]:
    """Return where a bundle stands by the store alone, and why."""
    if pointer.manifest_sha256 == sha256:
        return "champion", pointer.reason
    if state.trial is not None and state.trial.manifest_sha256 == sha256:
        return state.trial.dealing.mode, state.trial.reason
    kept = pointer.previous
    if kept is not None and kept.manifest_sha256 == sha256 and kept.breach is not None:
        return "rolled back", kept.breach
    ended = state.last.ended if state.last is not None and state.last.manifest_sha256 == sha256 else None
    return "stopped", ended or "no experiment with it runs"


def _begin(context: Context, settings: StageSettings, state: State, pointer: Pointer, at: datetime) -> Advance:
    """Start the shadow of the newest judged challenger, if it may be tried."""
    run, why = _nominated(context, settings, state, pointer)
    if run is None:
        return Advance("none", "hold", why, "Nothing was done.")
    with tempfile.TemporaryDirectory() as folder:
        bundle = Bundle.read(run.download(BUNDLE, Path(folder)), run.tags["bundle_sha256"])
    kept = context.store.add(bundle)
    # The salt is the bundle's: a run that is repeated deals every unit as before.
    dealing = Dealing(bundle.sha256 or kept.name, (Held(at, settings.shadow_share),), settings.unit, "shadow")
    try:
        context.store.try_out(kept.name, dealing, at=at.isoformat(), reason=why, seen=state)
    except StaleError as error:
        return Advance("none", "hold", why, f"Nothing was done: {error}.")
    run.tag({STAGE: "shadow", "stage_since": moment(at), "stage_reason": why})
    done = f"{kept.name} decides in the shadow of {pointer.bundle}, on {settings.shadow_share:.0%} of the units."
    return Advance("candidate", "promote", why, done, kept.name, run.run_id)


def _nominated(context: Context, settings: StageSettings, state: State, pointer: Pointer) -> tuple[Run | None, str]:
    """Return the newest judged run, where it may be tried against what serves, and why or why not."""
    found = _runs(context, "tags.kind = 'train-selector' and tags.verdict != ''", 1)
    if not found:
        return None, "No challenger was judged yet: run `python -m pipelines improve`."
    tags, run = found[0].tags, found[0]
    name = tags.get("bundle", run.run_id)
    if STAGE in tags:
        return None, f"No new challenger: {name}, the newest, is {tags[STAGE]} already."
    if tags["verdict"] not in settings.admit or tags.get("bundle_sha256") == pointer.manifest_sha256:
        return None, f"No challenger to try: {name}, the newest, was judged {tags['verdict']!r}. {tags['reason']}"
    if tags.get("compared_with_sha256") != pointer.manifest_sha256:
        return None, f"{name} was judged against another champion: run `python -m pipelines compare` again."
    last = state.last
    if last is not None and last.ended is not None and last.compares(tags["bundle_sha256"], pointer.manifest_sha256):
        return None, f"No new challenger: {name}, the newest, was stopped. {last.ended}"
    return run, f"On the held-out requests it was judged {tags['verdict']!r}: {tags['reason']}"


def _act(
    context: Context,
    settings: StageSettings,
    state: State,
    trial: Experiment,
    challenger: Bundle,
    run: Run,
    evidence: Evidence,
    at: datetime,
    after_step: AfterStep,
) -> tuple[str, Promotion | None]:
    """Do what the verdict says: the store first, then the tags, which a killed run leaves to `mend`.

    Raises StaleError where the store was changed since its `state` was read, so that nothing is moved that was stopped.
    """
    name, stage = challenger.name, trial.dealing.mode
    if evidence.verdict in ENDS:
        context.store.stop_experiment(evidence.reason, challenger=trial.manifest_sha256)
        after_step("store")
        run.tag({STAGE: ENDS[evidence.verdict], "stage_reason": evidence.reason})
        return f"{name} is stopped: every unit is the champion's again.", None
    if stage == "canary" and evidence.verdict == "promote":
        promotion = promote(
            challenger, context.store, context.tracker, context.model, at=at, reason=evidence.reason,
            baseline=evidence.baseline, seen=state, after_step=after_step,
        )  # fmt: skip
        run.tag({STAGE: "champion", "stage_since": moment(at), "stage_reason": evidence.reason})
        return f"{name} is the champion now.", promotion
    ramp = _ramp(settings, trial, evidence, at)
    if ramp is None:
        return "Everything stays as it is.", None
    dealing = Dealing(trial.dealing.salt, ramp, trial.dealing.unit, "canary")
    context.store.try_out(name, dealing, at=at.isoformat(), reason=evidence.reason, seen=state)
    after_step("store")
    run.tag({STAGE: "canary", "stage_since": moment(ramp[0].at), "stage_reason": evidence.reason})
    return f"{name} serves {ramp[-1].share:.0%} of the units from now on.", None


def _ramp(settings: StageSettings, trial: Experiment, evidence: Evidence, at: datetime) -> tuple[Held, ...] | None:
    """Return the canary's ramp from now on, or None where it stays: a step is taken when the last one's hours are over.

    What arrives after a share was changed is judged with what came before, each row by the share of its moment.
    """
    if trial.dealing.mode == "shadow":
        return (Held(at, settings.ramp[0].share),) if evidence.verdict == "promote" else None
    now = trial.dealing.ramp
    ahead = [step for step in settings.ramp if step.share > now[-1].share]
    held = [step.hours for step in settings.ramp if step.share <= now[-1].share]
    if not ahead or not held or at < now[-1].at + timedelta(hours=held[-1]) or not evidence.metrics.get("units"):
        return None
    return (*now, Held(at, ahead[0].share))


def _told(
    context: Context, run: Run, trial: Experiment, pointer: Pointer, stage: str, evidence: Evidence, at: datetime
) -> Advance:
    """Log the evidence to the challenger's run, and keep the report as a file too."""
    verdict = evidence.verdict
    sentence = SENTENCES.get((stage, verdict), VERDICTS[verdict])
    facts = {
        "stage": f"{stage}, since {moment(trial.dealing.ramp[0].at)}",
        "challenger": f"{trial.challenger}, manifest {trial.manifest_sha256}",
        "champion": f"{pointer.bundle}, manifest {pointer.manifest_sha256}",
        **evidence.facts,
        "ramp": ", ".join(f"{step.share:.0%} from {moment(step.at)}" for step in trial.dealing.ramp),
        "judged": moment(at),
    }
    report = tell(sentence, evidence.reason, verdict, evidence.sections, evidence.figures, facts, context.config)
    run.metrics({f"{stage}/{name}": value for name, value in evidence.metrics.items()})
    run.file(f"{stage}.html", report.html)
    run.tag({"stage_verdict": verdict, "stage_reason": evidence.reason})
    path = context.workspace.reports / f"{trial.challenger}-{stage}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.html, encoding="utf-8")
    return Advance(stage, verdict, evidence.reason, "", trial.challenger, run.run_id, report, path)


def _tagged(context: Context, stage: str) -> list[Run]:
    return _runs(context, f"tags.{STAGE} = '{stage}'", 100)


def _runs(context: Context, query: str, most: int) -> list[Run]:
    tracker = context.tracker
    found = tracker.client.search_runs(
        [tracker.experiment_id], f"{query} and attributes.status = 'FINISHED'", max_results=most,
        order_by=["attributes.start_time DESC"],
    )  # fmt: skip
    return [Run(tracker.client, run.info.run_id) for run in found]
