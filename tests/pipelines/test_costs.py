import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from beastmode.interactions import Interaction
from features.budgets import Budget, TenantBudget
from pipelines import catalogue
from pipelines.columns import interactions_table
from pipelines.context import Context
from pipelines.costs import CostsError, costs
from pipelines.costs_page import shown
from pipelines.lake import Lake
from pipelines.printing import told
from pipelines.wording import money

HOSTILE = '<script>alert("x")</script> | [a](b) \x1b[31m'
CATALOGUE = """
[[candidates]]
name = "house"
prices = [{ since = 2025-01-01, input_per_mtok = 1, output_per_mtok = 4 },
          { since = 2026-02-01, input_per_mtok = 2, output_per_mtok = 8 }]
"""
OTHER = '[[candidates]]\nname = "house"\nprice = { input_per_mtok = 4, output_per_mtok = 16 }\n'


def rows() -> list[Interaction]:
    """Six weeks: a call of a million tokens an hour to `house`, one a day to each of the others."""
    start, made = datetime(2026, 1, 12, tzinfo=UTC), []
    for hour in range(42 * 24 - 6):
        at = start + timedelta(hours=hour)
        known: dict[str, Any] = {"model_served": "house", "input_tokens": 1_000_000, "output_tokens": 0, "tenant": "x"}
        if hour % 24 == 5:
            known |= {"model_served": HOSTILE, "tenant": HOSTILE, "context": {"task": HOSTILE}}
        elif hour % 24 == 6:
            # $0.15 a million fresh, half of that cached; the log charges all as fresh.
            known |= {"model_served": "gpt-4o-mini", "cache_read_tokens": 880_000, "cost_logged_usd": 0.15}
        made.append(Interaction(event_id=f"e{hour:05}", request_id=f"r{hour}", at=at, **known))
    return made


def fill(lake: Path, interactions: Sequence[Interaction], prices: Path) -> None:
    book, days = catalogue.book(prices), defaultdict(list)
    for row in interactions:
        days[row.at.date()].append(row)
    with Lake(lake).writing():
        for day, some in days.items():
            Lake(lake).append("interactions", day, interactions_table(some, book))


@pytest.fixture
def filled(context: Context, tmp_path: Path) -> Context:
    prices = tmp_path / "prices.toml"
    prices.write_text(CATALOGUE)
    fill(context.workspace.lake, rows(), prices)
    budget = Budget(usd_per_month=1_000, tenants=(TenantBudget(tenant="x", usd_per_month=1e6),))
    return replace(context, settings=context.settings.model_copy(update={"catalogue": prices, "budget": budget}))


