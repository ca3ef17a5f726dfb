"""The comparison as one HTML page that needs nothing else: the verdict first, its reason second, then the evidence."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from models.comparison import Comparison, Judgement
from models.estimators import Estimate
from pipelines.plots import png

VERDICTS = {
    "promote": "Promote: the challenger is proven better.",
    "hold": "Hold: the challenger is not proven better.",
    "reject": "Reject: the challenger is proven worse.",
}

CAPTIONS = {
    "differences": "Each bar is this router less a reference on the same requests. A bar that clears zero is proof; "
    "a bar that crosses it is not.",
    "frontier": "Each dot is a policy. A candidate alone costs and answers as its dot says; the star is this router, "
    "the small dots are this router with another price put on money.",
    "savings": "What 1,000 requests cost. A saving only counts at a quality one can live with, so both are shown.",
    "traffic": "Which candidate answers how many of the held-out requests.",
    "calibration": "Where the line lies on the diagonal, a predicted quality of 0.7 is right seven times in ten.",
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
    page = _environment().from_string(PAGE).render(
        sentence=sentence,
        reason=judgement.reason,
        verdict=judgement.verdict,
        refused=judgement.refused,
        rows=rows,
        differences=[_difference_row(c) for c in judgement.comparisons],
        pictures=[(name, CAPTIONS.get(name, ""), _inline(figure)) for name, figure in figures.items()],
        facts=dict(facts),
        config=config,
        level=f"{level:.0%}",
    )  # fmt: skip
    return Report(page, _markdown(sentence, judgement, rows, facts, level), sentence)


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


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ sentence }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.55 system-ui, sans-serif; color: #1f2430; background: #f6f7f9; margin: 0; }
main { max-width: 900px; margin: 0 auto; padding: 24px 20px 60px; }
header { border-radius: 10px; padding: 22px 26px; color: #fff; }
header.promote { background: #2f6b3a; } header.hold { background: #8a6412; } header.reject { background: #8f2d3a; }
h1 { font-size: 26px; margin: 0 0 6px; } header p { margin: 0; font-size: 17px; }
h2 { font-size: 19px; margin: 34px 0 8px; }
section { background: #fff; border-radius: 10px; padding: 6px 24px 20px; margin-top: 18px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 7px 12px 7px 0; border-bottom: 1px solid #e4e7ec; font-size: 15px; }
th { color: #5a6473; font-weight: 600; }
td.better { color: #2f6b3a; font-weight: 600; }
td.worse { color: #8f2d3a; font-weight: 600; }
img { max-width: 100%; display: block; margin: 6px 0; } figure { margin: 22px 0 0; }
figcaption, .note { color: #5a6473; font-size: 14px; }
pre { background: #f0f2f5; padding: 12px; overflow-x: auto; font-size: 13px; } td.fact { overflow-wrap: anywhere; }
td.number { white-space: nowrap; }
</style></head><body><main>
<header class="{{ verdict }}"><h1>{{ sentence }}</h1><p>{{ reason }}</p></header>
{% if rows %}
<section><h2>What each policy earns on the held-out requests</h2>
<table><tr><th></th><th>utility</th><th>quality</th><th>US dollars per 1,000 requests</th></tr>
{% for name, utility, quality, cost in rows %}
<tr><td>{{ name }}</td><td>{{ utility }}</td><td>{{ quality }}</td><td>{{ cost }}</td></tr>
{% endfor %}</table>
<p class="note">Utility is quality less the price put on money and time. ± is one standard error.</p>
<h2>The challenger less each reference</h2>
<table><tr><th>reference</th><th>in</th><th>difference</th><th>{{ level }} interval</th><th></th></tr>
{% for reference, metric, difference, span, word in differences %}
<tr><td>{{ reference }}</td><td>{{ metric }}</td><td class="number">{{ difference }}</td>
<td class="number">{{ span }}</td>
<td class="{{ word.split()[0] }}">{{ word }}</td></tr>
{% endfor %}</table>
<p class="note">Paired: both policies on the same requests. Promotion asks for more utility than the champion, proven,
and for quality that is proven not to fall by more than the margin; each end of an interval errs with half of what is
missing to 100%.</p></section>
{% endif %}
{% if refused %}
<section><h2>Why there is no number</h2><p>{{ refused }}</p></section>
{% endif %}
{% if pictures %}
<section><h2>In pictures</h2>
{% for name, caption, source in pictures %}
<figure><img alt="{{ name }}" src="{{ source }}"><figcaption>{{ caption }}</figcaption></figure>
{% endfor %}</section>
{% endif %}
<section><h2>What it rests on</h2>
<table>{% for name, value in facts.items() %}<tr><th>{{ name }}</th><td class="fact">{{ value }}</td></tr>
{% endfor %}</table>
<details><summary class="note">the whole configuration</summary><pre>{{ config }}</pre></details></section>
</main></body></html>
"""
