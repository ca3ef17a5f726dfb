"""The cost report as sentences, as one HTML page that needs nothing else, and as tables for machines."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import escape
from matplotlib.figure import Figure

from features.reconciliation import ModelCosts
from features.spending import CACHE, Line
from pipelines.plots import png
from pipelines.wording import money, number

if TYPE_CHECKING:
    from pipelines.costs import Account

SHOWN = 15
"""Lines of a table; what is left is one line more."""
CHARS = 60
TITLES = {
    "model": "By model", "tenant": "By tenant", "task": "By task tag", "purpose": "By purpose",
    "hour": "By hour of the day (UTC)", "day": "By day (UTC)",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Page:
    """The report in its three forms."""

    html: str
    markdown: str
    tables: dict[str, Any]


def shown(name: str) -> str:
    """Return a name from a log as one short line of printable text.

    >>> shown("a\\x1b[31mb")
    'a�[31mb'
    """
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return text if len(text) <= CHARS else text[: CHARS - 1] + "…"


def told(account: "Account") -> tuple[str, ...]:
    """Return the report as sentences, the answer first."""
    return tuple(_sentences(account))


def _sentences(account: "Account") -> Iterator[str]:
    spent = account.spending
    models = [line for line in spent.by["model"] if line.name != CACHE]
    most = f", most of it on {shown(models[0].name)} ({models[0].usd / spent.usd:.0%})" if spent.usd > 0 else ""
    yield f"{money(spent.usd)} was spent on {spent.calls:,} calls from {account.since} to {account.until}{most}."
    yield _unpriced(account)
    yield _mismatch(account)
    yield _forecast(account)
    if account.alerts:
        yield from (shown_alert(alert.text) for alert in account.alerts)
    else:
        yield "No budget is near its end." if account.budgeted else "No budget is set: see [budget] in docs/costs.md."
    if account.what_if is not None:
        before, after = account.what_if.before_usd, account.what_if.after_usd
        change = f" ({number(100 * (after / before - 1), 1, signed=True)}%)" if before else ""
        left = f"; {account.what_if.unpriced:,} calls could not be priced" if account.what_if.unpriced else ""
        yield (
            f"At the prices of {shown(account.what_if_name)} the same traffic would cost {money(after)} instead of "
            f"{money(before)}{change}{left}."
        )


def shown_alert(text: str) -> str:
    """Return an alert as printable text."""
    return "Budget: " + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _unpriced(account: "Account") -> str:
    spent = account.spending
    if not spent.unpriced:
        return "Every call has a known cost."
    without = [shown(model.model) for model in account.reconciliation.without_price if model.unpriced][:3]
    return (
        f"{spent.unpriced:,} calls ({spent.unpriced_share:.1%}) have no known cost and are in no sum"
        f"{': price ' + ', '.join(without) + ' in the catalogue' if without else ''}."
    )


def _mismatch(account: "Account") -> str:
    checked = account.reconciliation
    compared, different = checked.total("compared"), checked.total("different")
    if not compared:
        return "The logs hold no cost that ours could be compared with."
    logged, computed = checked.total("logged_usd"), checked.total("computed_usd")
    if not different:
        return f"The logged costs agree with ours on all {compared:,.0f} calls that have both."
    worst = checked.wrong[0]
    return (
        f"The logs say {money(logged)} where the tokens cost {money(computed)}: {different:,.0f} of {compared:,.0f} "
        f"calls differ, most on {shown(worst.model)} (likely cause: {worst.cause})."
    )


def _forecast(account: "Account") -> str:
    if not account.forecasts:
        return f"No forecast: {account.no_forecast}."
    parts = [
        f"the next {f.days} days will cost {money(f.usd)} ({f.level:.0%} interval {money(f.low)} to {money(f.high)})"
        for f in account.forecasts
    ]
    return f"If things go on as they do, {' and '.join(parts)}."


def write(account: "Account", sentences: Sequence[str], figures: Mapping[str, Figure]) -> Page:
    """Return the page; every text that comes from logs is escaped."""
    spent = account.spending
    tables = [(TITLES[name], _rows(spent.by[name], spent.usd)) for name in TITLES]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(money=money, shown=shown)
    html = environment.from_string(PAGE).render(
        sentences=sentences,
        tables=tables,
        checked=[model for model in account.reconciliation.models if model.compared],
        without=account.reconciliation.without_price,
        savings=account.savings,
        what_if=account.what_if,
        pictures=[(name, "data:image/png;base64," + base64.b64encode(png(f)).decode()) for name, f in figures.items()],
        undiscounted=int(account.reconciliation.total("undiscounted")),
    )
    return Page(html, _markdown(account, sentences), _tables(account, sentences))


def _rows(lines: Sequence[Line], total: float) -> list[tuple[str, int, float, float, int, float]]:
    """Return a table's rows: name, calls, US dollars, share of the whole, unpriced calls, dollars for failures."""
    shares = [(shown(e.name), e.calls, e.usd, e.usd / total if total else 0.0, e.unpriced, e.failed_usd) for e in lines]
    if len(lines) <= 31:
        return shares
    rest = lines[SHOWN:]
    sums = (sum(e.calls for e in rest), sum(e.usd for e in rest))
    left = (f"{len(rest):,} more", sums[0], sums[1], sums[1] / total if total else 0.0,
            sum(e.unpriced for e in rest), sum(e.failed_usd for e in rest))  # fmt: skip
    return [*shares[:SHOWN], left]


