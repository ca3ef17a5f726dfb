"""Re-check the champion on fresh interactions, with a budget of false alarms, and ask for a retrain with the reason."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from matplotlib.figure import Figure
from scipy.stats import norm

from beastmode.bundle import Bundle
from models.estimators import EvaluationRefused, contrast
from models.watching import limit, more_often
from pipelines import stage_plots
from pipelines.baseline import Measures, prompts, run_of
from pipelines.context import Context
from pipelines.evaluation import always, contestant
from pipelines.report import Report, Section, tell
from pipelines.seen import Seen, seen
from pipelines.tracking import Run, moment

DRIFTED = "prompts"
MEANS = {
    "calibration": "what was observed less what was expected",
    "quality": "mean quality of what was served",
    "log cost": "mean logarithm of the cost",
    "log latency": "mean logarithm of the latency",
    "failures": "share of calls that failed",
    "prompts": "spread of the prompts (population stability index)",
    "value": "utility less the best single candidate's",
}


@dataclass(frozen=True, slots=True)
class Retrain:
    """Why the router should be trained again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared with what was usual."""

    name: str
    usual: str
    now: str
    p: float
    """How surprising it would be if nothing had changed."""


@dataclass(frozen=True, slots=True)
class Monitored:
    """What a look at the champion found."""

    checks: tuple[Check, ...]
    limit: float
    """A check whose p-value is under it is an alarm."""
    reason: str
    retrain: Retrain | None
    run_id: str | None = None
    report: Report | None = None
    path: Path | None = None

    def lines(self) -> tuple[str, ...]:
        """Return it as lines to print."""
        told = (f"{c.name}: {c.now}, usual {c.usual} (p = {c.p:.2g})" for c in self.checks)
        where = () if self.path is None else (f"report: {self.path}",)
        return (self.reason, *told, *where)


def monitor(context: Context, at: datetime) -> Monitored:
    """Compare what the champion served lately with the baseline of its promotion.

    A champion that was promoted without having served (by `improve` alone) gets its baseline from the first requests
    that it serves. Every look has a share of the month's budget of false alarms, and its checks share it again. An
    alarm asks for a retrain.
    """
    settings, pointer = context.settings.monitor, context.store.champion()
    if pointer is None:
        return _quiet("Nothing is in service yet: run `python -m pipelines improve`.")
    champion = context.store.load_champion()
    run = run_of(context, champion)
    usual = Measures.kept(run)
    since = datetime.fromisoformat(pointer.at) if usual is None else usual.until
    since = max(since, at - timedelta(hours=settings.window_hours))
    everything = seen(context, since, at, (champion,))
    own = everything.by(pointer.manifest_sha256)
    if len(own.served) < settings.minimum:
        n = len(own.served)
        return _quiet(f"{n:,} of {settings.minimum:,} fresh requests that a look at {champion.name} takes.")
    if usual is None:
        Measures.of(own, champion, at).keep(run)
        return _quiet(f"The baseline of {champion.name} was made of its first {len(own.served):,} requests.")
    now = Measures.of(own, champion, at)
    checks = (*compare(usual, now, own, champion), *_value(context, run, champion, everything, settings.value_margin))
    bound = limit(settings.false_alarms_per_month, settings.looks_per_month, len(checks))
    return _told(context, champion, replace(_judged(champion, checks, bound)), (usual, now), at)


def compare(usual: Measures, now: Measures, own: Seen, champion: Bundle) -> tuple[Check, ...]:
    """Return the checks of fresh measures against the usual ones; what either does not know is left out."""
    found = [
        Check(name, f"{usual.levels[name].value:.4g}", f"{level.value:.4g}", usual.levels[name].p(level))
        for name, level in now.levels.items()
        if name in usual.levels
    ]
    before, lately = (f"{hits} of {n:,}" for hits, n in (usual.failed, now.failed))
    found.append(Check("failures", before, lately, more_often(usual.failed, now.failed)))
    encoded = prompts(own, champion)
    if usual.prompts is not None and len(encoded):
        index, p = usual.prompts.drift(encoded)
        found.append(Check(DRIFTED, "0", f"{index:.3f}", p))
    return tuple(found)


def _value(context: Context, run: Run, champion: Bundle, known: Seen, margin: float) -> tuple[Check, ...]:
    """Check that the best single candidate is not proven better by now; nothing where the log cannot say."""
    best, table = run.tags.get("best_single"), known.table
    if table is None or best not in table.candidates:
        return ()
    ours = contestant(champion, table)
    other = always(table, table.candidates.index(best), ours)
    objective, gate = champion.objective, context.settings.gate
    utility = objective.utility(table.quality, table.cost_usd, table.latency_ms)
    expected = objective.utility(ours.quality, ours.cost_usd, ours.latency_ms)
    try:
        gain = contrast(
            table, utility, ours.probabilities, other.probabilities, expected,
            min_rows=gate.min_rows, min_effective=gate.min_effective,
        )  # fmt: skip
    except EvaluationRefused:
        return ()
    if not gain.se > 0:
        return ()
    p = float(norm.cdf((gain.value + margin) / gain.se))
    return (Check("value", "above 0", f"{gain.value:+.4f} ± {gain.se:.4f} over {best}", p),)


def _judged(champion: Bundle, checks: tuple[Check, ...], bound: float) -> Monitored:
    loud = [check for check in checks if check.p < bound]
    if not loud:
        return Monitored(checks, bound, f"{champion.name} serves as it did when it was promoted.", None)
    said = "; ".join(f"{MEANS[c.name]}: {c.now}, usual {c.usual}" for c in sorted(loud, key=lambda c: c.p))
    reason = f"Something changed since {champion.name} was promoted: {said}."
    return Monitored(checks, bound, reason, Retrain(reason))


def _quiet(reason: str) -> Monitored:
    return Monitored((), 0.0, reason, None)


def _told(
    context: Context, champion: Bundle, found: Monitored, both: tuple[Measures, Measures], at: datetime
) -> Monitored:
    """Log a look as a run of its own, with its report."""
    usual, now = both
    settings = context.settings.monitor
    budget = (
        f"{settings.false_alarms_per_month:g} false alarms a month, in {settings.looks_per_month:g} looks of "
        f"{len(found.checks)} checks: an alarm is a p-value under {found.limit:.2g}"
    )
    facts = {
        "champion": f"{champion.name}, manifest {champion.sha256}",
        "budget": budget,
        "calibration error": f"{now.ece:.4f}, at promotion {usual.ece:.4f}",
        "looked at": f"{now.failed[1]:,} requests until {moment(at)}, against {usual.failed[1]:,} of the baseline",
    }
    rows = [(MEANS[c.name], c.usual, c.now, f"{c.p:.2g}", "alarm" if c.p < found.limit else "") for c in found.checks]
    section = Section("What was compared", ("", "usual", "now", "p", ""), rows,
                      "p is how often chance alone would bring a difference as large.")  # fmt: skip
    alarm = found.retrain is not None
    sentence = "Alarm: the router should be trained again." if alarm else "Quiet: nothing has changed."
    figures: dict[str, Figure] = {"checks": stage_plots.checks({c.name: c.p for c in found.checks}, found.limit)}
    report = tell(sentence, found.reason, "reject" if alarm else "promote", [section], figures, facts, context.config)
    with context.tracker.run(f"{'alarm' if alarm else 'quiet'}: {champion.name}", "monitor") as run:
        run.metrics({f"p/{check.name.replace(' ', '_')}": check.p for check in found.checks})
        run.metrics({level: now.levels[level].value for level in now.levels} | {"ece": now.ece})
        run.figures(figures)
        run.file("report.html", report.html)
        run.describe(report.markdown)
        run.tag({"alarm": alarm, "reason": found.reason, "champion_sha256": champion.sha256})
    path = context.workspace.reports / "monitor.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.html, encoding="utf-8")
    return replace(found, run_id=run.run_id, report=report, path=path)
