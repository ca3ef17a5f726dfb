from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.budgets import Budget, TenantBudget, alerts

END = datetime(2026, 3, 20, 12, tzinfo=UTC)


def calls(usd_per_day: float = 10.0, days: int = 48, noise: float = 0.1, end: datetime = END) -> pd.DataFrame:
    """Two calls a day, at 06:00 and 09:00, until the last day; tenant x spends three quarters."""
    rng = np.random.default_rng(5)
    rows = []
    for back in range(days):
        day = (end - timedelta(days=back)).replace(hour=6)
        for tenant, share, model in (("x", 0.75, "big"), ("y", 0.25, "small")):
            rows.append(
                {
                    "at": day.replace(tzinfo=None), "usd": usd_per_day * share * np.exp(rng.normal(0, noise)),
                    "unpriced": False, "failed": False, "purpose": "serve", "model": model, "tenant": tenant,
                    "task": "(none)", "hour": "06:00", "day": f"{day:%Y-%m-%d}",
                }
            )  # fmt: skip
    frame = pd.DataFrame(rows).sort_values("at", ignore_index=True)
    return frame.astype({"at": "datetime64[us]"})


def spent_in_march(frame: pd.DataFrame) -> float:
    return float(frame["usd"][frame["day"].str.startswith("2026-03")].sum())


def test_a_budget_that_lasts_is_no_alert() -> None:
    assert alerts(calls(), Budget(usd_per_month=1_000)) == ()
    assert alerts(calls(), Budget()) == ()
    assert alerts(calls()[:0], Budget(usd_per_month=1)) == ()


@pytest.mark.parametrize(("share", "crossed"), [(0.79, None), (0.81, 0.8), (0.96, 0.95), (1.0, 1.0), (1.2, 1.0)])
def test_the_highest_mark_is_named(share: float, crossed: float | None) -> None:
    frame = calls()
    (alert,) = alerts(frame, Budget(usd_per_month=spent_in_march(frame) / share))
    assert alert.crossed == crossed
    assert alert.spent_usd == pytest.approx(spent_in_march(frame))


def test_when_it_will_be_used_up_and_what_drives_it() -> None:
    # About $10 a day, so $10 times 19 whole days until the twentieth; $250 are used up on the 25th.
    (alert,) = alerts(calls(), Budget(usd_per_month=250))
    assert alert.crossed is None
    days = [int(str(day)[-2:]) for day in (alert.earliest, alert.expected, alert.latest)]
    assert days == sorted(days)
    assert abs(days[1] - 25) <= 1
    assert days[2] - days[0] <= 4
    assert "used up on 2026-03-2" in alert.text
    assert "80%: between 2026-03-2" in alert.text
    assert "Most of it went to model big (7" in alert.text
    assert "tenant x (7" in alert.text


def test_a_tenant_has_its_own_budget() -> None:
    budget = Budget(usd_per_month=10_000, tenants=(TenantBudget(tenant="y", usd_per_month=51),
                                                   TenantBudget(tenant="x", usd_per_month=10_000)))  # fmt: skip
    (alert,) = alerts(calls(), budget)
    assert alert.who == "tenant y"
    assert alert.drivers == "", "one model, one tenant: nothing to tell"


def test_what_was_used_up_has_the_day_on_which_it_was() -> None:
    (alert,) = alerts(calls(noise=0.0), Budget(usd_per_month=100))
    assert alert.expected == "2026-03-10"
    assert "Used up on 2026-03-10." in alert.text


def test_with_few_days_there_is_a_day_but_no_interval() -> None:
    (alert,) = alerts(calls(days=8, noise=0.0), Budget(usd_per_month=150))
    assert alert.earliest is None
    # Seven days before the twentieth, the first of which is not counted as whole, are $70; $80 more take eight days.
    assert alert.expected == "2026-03-27"
    assert "no interval: too few days" in alert.text


def test_a_day_has_a_budget_too() -> None:
    (alert,) = alerts(calls(noise=0.0), Budget(usd_per_day=10.5))
    assert (alert.period, alert.crossed, alert.spent_usd) == ("day 2026-03-20", 0.95, pytest.approx(10))
    assert alert.expected is None


def test_unpriced_calls_are_named_beside_the_sum() -> None:
    frame = calls().assign(unpriced=True)
    (alert,) = alerts(frame, Budget(usd_per_month=spent_in_march(frame)))
    assert "40 calls without a price are not in it" in alert.text


def test_the_forecast_day_is_right_as_often_as_it_says() -> None:
    """The interval of the day, on 60 worlds: 80% is promised, 66% is three standard errors below."""
    rng, hits = np.random.default_rng(2), 0
    for _ in range(60):
        daily = 10 * np.exp(rng.normal(0, 0.4, 60))
        at = np.datetime64("2026-01-31", "us") + np.arange(60) * np.timedelta64(86_400_000_000, "us")
        frame = pd.DataFrame({"at": at, "usd": daily, "unpriced": False, "failed": False, "purpose": "serve",
                              "model": "m", "tenant": "x", "task": "t", "hour": "00:00",
                              "day": np.datetime_as_string(at, unit="D")})  # fmt: skip
        march = frame[frame["day"].str.startswith("2026-03")]
        running = march["usd"].cumsum()
        limit = float(running.iloc[20])
        truth = str(march["day"].iloc[20])
        (alert,) = alerts(frame[frame["day"] <= "2026-03-10"], Budget(usd_per_month=limit))
        hits += (alert.earliest or "2026-04") <= truth <= (alert.latest or "2026-04")
    assert hits >= 0.66 * 60