def test_the_report_says_where_the_money_went(filled: Context, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(OTHER)
    report = costs(filled, other=other)
    # January: 20 days of 22 calls to house at $1; February: 22 days at $2, less the last six hours.
    # gpt-4o-mini: 120,000 x $0.15 + 880,000 x $0.075 a million = $0.084 on each of 42 days.
    house, mini = 20 * 22 * 1 + (22 * 22 - 6) * 2, 42 * 0.084
    spent = report.account.spending
    assert spent.usd == pytest.approx(house + mini, abs=1e-6)
    assert (spent.calls, spent.unpriced) == (1002, 42)
    first, unpriced, mismatch, forecast, alert, what_if = report.sentences
    assert first.startswith(
        f"{money(house + mini)} was spent on 1,002 calls from 2026-01-12 to 2026-02-22, most of it on"
    )
    assert "house (100%)" in first
    assert unpriced.startswith("42 calls (4.2%) have no known cost and are in no sum: price <script>")
    assert "42 of 42 calls differ, most on gpt-4o-mini (likely cause: cached tokens charged as fresh)" in mismatch
    assert re.search(r"the next 7 days will cost \$\d+\.\d\d \(80% interval", forecast)
    assert "everything, month 2026-02: $957" in alert
    assert "past the mark of 95%" in alert
    assert what_if == (
        f"At the prices of other.toml the same traffic would cost {money(4 * (42 * 22 - 6) + mini)} instead of "
        f"{money(house + mini)} ({(4 * (42 * 22 - 6) + mini) / (house + mini) - 1:+.1%}); 42 calls could not be priced."
    )


def test_what_would_be_saved_has_the_minus_of_every_report(filled: Context, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(OTHER.replace("input_per_mtok = 4", "input_per_mtok = 0.5"))
    report = costs(filled, other=other)
    assert re.search(r"instead of \$[\d,.]+ \(−6\d\.\d%\)", report.sentences[-1])
    html = report.path.read_text(encoding="utf-8")
    assert "−$" in html
    assert "-$" not in html


def test_the_forecast_knows_the_new_price(filled: Context) -> None:
    seven, thirty = costs(filled).account.forecasts
    truth = 7 * (22 * 2 + 0.084)
    assert seven.low <= truth <= seven.high
    assert thirty.low <= 30 / 7 * truth <= thirty.high


def test_the_page_needs_nothing_else_and_text_from_a_log_is_never_markup(filled: Context) -> None:
    report = costs(filled)
    html = report.path.read_text(encoding="utf-8")
    assert re.findall(r"https?://", html) == []
    assert "<link" not in html
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', html))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "\x1b" not in html + report.markdown + "".join(report.sentences)
    assert "<script" not in report.markdown
    assert "[a](b)" not in report.markdown
    assert html.index("was spent on") < html.index("Where the money goes")


def test_the_run_holds_aggregates_and_the_report(filled: Context) -> None:
    report = costs(filled)
    run = filled.tracker.client.get_run(report.run_id)
    assert run.data.tags["kind"] == "costs"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["spent_usd"] == pytest.approx(report.account.spending.usd)
    assert run.data.metrics["different_calls"] == 42
    assert run.data.metrics["unpriced_calls"] == 42
    assert run.data.metrics["next_7_days_low"] <= run.data.metrics["next_7_days_usd"]
    assert run.data.tags["mlflow.note.content"] == report.markdown
    kept = filled.tracker.of(report.run_id).kept("costs.json")
    assert {m["model"]: m["cause"] for m in kept["models"]}["gpt-4o-mini"] == "cached tokens charged as fresh"
    json.dumps(kept, allow_nan=False)
    assert (filled.tracker.of(report.run_id).download("report.html", filled.workspace.root)).is_file()


def test_a_month_alone(filled: Context) -> None:
    report = costs(filled, "2026-01")
    assert report.account.spending.usd == pytest.approx(20 * 22 + 20 * 0.084, abs=1e-6)
    assert (report.account.since, report.account.until) == ("2026-01-12", "2026-01-31")
    assert report.account.alerts == (), "in January the budget was not near its end"


@pytest.mark.parametrize(("month", "said"), [("2025-12", "no interaction in 2025-12"), ("2026-13", "is no month"),
                                             ("soon", "write it as 2026-11")])  # fmt: skip
def test_a_month_without_calls_is_named(filled: Context, month: str, said: str) -> None:
    with pytest.raises(CostsError, match=said):
        costs(filled, month)


def test_the_report_is_of_the_lake_that_the_settings_name(filled: Context, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere, rows()[:24], tmp_path / "prices.toml")
    paths = filled.settings.paths.model_copy(update={"lake": str(elsewhere)})
    settings = filled.settings.model_copy(update={"paths": paths})
    assert costs(replace(filled, settings=settings)).account.spending.calls == 24


def test_an_empty_lake_says_what_to_run(context: Context) -> None:
    with pytest.raises(CostsError, match="python -m pipelines ingest"):
        costs(context)


def test_a_young_lake_has_a_report_without_a_forecast(context: Context, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(CATALOGUE)
    fill(context.workspace.lake, [row for row in rows() if row.at.date() < date(2026, 1, 15)], prices)
    report = costs(context)
    assert report.account.spending.unpriced == 3
    assert report.sentences[3].startswith("No forecast: not enough days: 1 whole days")
    assert report.sentences[4] == "No budget is set: see [budget] in docs/costs.md."


def test_the_flow_runs_and_prints_the_answer_first(filled: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import flows

    said = []
    monkeypatch.setattr(flows, "_open", lambda config, overrides: (filled, datetime(2026, 3, 1, tzinfo=UTC)))
    monkeypatch.setattr(flows, "step", lambda name, call: call())
    monkeypatch.setattr(flows, "create_markdown_artifact", lambda markdown, key: said.append((key, markdown)))
    report = flows.costs_flow.fn(month="2026-02")
    ((key, markdown),) = said
    assert key == "costs"
    assert markdown.startswith(f"**{money(report.account.spending.usd).replace('*', '')} was spent on")
    lines = list(told("costs", report, filled.settings))
    assert lines[0] == report.sentences[0]
    assert lines[-2:] == [f"report: {report.path}", f"MLflow run: {report.run_id}"]


def test_names_are_short_and_printable() -> None:
    assert shown("a\nb\x00\u202e") == "a\ufffdb\ufffd\ufffd"
    assert len(shown("x" * 500)) == 60
