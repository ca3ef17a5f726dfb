"""The account of the lake: what was spent and on what, whether the logged costs are right, what is to come."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from features.budgets import Alert, alerts
from features.forecasting import WINDOW_DAYS, Days, Forecast, Outlook, outlook, whole_days
from features.ledger import COLUMNS, once
from features.reconciliation import Reconciliation, reconcile
from features.repricing import WhatIf, what_if
from features.spending import Saving, Spending, filed, savings, spending
from pipelines import catalogue, plots
from pipelines.context import Context
from pipelines.costs_page import told, write
from pipelines.logs import catalogue_path

HORIZONS = (7, 30)
"""Days that are forecast."""


class CostsError(ValueError):
    """There is nothing to account for, or the month is none; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Everything the report tells."""

    since: str
    until: str
    spending: Spending
    reconciliation: Reconciliation
    savings: tuple[Saving, ...]
    forecasts: tuple[Forecast, ...]
    no_forecast: str
    """Why there is none; empty where there is."""
    alerts: tuple[Alert, ...]
    budgeted: bool
    what_if: WhatIf | None
    what_if_name: str


@dataclass(frozen=True, slots=True)
class Costs:
    """A written report."""

    account: Account
    sentences: tuple[str, ...]
    """The answer first."""
    markdown: str
    path: Path
    run_id: str


def costs(context: Context, month: str | None = None, other: Path | None = None) -> Costs:
    """Write the cost report of the whole lake, or of a month such as 2026-11, and log it to MLflow.

    `other` is a TOML file in the catalogue's form: what the same traffic would cost at its prices. The forecast looks
    at the days before the end of the report, and budgets at the month and day in which it ends. Raises CostsError
    where there is nothing to report on, and SettingsError for a file of prices that cannot be read.
    """
    since, until = (None, None) if month is None else _span(month)
    back = None if since is None else since - timedelta(days=WINDOW_DAYS + 2)
    known = context.lake.interactions(back, until, COLUMNS)
    frame = known if since is None else known[(known["at"] >= pd.Timestamp(since, tz="UTC")).to_numpy(dtype=bool)]
    if not len(frame):
        raise CostsError(
            f"no interaction{f' in {month}' if month else ''} in the lake {context.lake.storage.url}; "
            "run `python -m pipelines ingest` first, or name a month that has some"
        )
    path = catalogue_path(context.settings, context.workspace)
    entries = catalogue.entries(path) if context.settings.catalogue or path.is_file() else ()
    book, counted = catalogue.book(entries), once(frame)
    calls, history = filed(counted), filed(once(known))
    days = whole_days(history["at"].to_numpy(dtype="datetime64[us]"), history["usd"].to_numpy(dtype=np.float64))
    ahead, why = _ahead(days, context.settings.seed)
    account = Account(
        since=calls["day"].min(),
        until=calls["day"].max(),
        spending=spending(calls),
        reconciliation=reconcile(frame, book),
        savings=savings(counted, book),
        forecasts=() if ahead is None else tuple(ahead.forecast(horizon) for horizon in HORIZONS),
        no_forecast=why,
        alerts=alerts(history, context.settings.budget, context.settings.seed),
        budgeted=context.settings.budget.any,
        what_if=None if other is None else what_if(counted, book, catalogue.book(entries, other)),
        what_if_name="" if other is None else other.name,
    )
    return _publish(context, account, {} if ahead is None else {"daily": _picture(days, ahead)})


def _span(month: str) -> tuple[date, date]:
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise CostsError(f"--month {month!r} is no month; write it as 2026-11") from error
    return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])


def _ahead(days: Days, seed: int) -> tuple[Outlook | None, str]:
    try:
        return outlook(days, max(HORIZONS), seed), ""
    except ValueError as error:
        return None, str(error)


def _picture(days: Days, ahead: Outlook) -> Figure:
    names = [str(day)[5:] for day in days.first + np.arange(len(days.usd))]
    later = [str(day)[5:] for day in ahead.first + np.arange(ahead.paths.shape[1])]
    low, middle, high = np.quantile(ahead.paths, [0.1, 0.5, 0.9], axis=0)
    return plots.daily_spend(names, days.usd, later, middle, low, high)


def _publish(context: Context, account: Account, figures: Mapping[str, Figure]) -> Costs:
    """Write the report as a file and to MLflow: aggregates only, and no prompt."""
    name = f"costs {account.since} to {account.until}"
    sentences = told(account)
    page = write(account, sentences, figures)
    path = context.workspace.reports / f"{name.replace(' ', '-')}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.html, encoding="utf-8")
    with context.tracker.run(name, "costs") as run:
        run.settings(context.settings)
        run.metrics(_headline(account))
        run.figures(figures)
        run.file("report.html", page.html)
        run.keep("costs.json", page.tables)
        run.describe(page.markdown)
    return Costs(account, sentences, page.markdown, path, run.run_id)


def _headline(account: Account) -> dict[str, float]:
    """Return the numbers that MLflow draws over time."""
    spent, checked = account.spending, account.reconciliation
    known: dict[str, Any] = {
        "spent_usd": spent.usd,
        "calls": spent.calls,
        "unpriced_calls": spent.unpriced,
        "unpriced_share": spent.unpriced_share,
        "failed_usd": spent.failed_usd,
        "compared_calls": checked.total("compared"),
        "different_calls": checked.total("different"),
        "logged_usd": checked.total("logged_usd"),
        "computed_usd": checked.total("computed_usd"),
        "alerts": len(account.alerts),
    }
    for f in account.forecasts:
        known |= {
            f"next_{f.days}_days_usd": f.usd,
            f"next_{f.days}_days_low": f.low,
            f"next_{f.days}_days_high": f.high,
        }
    for saving in account.savings:
        known[f"saving_{saving.name.replace(' ', '_').replace(chr(39), '')}_usd"] = saving.usd
    if account.what_if is not None:
        known |= {"what_if_before_usd": account.what_if.before_usd, "what_if_after_usd": account.what_if.after_usd}
    return known
