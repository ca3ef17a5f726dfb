"""Budgets: how much of them is spent, when they will be used up at the present rate, and what drives it."""

import calendar
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Gt

from features.forecasting import LEVEL, outlook, whole_days
from features.ledger import NONE

Amount = Annotated[float, Gt(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantBudget:
    """What one tenant may spend, in US dollars, beside the whole."""

    tenant: str
    usd_per_month: Amount | None = None
    usd_per_day: Amount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent in a calendar month and in a day (UTC), in US dollars, and when to say so."""

    usd_per_month: Amount | None = None
    usd_per_day: Amount | None = None
    alert_at: tuple[Annotated[float, Gt(0)], ...] = (0.8, 0.95, 1.0)
    """Shares of a budget that are worth an alert."""
    tenants: tuple[TenantBudget, ...] = ()

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.usd_per_month or self.usd_per_day or self.tenants)


@dataclass(frozen=True, slots=True)
class Alert:
    """A budget that is mostly spent, or that will not last."""

    who: str
    period: str
    budget_usd: float
    spent_usd: float
    crossed: float | None
    """The highest of `alert_at` that was reached; None where only the forecast goes beyond the budget."""
    expected: str | None
    """The day on which it is used up at the present rate, or was; None where that is not in the period."""
    earliest: str | None = None
    latest: str | None = None
    """The interval of that day; None where it may not come in the period."""
    drivers: str = ""

    @property
    def text(self) -> str:
        """The alert as sentences."""
        share = self.spent_usd / self.budget_usd
        parts = [f"{self.who}, {self.period}: ${self.spent_usd:,.2f} of ${self.budget_usd:,.2f} spent ({share:.0%})"]
        parts[0] += f", past the mark of {self.crossed:.0%}." if self.crossed is not None else "."
        if self.spent_usd >= self.budget_usd:
            parts.append(f"Used up on {self.expected}.")
        elif self.expected is not None and self.earliest is not None:
            latest = f"and {self.latest}" if self.latest else "and after its end"
            parts.append(
                f"At the present rate it is used up on {self.expected} ({LEVEL:.0%}: between {self.earliest} {latest})."
            )
        elif self.expected is not None:
            parts.append(f"At the mean of the last days it is used up on {self.expected} (no interval: too few days).")
        elif self.earliest is not None:
            parts.append(f"It should last, but may be used up from {self.earliest} on.")
        return " ".join([*parts, self.drivers]).strip()


def alerts(calls: pd.DataFrame, budget: Budget, seed: int = 0) -> tuple[Alert, ...]:
    """Return the alerts of filed calls (`features.spending.filed`) for the month and the day of the last of them."""
    if not len(calls):
        return ()
    found: list[Alert] = []
    scopes = [("everything", calls, budget.usd_per_month, budget.usd_per_day)]
    scopes += [
        (
            f"tenant {t.tenant}",
            calls[(calls["tenant"] == t.tenant).to_numpy(dtype=bool)],
            t.usd_per_month,
            t.usd_per_day,
        )
        for t in budget.tenants
    ]
    today = calls["at"].max().to_numpy().astype("datetime64[D]")
    for who, of, month, day in scopes:
        if month is not None:
            found += _monthly(who, of, month, budget.alert_at, today, seed)
        if day is not None:
            found += _daily(who, of, day, budget.alert_at, today)
    return tuple(found)


def _daily(
    who: str, calls: pd.DataFrame, limit: float, marks: Sequence[float], today: np.datetime64
) -> Iterator[Alert]:
    of = calls[(calls["day"] == str(today)).to_numpy(dtype=bool)]
    spent = float(of["usd"].sum())
    crossed = _crossed(spent / limit, marks)
    if crossed is not None:
        used = str(today) if spent >= limit else None
        yield Alert(who, f"day {today}", limit, spent, crossed, used, drivers=_drivers(of))


def _monthly(
    who: str, calls: pd.DataFrame, limit: float, marks: Sequence[float], today: np.datetime64, seed: int
) -> Iterator[Alert]:
    month = str(today)[:7]
    of = calls[calls["day"].str.startswith(month).to_numpy(dtype=bool)]
    spent = float(of["usd"].sum())
    crossed = _crossed(spent / limit, marks)
    if spent >= limit:
        running = of.sort_values("at")["usd"].fillna(0.0).cumsum()
        used = of.sort_values("at")["day"].iloc[int(np.searchsorted(running.to_numpy(), limit - 1e-9))]
        yield Alert(who, f"month {month}", limit, spent, crossed, str(used), drivers=_drivers(of))
        return
    expected, earliest, latest = _used_up(calls, of, limit, today, seed)
    if crossed is not None or expected is not None:
        yield Alert(who, f"month {month}", limit, spent, crossed, expected, earliest, latest, _drivers(of))


def _crossed(share: float, marks: Sequence[float]) -> float | None:
    return max((mark for mark in marks if share >= mark - 1e-12), default=None)


def _used_up(
    calls: pd.DataFrame, month: pd.DataFrame, limit: float, today: np.datetime64, seed: int
) -> tuple[str | None, str | None, str | None]:
    """Return the day on which a month's budget is used up: expected, earliest, latest; None for not in the month."""
    days = whole_days(calls["at"].to_numpy(dtype="datetime64[us]"), calls["usd"].to_numpy(dtype=np.float64), today)
    year, number = int(str(today)[:4]), int(str(today)[5:7])
    ahead = calendar.monthrange(year, number)[1] - int(str(today)[8:]) + 1
    before = float(month["usd"][(month["day"] < str(today)).to_numpy(dtype=bool)].sum())
    try:
        paths = outlook(days, ahead, seed).paths
    except ValueError:
        mean = days.mean()
        reached = before + (mean or 0.0) * np.arange(1, ahead + 1) >= limit
        return _first_day(reached, today), None, None
    # Today is not over: what it has spent already is the least that it will.
    so_far = float(month["usd"].sum()) - before
    paths = np.column_stack([np.maximum(paths[:, 0], so_far), paths[:, 1:]])
    share = (before + np.cumsum(paths, axis=1) >= limit).mean(axis=0)
    likely, early, late = (share >= bound for bound in (0.5, 0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    return _first_day(likely, today), _first_day(early, today), _first_day(late, today)


def _first_day(reached: "np.ndarray", start: np.datetime64) -> str | None:
    return str(start + np.timedelta64(int(np.argmax(reached)), "D")) if reached.any() else None


def _drivers(calls: pd.DataFrame) -> str:
    """Return what most of the money went to, in words."""
    total = float(calls["usd"].sum())
    if total <= 0:
        return ""
    told = []
    for name in ("model", "tenant", "task"):
        sums = calls.groupby(name)["usd"].sum().sort_values(ascending=False)
        top, usd = str(sums.index[0]), float(sums.iloc[0])
        if top != NONE and len(sums) > 1:
            told.append(f"{name} {top} ({usd / total:.0%})")
    unpriced = int(calls["unpriced"].sum())
    words = f"Most of it went to {', '.join(told)}." if told else ""
    return words + (f" {unpriced:,} calls without a price are not in it." if unpriced else "")
