"""The evidence as one HTML page that needs nothing else: the verdict first, its reason second, then its grounds."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from models.comparison import Comparison, Judgement
from models.estimators import Estimate
from pipelines.plots import png
from pipelines.report_page import PAGE

VERDICTS = {
    "promote": "Promote: the challenger is proven better.",
    "hold": "Hold: the challenger is not proven better.",
    "reject": "Reject: the challenger is proven worse.",
    "roll back": "Roll back: the challenger does harm.",
}

CAPTIONS = {
    "differences": "Each bar is this router less a reference on the same requests. A bar that clears zero is proof; "
    "a bar that crosses it is not.",
    "frontier": "Each dot is a policy. A candidate alone costs and answers as its dot says; the star is this router, "
    "the small dots are this router with another price put on money.",
    "savings": "What 1,000 requests cost. A saving only counts at a quality one can live with, so both are shown.",
    "traffic": "Which candidate answers how many of the held-out requests.",
    "calibration": "Where the line lies on the diagonal, a predicted quality of 0.7 is right seven times in ten.",
    "interval": "The line is what the challenger gains over the champion, the band where the truth may lie, at every "
    "look until now. A band that clears zero is proof, however often one has looked.",
    "segments": "The gain in utility by kind of request; a bar that crosses zero says nothing yet.",
    "weights": "How much each request counts. A few requests that count for many make a number that cannot be trusted.",
    "checks": "How surprising each number would be if nothing had changed. A bar that passes the line is an alarm.",
    "day": "How well requests were answered, and who answered them, as the day went on.",
    "importance": "The columns of the encoding by the gain of the splits on them. Empty for selectors without trees.",
}


@dataclass(frozen=True, slots=True)
class Report:
    """A comparison in the three forms in which it is read."""

    html: str
    markdown: str
    """For the pages of MLflow and Prefect."""
    sentence: str
    """The verdict, one line."""


def write(
    judgement: Judgement,
    figures: Mapping[str, Figure],
    facts: Mapping[str, str],
    config: str,
    level: float,
) -> Report:
    """Return the report of a judgement; every text that comes from data or logs is escaped.

    `facts` are shown as they are, name and value: data, bundle, run. `config` is the resolved configuration as JSON.
    """
    sentence = VERDICTS[judgement.verdict]
    rows = [_value_row(name, values) for name, values in judgement.values.items()]
    page = _page(
        sentence, judgement.reason, judgement.verdict, figures, facts, config, refused=judgement.refused, rows=rows,
        differences=[_difference_row(c) for c in judgement.comparisons], level=f"{level:.0%}",
    )  # fmt: skip
    return Report(page, _markdown(sentence, judgement, rows, facts, level), sentence)


@dataclass(frozen=True, slots=True)
class Section:
    """A table of a report, with its title and what a reader should know of it."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    note: str = ""


def tell(
    sentence: str,
    reason: str,
    verdict: str,
    sections: Sequence[Section],
    figures: Mapping[str, Figure],
    facts: Mapping[str, str],
    config: str,
) -> Report:
    """Return a report of any evidence: the verdict, its reason, tables, pictures and facts; every text is escaped."""
    page = _page(sentence, reason, verdict, figures, facts, config, sections=[s for s in sections if s.rows])
    lines = [f"**{sentence}** {_plain(reason)}", ""]
    for section in sections:
        if section.rows:
            lines += [f"{section.title}", "", _cells(section.header), "|---" * len(section.header) + "|"]
            lines += [*(_cells(row) for row in section.rows), "", section.note, ""]
    lines += [f"- {name}: {_plain(value)}" for name, value in facts.items()]
    return Report(page, "\n".join(lines), sentence)


def _page(
    sentence: str,
    reason: str,
    verdict: str,
    figures: Mapping[str, Figure],
    facts: Mapping[str, str],
    config: str,
    **known: Any,
) -> str:
    own = {"refused": None, "rows": (), "differences": (), "level": "", "sections": (), **known}
    pictures = [(name, CAPTIONS.get(name.partition("/")[0], ""), _inline(figure)) for name, figure in figures.items()]
    return _environment().from_string(PAGE).render(
        sentence=sentence, reason=reason, verdict=verdict.replace(" ", "-"), pictures=pictures, facts=dict(facts),
        config=config, **own,
    )  # fmt: skip


def _cells(row: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in row)} |"


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _inline(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode()


def _estimate(estimate: Estimate | None, scale: float = 1.0, digits: int = 3) -> str:
    if estimate is None:
        return "unknown"
    return f"{scale * estimate.value:.{digits}f} ± {scale * estimate.se:.{digits}f}"


def _value_row(name: str, values: Mapping[str, Estimate]) -> tuple[str, str, str, str]:
    cost = values.get("cost_usd")
    return (name, _estimate(values.get("utility")), _estimate(values.get("quality")), _estimate(cost, 1000, 2))


def _difference_row(c: Comparison) -> tuple[str, str, str, str, str]:
    scale, digits, name = (1000, 3, "cost per 1,000, US dollars") if c.metric == "cost_usd" else (1, 4, c.metric)
    span = f"[{scale * c.low:+.{digits}f}, {scale * c.high:+.{digits}f}]"
    return (c.reference, name, f"{scale * c.difference:+.{digits}f}", span, c.verdict)


def _markdown(
    sentence: str,
    judgement: Judgement,
    rows: list[tuple[str, str, str, str]],
    facts: Mapping[str, str],
    level: float,
) -> str:
    lines = [f"**{sentence}** {_plain(judgement.reason)}", ""]
    if rows:
        lines += ["| | utility | quality | US dollars per 1,000 requests |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
        lines += ["", f"| challenger less | in | difference | {level:.0%} interval | |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(_plain(cell) for cell in _difference_row(c))} |" for c in judgement.comparisons]
        lines += ["", "± is one standard error. Pictures: artifacts `report.html` and `plots/`.", ""]
    lines += [f"- {name}: {_plain(value)}" for name, value in facts.items()]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A name from a log is text, not markup: what would open a table cell or a tag is spelled out."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;").replace("\n", " ")
