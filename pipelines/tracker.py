"""Measured progress against targets: one table, tracked so that each figure's trend can be seen."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from models.attainment import Measured, Verdict, more, verdict
from pipelines import measures, measures_router
from pipelines.context import Context
from pipelines.measures import Reading, Served, Source
from pipelines.measures_router import Fresh
from pipelines.plots_progress import Trend, trends
from pipelines.report import Report, Section, as_table, tell
from pipelines.target_settings import TargetSettings
from pipelines.tracker_history import EXPERIMENT, Run, keep, past
from pipelines.tracking import moment
from pipelines.wording import number

NOTHING = Reading(None, "the lake holds no served request", missing="python -m pipelines ingest")
HEADER = ("measure", "measured", "interval", "target", "verdict", "trend", "what would settle or improve it")
WORDS = {
    "hit rate": "the share of the served requests that a tier of the cache answered; the ceiling is the share that had "
    "been asked before",
    "p95 latency": "95 of 100 answered requests took no longer, retries and fallbacks included",
    "selection accuracy": "how often the router takes a model that is as good as the best one, on requests that were "
    "asked of every model by lot and that it did not learn from",
    "cost saving": "what the router saves, as a share of what asking one model every time would have cost",
    "error rate": "the share of requests that had no answer in the end",
    "uptime": "the share of the minutes with traffic in which a request was answered",
    "interval": "where the truth very likely lies, given how few requests were seen",
    "met, missed": "the whole interval lies on that side of the target",
    "within noise of the target": "the interval reaches across the target: it may be met or missed",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured: its name in settings, its name for people, and which side is good."""

    key: str
    name: str
    at_least: bool
    digits: int = 1
    """Of a share in per cent."""

    def shown(self, value: float, *, signed: bool = False) -> str:
        """Return a value with its unit."""
        if abs(value) == float("inf"):
            return "unknown"
        if self.key == "p95_ms":
            return f"{number(value, 0, signed=signed)} ms"
        return number(100 * value, self.digits, signed=signed) + (" points" if signed else "%")


MEASURES = (
    Measure("hit_rate", "hit rate", at_least=True),
    Measure("p95_ms", "p95 latency", at_least=False),
    Measure("selection_accuracy", "selection accuracy", at_least=True),
    Measure("saving", "cost saving", at_least=True),
    Measure("error_rate", "error rate", at_least=False, digits=2),
    Measure("uptime", "uptime", at_least=True, digits=2),
)
IMPROVE: Mapping[str, str] = {
    "hit_rate": "python -m pipelines train-warmer, then warm; a longer time to live; the semantic tier (docs/cache.md)",
    "p95_ms": "raise objective.per_second and run python -m pipelines improve; shorter timeouts with a fallback",
    "selection_accuracy": "python -m pipelines probe, then improve",
    "saving": "lower the price of a candidate, or raise objective.per_dollar and run python -m pipelines improve",
    "error_rate": "fallbacks and retries in the application (docs/serving.md)",
    "uptime": "a fallback at another provider (docs/serving.md)",
}
"""What a missed target asks for."""