def _markdown(account: "Account", sentences: Sequence[str]) -> str:
    first, *rest = [_plain(sentence) for sentence in sentences]
    lines = [f"**{first}**", "", *(f"- {sentence}" for sentence in rest)]
    if account.reconciliation.wrong:
        lines += ["", "| model | logged | computed | rows that differ | likely cause |", "|---|---|---|---|---|"]
        lines += [
            f"| {_plain(shown(m.model))} | {money(m.logged_usd)} | {money(m.computed_usd)} | {m.different:,} "
            f"| {_plain(m.cause)} |"
            for m in account.reconciliation.wrong[:SHOWN]
        ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return str(escape(text)).replace("|", "&#124;").replace("[", "&#91;").replace("`", "&#96;").replace("*", "&#42;")


def _tables(account: "Account", sentences: Sequence[str]) -> dict[str, Any]:
    def known(model: ModelCosts) -> dict[str, Any]:
        return {**asdict(model), "ratio": model.ratio, "cause": model.cause}

    return {
        "sentences": list(sentences),
        "by": {name: [asdict(line) for line in lines[:1000]] for name, lines in account.spending.by.items()},
        "models": [known(model) for model in account.reconciliation.models[:1000]],
        "savings": [asdict(saving) for saving in account.savings],
        "forecasts": [asdict(forecast) for forecast in account.forecasts],
        "alerts": [{**asdict(alert), "text": alert.text} for alert in account.alerts],
        "what_if": None if account.what_if is None else [asdict(change) for change in account.what_if.changes[:1000]],
    }


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ sentences[0] }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.55 system-ui, sans-serif; color: #1f2430; background: #f6f7f9; margin: 0; }
main { max-width: 900px; margin: 0 auto; padding: 24px 20px 60px; }
header { border-radius: 10px; padding: 22px 26px; color: #fff; background: #2e6f95; }
h1 { font-size: 24px; margin: 0 0 6px; } header p { margin: 6px 0 0; }
h2 { font-size: 19px; margin: 26px 0 8px; }
section { background: #fff; border-radius: 10px; padding: 6px 24px 20px; margin-top: 18px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 12px 6px 0; border-bottom: 1px solid #e4e7ec; font-size: 15px; }
th { color: #5a6473; font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; }
td.name { overflow-wrap: anywhere; }
.note { color: #5a6473; font-size: 14px; } img { max-width: 100%; display: block; margin: 8px 0; }
.bar { background: #9fc1d6; height: 10px; border-radius: 3px; min-width: 1px; }
</style></head><body><main>
<header><h1>{{ sentences[0] }}</h1>{% for sentence in sentences[1:] %}<p>{{ sentence }}</p>{% endfor %}</header>
{% for name, source in pictures %}
<section><h2>The days ahead</h2><img alt="{{ name }}" src="{{ source }}">
<p class="note">The line is the middle of what each day may cost, the band holds eight of ten. It knows weekdays and
growth, and not your plans.</p></section>
{% endfor %}
<section><h2>Where the money goes</h2>
{% for title, rows in tables %}
<h2>{{ title }}</h2>
<table><tr><th></th><th class="n">calls</th><th class="n">US dollars</th><th class="n">share</th><th></th>
<th class="n">without price</th><th class="n">for failures</th></tr>
{% for name, calls, amount, share, unpriced, failed in rows %}
<tr><td class="name">{{ name }}</td><td class="n">{{ "{:,}".format(calls) }}</td><td class="n">{{ amount|money }}</td>
<td class="n">{{ "{:.0%}".format(share) }}</td>
<td><div class="bar" style="width: {{ "{:.0f}".format(120 * share) }}px"></div></td>
<td class="n">{{ "{:,}".format(unpriced) }}</td><td class="n">{{ failed|money }}</td></tr>
{% endfor %}</table>
{% endfor %}
<p class="note">Calls without a price are in no sum: they are unknown, not free.</p></section>
<section><h2>Is the logged cost right?</h2>
{% if checked %}
<table><tr><th>model</th><th class="n">compared</th><th class="n">logged</th><th class="n">computed</th>
<th class="n">ratio</th><th class="n">differ</th><th class="n">logged zero</th><th>likely cause</th></tr>
{% for m in checked %}
<tr><td class="name">{{ m.model|shown }}</td><td class="n">{{ "{:,}".format(m.compared) }}</td>
<td class="n">{{ m.logged_usd|money }}</td><td class="n">{{ m.computed_usd|money }}</td>
<td class="n">{{ "{:.3f}".format(m.ratio) if m.ratio is not none else "–" }}</td>
<td class="n">{{ "{:,}".format(m.different) }}</td><td class="n">{{ "{:,}".format(m.zero) }}</td>
<td>{{ m.cause }}</td></tr>
{% endfor %}</table>
<p class="note">Computed: tokens times the price of the call's day. A call differs where the two are more than 1% and a
millionth of a dollar apart. A cause is named where redoing the sum with that mistake gives what was logged.</p>
{% else %}<p>The logs hold no cost that ours could be compared with.</p>{% endif %}
{% if without %}
<h2>Models without a price</h2>
<table><tr><th>model</th><th class="n">calls of unknown cost</th><th class="n">calls with a logged cost only</th>
<th class="n">input tokens</th><th class="n">output tokens</th></tr>
{% for m in without %}
<tr><td class="name">{{ m.model|shown }}</td><td class="n">{{ "{:,}".format(m.unpriced) }}</td>
<td class="n">{{ "{:,}".format(m.logged_only) }}</td>
<td class="n">{{ "{:,}".format(m.unpriced_input_tokens) }}</td>
<td class="n">{{ "{:,}".format(m.unpriced_output_tokens) }}</td></tr>
{% endfor %}</table>
<p class="note">Give them a block in the catalogue of candidates. Token counts are of the calls of unknown cost.</p>
{% endif %}
{% if undiscounted %}
<p class="note">{{ "{:,}".format(undiscounted) }} calls read from a provider's cache at a price that names no discount;
they are charged in full.</p>{% endif %}</section>
<section><h2>What was saved, and what could be</h2>
<table><tr><th></th><th class="n">US dollars</th><th class="n">calls</th><th></th></tr>
{% for s in savings %}
<tr><td>{{ s.name }}</td><td class="n">{{ s.usd|money }}</td><td class="n">{{ "{:,}".format(s.calls) }}</td>
<td>{{ s.about }} {{ "Already in the bill." if s.done else "" }}</td></tr>
{% endfor %}</table>
<p class="note">Whether a cheaper model would have answered as well is not to be seen in a bill: the comparison of
routers measures it on requests that several models answered.</p></section>
{% if what_if %}
<section><h2>At other prices</h2>
<table><tr><th>model</th><th class="n">calls</th><th class="n">now</th><th class="n">then</th>
<th class="n">difference</th></tr>
{% for c in what_if.changes %}
<tr><td class="name">{{ c.model|shown }}</td><td class="n">{{ "{:,}".format(c.rows) }}</td>
<td class="n">{{ c.before_usd|money }}</td><td class="n">{{ c.after_usd|money }}</td>
<td class="n">{{ c.difference_usd|money }}</td></tr>
{% endfor %}</table></section>
{% endif %}
</main></body></html>
"""
