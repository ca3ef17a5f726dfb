"""The evidence as one HTML page that needs nothing else: the verdict first, its reason second, then its grounds."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from models.comparison import Comparison, Judgement, Settings
from models.estimators import Estimate
from pipelines.plots import png
from pipelines.report_page import PAGE
from pipelines.wording import TOLD, compared, money, number

VERDICTS = {
    "promote": "Promote: the challenger is proven better.",
    "hold": "Hold: the challenger is not proven better.",
    "reject": "Reject: the challenger is proven worse.",
    "roll back": "Roll back: the challenger does harm.",
}

TONES = {
    "better": "better", "cheaper": "better", "goes on": "better",
    "met": "better", "missed": "worse",
    "worse": "worse", "dearer": "worse", "stopped": "worse", "breached": "worse", "alarm": "worse",
}  # fmt: skip
"""How a word of a row is coloured."""

WORDS = {
    "router": "the small program that chooses, for each request, which model is to answer it",
    "champion": "the router that serves now",
    "challenger, this router": "the newly trained one that this report is about",
    "held-out requests": "later requests that nothing was learned from, kept to judge by",
    "probe": "a request that was asked of several models on purpose, so that their answers can be compared",
    "quality": "how good an answer was, from 0 to 1, as users, tests or judges said",
    "utility": "quality less the price that the configuration puts on money and on waiting",
    "best single": "the one model that is best when it answers everything",
    "tuned kNN": "a simple router that does what worked for the most similar requests: the least to be equalled",
    "range": "where the truth very likely lies, given how few requests were seen",
}

CAPTIONS = {
    "differences": "Each bar is this router less a reference on the same requests. A bar that clears zero is proof; "
    "a bar that crosses it is not.",
    "frontier": "Each dot is a policy. A candidate alone costs and answers as its dot says; the star is this router, "
    "the small dots are this router with another price put on money.",
    "savings": "What 1,000 requests cost. A saving only counts at a quality one can live with, so both are shown. The "
    "grey bars are this router set to keep so much of the best single's quality.",
    "traffic": "Which candidate answers how many of the held-out requests.",
    "calibration": "Where the line lies on the diagonal, a predicted quality of 0.7 is right seven times in ten.",
    "interval": "The line is what the challenger gains over the champion, the band where the truth may lie, at every "
    "look until now. A band that clears zero is proof, however often one has looked.",
    "segments": "The gain in utility by kind of request; a bar that crosses zero says nothing yet.",
    "weights": "How much each request counts. A few requests that count for many make a number that cannot be trusted.",
    "checks": "How surprising each number would be if nothing had changed. A bar that passes the line is an alarm.",
    "trends": "Each dot is a run with its interval; the dashed line is the target.",
    "day": "How good answers were as the day went on, from 0 to 1, and when something was done.",
    "answered": "Which model answered which share of the requests.",
    "importance": "What helps most to foretell good answers: near_… is how the models did on similar requests, ridge_… "
    "and term_… are words, surface_… spellings; the other names are counts, such as the share of capitals.",
}


@dataclass(frozen=True, slots=True)
class Report:
    """A comparison in the three forms in which it is read."""

    html: str
    markdown: str
    """For the pages of MLflow and Prefect."""
    sentence: str
    """The verdict, one line."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of a report, with its title and what a reader should know of it."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    note: str = ""
    toned: int = -1
    """The column whose word is coloured."""


def write(
    judgement: Judgement,
    sections: Sequence[Section],
    figures: Mapping[str, Figure],
    facts: Mapping[str, str],
    config: str,
    gate: Settings,
) -> Report:
    """Return the report of a judgement; every text that comes from data or logs is escaped.

    `sections` stand below the gate's own tables, on the page alone: MLflow keeps 5,000 characters of a description.
    `facts` are shown as they are, name and value: data, bundle, run. `config` is the resolved configuration as JSON.
    """
    sentence, reason = VERDICTS[judgement.verdict], f"{plainly(judgement)}{judgement.reason}"
    own = _own(judgement, gate)
    page = _page(sentence, reason, judgement.verdict, [*own, *sections], figures, facts, config)
    return Report(page, _markdown(sentence, reason, own, figures, facts), sentence)


def plainly(judgement: Judgement, champion: str = "champion") -> str:
    """Return the difference to the champion in words that need no statistics; nothing where there is none."""
    known = {c.metric: c for c in judgement.comparisons if c.reference == champion}
    if "quality" not in known or known["quality"].se == known["quality"].difference == 0:
        return ""
    quality, cost = known["quality"], known.get("cost_usd")
    said = compared(
        "this router's", (quality.difference, quality.low, quality.high), None if cost is None else cost.difference
    )
    return f"{'By an estimate, on' if judgement.estimated else 'On'} {said}. "