@dataclass(frozen=True, slots=True)
class Line:
    """A measure as it stands."""

    measure: Measure
    reading: Reading
    target: float | None
    verdict: Verdict
    trend: str
    advice: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row of the table."""
        found, shown = self.reading.measured, self.measure.shown
        value, interval = ("unknown", "") if found is None else (
            shown(found.value), f"{shown(found.low)} to {shown(found.high)}",
        )  # fmt: skip
        side = "at least" if self.measure.at_least else "at most"
        target = "none" if self.target is None else f"{side} {shown(self.target)}"
        return (self.measure.name, value, interval, target, self.verdict, self.trend, self.advice)


@dataclass(frozen=True, slots=True)
class Progress:
    """A look at every target."""

    rows: tuple[tuple[str, ...], ...]
    """The table under `HEADER`, the data first."""
    abouts: tuple[tuple[str, str], ...]
    """What each figure is of."""
    sentence: str
    markdown: str
    path: Path
    run_id: str

    def lines(self) -> Iterator[str]:
        """Yield it as lines to print."""
        yield self.sentence
        yield ""
        shown = [HEADER[:-1], *(row[:-1] for row in self.rows)]
        widths = [max(len(row[i]) for row in shown) for i in range(len(HEADER) - 1)]
        abouts = dict(self.abouts)
        for row, whole in zip(shown, [HEADER, *self.rows], strict=True):
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            yield from (f"    {text}" for text in (abouts.get(row[0], ""), row is not shown[0] and whole[-1]) if text)
        yield ""
        yield f"report: {self.path}"
        yield f"MLflow run: {self.run_id}, experiment {EXPERIMENT}"


def progress(context: Context, at: datetime) -> Progress:
    """Measure what the configuration names targets of, hold it to them, and track it."""
    known = measures.served(context, at)
    earlier = past(context, at)
    readings = {measure.key: NOTHING for measure in MEASURES} if known is None else _readings(context, known, at)
    found = tuple(_line(context.settings.targets, each, readings[each.key], earlier) for each in MEASURES)
    logs = () if known is None else measures.sources(known, at, context.settings.targets)
    data = _data(logs)
    rows = (data, *(line.cells for line in found))
    abouts = (("data", _span(known)), *((line.measure.name, line.reading.about) for line in found))
    return _publish(context, at, found, rows, abouts, earlier)


def _readings(context: Context, known: Served, at: datetime) -> dict[str, Reading]:
    level, router = context.settings.gate.level, measures_router.fresh(context, known.since, at)

    def of(measure: Callable[[Context, Fresh], Reading]) -> Reading:
        return router if isinstance(router, Reading) else measure(context, router)

    return {
        "hit_rate": measures.hit_rate(context, known),
        "p95_ms": measures.p95(known, level),
        "selection_accuracy": of(measures_router.selection_accuracy),
        "saving": of(measures_router.saving),
        "error_rate": measures.error_rate(known, level),
        "uptime": measures.uptime(known, level),
    }


def _line(targets: TargetSettings, measure: Measure, reading: Reading, earlier: Sequence[Run]) -> Line:
    target: float | None = getattr(targets, measure.key)
    said = verdict(reading.measured, target, at_least=measure.at_least)
    return Line(measure, reading, target, said, _trend(measure, reading.measured, earlier),
                _advice(measure, reading, target, said))  # fmt: skip


def _advice(measure: Measure, reading: Reading, target: float | None, said: Verdict) -> str:
    """Return what would settle or improve a figure, as one line."""
    found = reading.measured
    if found is None:
        return reading.missing
    if target is None:
        return f"to hold it to a target: targets.{measure.key}"
    if said == "met":
        return ""
    if measure.key == "hit_rate" and reading.ceiling is not None and reading.ceiling < target:
        return f"out of reach of exact keys, whose ceiling is {measure.shown(reading.ceiling)}: semantic tier, prefills"
    if said == "missed" and measure.key == "saving" and reading.ceiling is not None and reading.ceiling >= target:
        return "less spent on probes, grading and warming: lower probe.budget_usd and warming.budget_usd"
    if said == "missed":
        return reading.missing or IMPROVE[measure.key]
    if found.value == target:
        return "nothing: it lies on the target"
    needed = more(found, target)
    what = {"selection_accuracy": "random probes", "uptime": "minutes with traffic"}.get(measure.key, "requests")
    if needed is None or needed > 100 * found.n:
        return f"many more {what} than these {found.n:,}, or a larger targets.days"
    return f"about {needed:,} more {what} would tell, or a larger targets.days"


def _trend(measure: Measure, found: Measured | None, earlier: Sequence[Run]) -> str:
    """Return the change since the last run that knew the figure, and whether it is more than noise."""
    last = next((run for run in reversed(earlier) if measure.key in run.known), None)
    if found is None or last is None:
        return "" if found is None else "first look"
    before, when = last.known[measure.key], f"{last.at:%m-%d %H:%M}"
    change = found.value - before.value
    if change == 0:
        return f"unchanged since {when}"
    rose = change > 0
    # As far as the two intervals reach towards each other, as if no request were in both: rather too wide.
    theirs, ours = (
        (before.high - before.value, found.value - found.low)
        if rose
        else (before.value - before.low, found.high - found.value)
    )
    if abs(change) <= math.hypot(theirs, ours):
        word = "noise"
    else:
        word = "better" if rose == measure.at_least else "worse"
    return f"{measure.shown(change, signed=True)} since {when} ({word})"


def _data(logs: Sequence[Source]) -> tuple[str, ...]:
    """Return the first line: how old the data are that all others rest on."""
    if not logs:
        return ("data", "none", "", "", "missed", "", str(NOTHING.missing))
    worst = logs[0]
    every = (
        "every figure below is old" if all(log.dead for log in logs) else f"figures lack what {worst.name} would say"
    )
    advice = f"{every}: is that log still written, and python -m pipelines ingest run?" if worst.dead else ""
    return ("data", f"{worst.name}: {_age(worst.silence)} old", "", f"at most {_age(worst.allowed)}",
            "missed" if worst.dead else "met", "", advice)  # fmt: skip


def _age(silence: timedelta) -> str:
    hours = max(silence / timedelta(hours=1), 0.0)
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:,.0f} days"


def _span(known: Served | None) -> str:
    if known is None:
        return NOTHING.about
    kinds = ", ".join(f"{name} {n:,}" for name, n in known.rows["format"].value_counts().items())
    return f"{len(known.rows):,} served requests ({kinds}), {moment(known.since)} to {moment(known.until)}"


def _publish(
    context: Context, at: datetime, found: Sequence[Line], rows: Sequence[tuple[str, ...]],
    abouts: Sequence[tuple[str, str]], earlier: Sequence[Run],
) -> Progress:  # fmt: skip
    """Write the page, and a run of the experiment `progress`: aggregates only."""
    sentence, reason, tone = _sentence(rows)
    now = Run(at, {line.measure.key: line.reading.measured for line in found if line.reading.measured is not None})
    header = (*HEADER[:2], f"{context.settings.gate.level:.0%} {HEADER[2]}", *HEADER[3:])
    sections = [
        Section("Where we stand", header, rows, "A verdict is passed only where the whole interval lies on one side "
                "of the target. Trends are against the last run.", toned=HEADER.index("verdict")),
        Section("What the figures are of", ("measure", "of"), abouts),
    ]  # fmt: skip
    figures = {"trends": trends([_drawn(line, [*earlier, now]) for line in found])}
    facts = {"looked at": moment(at), "configuration": context.settings.name, "lake": context.lake.storage.url}
    page = tell(sentence, reason, tone, sections, figures, facts, context.config, WORDS)
    # The table comes first: MLflow cuts a description off.
    told = [*as_table(sections[0]), "", f"**{sentence}** {reason}", "", *as_table(sections[1])]
    report = Report(page.html, "\n".join(told), sentence)
    path = context.workspace.reports / "progress.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.html, encoding="utf-8")
    verdicts = {row[0]: row[HEADER.index("verdict")] for row in rows}
    run_id = keep(context, now, earlier, sentence, verdicts, report, figures)
    return Progress(tuple(rows), tuple(abouts), sentence, report.markdown, path, run_id)


def _drawn(line: Line, runs: Sequence[Run]) -> Trend:
    known = [(run.at, run.known[line.measure.key]) for run in runs if line.measure.key in run.known]
    return Trend(line.measure.name, "ms" if line.measure.key == "p95_ms" else "%", known, line.target)


def _sentence(rows: Sequence[tuple[str, ...]]) -> tuple[str, str, str]:
    """Return the answer, its reason, and the tone of the page."""
    place = HEADER.index("verdict")
    data, *others = rows
    by = {word: [row[0] for row in others if row[place] == word] for word in {row[place] for row in others}}
    met, missed, noise = (by.get(word, []) for word in ("met", "missed", "within noise of the target"))
    unknown = [row[0] for row in others if row[place] == "not known yet"]
    parts = {"missed": missed, "too close to tell": noise, "not known yet": unknown}
    reason = "; ".join(f"{word}: {', '.join(names)}" for word, names in parts.items() if names)
    targets = [row[0] for row in others if row[HEADER.index("target")] != "none"]
    sentence = f"{len(met)} of {len(targets)} targets are met." if targets else "No target is set yet: see [targets]."
    if data[place] == "missed":
        sentence = f"Data are late ({data[1]}). {sentence}"
    bad, open_ = missed or data[place] == "missed", noise or unknown or not targets
    return sentence, reason, "reject" if bad else "hold" if open_ else "promote"
