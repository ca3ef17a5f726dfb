"""A cache that is emptied at fixed times: what is learned and planned is what is due after a flush."""

# The fixture `provider` is imported, and every test that takes it would "redefine" it.
# ruff: noqa: F811

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from models.warmers import WARMERS
from models.warmers.settings import WarmerSettings
from pipelines.settings import SettingsError, load
from pipelines.train_warmer import _learning
from pipelines.warm import warm
from pipelines.warm_bundle import demand_of
from pipelines.warm_demand import logged
from pipelines.warm_settings import WarmSettings
from tests.pipelines.test_probe import provider  # noqa: F401
from tests.pipelines.test_warm import configured, opened, trained

HOUR, DAY = 3600.0, 86400.0


def test_an_answer_lives_until_the_flush_at_most():
    never, daily, often = WarmSettings(), WarmSettings(flush="daily"), WarmSettings(flush=7200)
    at = 20_000 * DAY + 22.5 * HOUR
    assert [one.life_seconds(at, 4 * HOUR) for one in (never, daily, often)] == [4 * HOUR, 1.5 * HOUR, 1.5 * HOUR]
    assert [one.life_seconds(20_000 * DAY, 4 * HOUR) for one in (never, daily, often)] == [4 * HOUR, 4 * HOUR, 7200.0]
    assert daily.life_seconds(at, 60.0) == 60.0


def test_windows_begin_with_a_flush_and_no_answer_dies_within_one():
    assert _learning(WarmSettings(flush="daily"), 6 * HOUR) == replace(
        _learning(WarmSettings(), 6 * HOUR), flush_seconds=DAY
    )
    assert _learning(WarmSettings(flush="daily", window_hours=24.0), 90 * DAY).ttl_seconds == DAY
    # Answers live for less than a window, and 5,000 s go into no day: a day's longest part below is taken.
    short = _learning(WarmSettings(flush="daily", window_hours=2.0), 5000.0)
    assert (short.window_seconds, short.ttl_seconds, short.flush_seconds) == (4800.0, 5000.0, DAY)


def test_what_is_learned_is_what_comes_between_flushes_and_a_run_after_one_fills_what_is_due(
    provider,
    tmp_path,
    database,
    monkeypatch,
):
    now = datetime.now(UTC)
    path = configured(tmp_path, provider, flush=3 * 3600, window_hours=1.0)
    context = opened(path, database, monkeypatch, now)
    done = trained(context, now)
    assert done.bundle.ttl_seconds == 3 * HOUR
    demand = demand_of(logged(context, now))
    flushed = WarmerSettings(
        window_seconds=HOUR, ttl_seconds=3 * HOUR, flush_seconds=3 * HOUR,
        later_share=context.settings.warming.test_share,
    )  # fmt: skip
    assert WARMERS[done.bundle.warmer.name](demand, flushed, context.settings.seed) == done.bundle.warmer
    flush = datetime.fromtimestamp((now.timestamp() // (3 * HOUR) + 1) * 3 * HOUR, UTC)
    before = warm(context, flush - timedelta(minutes=2), dry_run=True)
    after = warm(context, flush + timedelta(seconds=1), dry_run=True)
    # With two minutes to live nothing is worth a prefill.
    assert before.plan.cells == ()
    assert any("flushed in 120 s" in line for line in before.lines())
    assert len(after.plan.cells) > 5
    assert not any("flushed" in line for line in after.lines())
    unflushed = configured(tmp_path, provider, window_hours=1.0)
    never = replace(context, settings=load(unflushed))
    assert len(warm(never, flush - timedelta(minutes=2), dry_run=True).plan.cells) > 5


def test_a_flush_that_no_window_begins_with_is_refused(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    context = opened(
        configured(tmp_path, provider, flush="daily", window_hours=5.0), database, monkeypatch, now
    )  # fmt: skip
    with pytest.raises(SettingsError, match=r"warming\.window_hours = 5 does not divide warming\.flush = 'daily'"):
        trained(context, now)
    for wrong in ("weekly", 5):
        with pytest.raises(SettingsError, match=r"warming\.flush"):
            load(configured(tmp_path, provider, flush=wrong))