def _own(judgement: Judgement, gate: Settings) -> list[Section]:
    """Return the tables that the verdict follows from."""
    if judgement.refused is not None:
        return [Section("Why there is no number", (), [(judgement.refused,)])]
    values = Section(
        "What each policy earns on the held-out requests",
        ("policy", "utility", "quality", "US dollars per 1,000 requests"),
        [_value_row(name, each) for name, each in judgement.values.items()],
        f"Quality is the share of good answers, from 0 to 1. Utility is quality less the price put on money and time: "
        f"what a router is judged by. In brackets the {gate.level:.0%} range, in which the truth very likely lies.",
    )
    asked = (
        "For a promotion its utility must be proven higher than the champion's, and its quality must be proven not to "
        f"fall by more than {100 * gate.quality_margin:g} points of 100 (gate.quality_margin)."
    )
    if judgement.estimated is not None:
        asked += (
            " All of these numbers are estimates: the log does not say with which probability each model was chosen, "
            f"so that was guessed from the requests (by {judgement.estimated.learner})."
        )
    differences = Section(
        "This router less each of the others",
        ("less", "in", "difference", f"{gate.paired_level:.0%} range", "so it is"),
        [_difference_row(c) for c in judgement.comparisons],
        f"Both answer the same requests, so that hard ones harm neither. A range that reaches across zero proves "
        f"nothing. {asked}",
    )  # fmt: skip
    return [values, differences]


def tell(
    sentence: str,
    reason: str,
    verdict: str,
    sections: Sequence[Section],
    figures: Mapping[str, Figure],
    facts: Mapping[str, str],
    config: str,
    words: Mapping[str, str] = WORDS,
) -> Report:
    """Return a report of any evidence: the verdict, its reason, tables, pictures and facts; every text is escaped."""
    page = _page(sentence, reason, verdict, sections, figures, facts, config, words)
    return Report(page, _markdown(sentence, reason, sections, figures, facts), sentence)


def _markdown(
    sentence: str, reason: str, sections: Sequence[Section], figures: Mapping[str, Figure], facts: Mapping[str, str]
) -> str:
    lines = [f"**{sentence}** {_plain(reason)}", ""]
    for section in sections:
        if not section.rows:
            continue
        lines += [f"**{section.title}**", ""]
        if section.header:
            lines += [*as_table(section), ""]
        else:
            lines += [line for row in section.rows for line in (_plain(row[0]), "")]
        if section.note:
            lines += [_plain(section.note), ""]
    if figures:
        lines += ["Pictures and the rest of the evidence: artifacts `report.html` and `plots/`.", ""]
    lines += [f"- {name}: {_plain(value)}" for name, value in facts.items()]
    return "\n".join(lines)


def as_table(section: Section) -> list[str]:
    """Return a section's rows as the lines of a Markdown table; what is no plain text is spelled out."""
    return [_cells(section.header), "|---" * len(section.header) + "|", *(_cells(row) for row in section.rows)]


def _page(
    sentence: str,
    reason: str,
    verdict: str,
    sections: Sequence[Section],
    figures: Mapping[str, Figure],
    facts: Mapping[str, str],
    config: str,
    words: Mapping[str, str] = WORDS,
) -> str:
    pictures = [(name, CAPTIONS.get(name.partition("/")[0], ""), _inline(figure)) for name, figure in figures.items()]
    return _environment().from_string(PAGE).render(
        sentence=sentence, reason=reason, verdict=verdict.replace(" ", "-"), pictures=pictures,
        sections=[section for section in sections if section.rows],
        facts=dict(facts), config=config, tones=TONES, words=words,
    )  # fmt: skip


def _cells(row: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in row)} |"


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _inline(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode()


def _estimate(estimate: Estimate | None, shown: Callable[[float], str]) -> str:
    if estimate is None:
        return "unknown"
    value, low, high = (shown(each) for each in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def _value_row(name: str, values: Mapping[str, Estimate]) -> tuple[str, str, str, str]:
    utility, quality = (_estimate(values.get(metric), number) for metric in ("utility", "quality"))
    return (name, utility, quality, _estimate(values.get("cost_usd"), lambda usd: money(1000 * usd)))


def _difference_row(c: Comparison) -> tuple[str, str, str, str, str]:
    if c.metric == "cost_usd":
        name, shown = "cost of 1,000 requests", [money(1000 * v, signed=True) for v in (c.difference, c.low, c.high)]
    else:
        name, shown = c.metric, [number(v, 4, signed=True) for v in (c.difference, c.low, c.high)]
    word = {"better": "cheaper", "worse": "dearer"}.get(c.verdict, c.verdict) if c.metric == "cost_usd" else c.verdict
    return (c.reference, name, shown[0], f"{shown[1]} to {shown[2]}", TOLD.get(word, word))


def _plain(text: str) -> str:
    """A name from a log is text, not markup: what would open a table cell or a tag is spelled out."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;").replace("\n", " ")
