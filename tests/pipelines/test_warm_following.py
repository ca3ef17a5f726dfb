"""Follow-ups end to end: a job asks ten sums in a row, and after the first the others are fetched before it does."""

# The fixture `provider` is imported, and every test that takes it would "redefine" it.
# ruff: noqa: F811

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from beastmode.cache import Cache, Sqlite
from beastmode.journal import Journal
from beastmode.records import Request
from beastmode.router import Router
from models.warmers.following import Follower
from models.warmers.warmer import Warmer
from pipelines.context import Context
from pipelines.printing import told
from pipelines.settings import load
from pipelines.train_warmer import train_warmer
from pipelines.warm import Warmed, warm
from pipelines.warm_bundle import WarmerBundle, load_warmer, warmers
from pipelines.warm_ledger import Ledger
from tests.pipelines.test_probe import CALL, provider  # noqa: F401
from tests.pipelines.test_warm import configured, opened

JOB = tuple(f"1+{i}?" for i in range(10))
FOLLOWER = Follower(
    after=0.2, within=60.0, levels=(-10.0, 10.0), worths=(0.0, 0.0), line=(1.0, 0.0, 0.0, 0.0), expected=()
)
"""What follows is worth its share."""
SECONDS = 6.0
"""Of a window: it is gone on with until a twentieth of it is left."""


def history(now: datetime) -> list[tuple[float, str]]:
    """Three days of a job that asks its sums a second apart, every four hours, and of sums that nothing follows."""
    end = now.timestamp() - 3600
    runs = [end - 4 * 3600 * run for run in range(18)]
    rows = [(at + i, text) for at in runs for i, text in enumerate(JOB)]
    rows += [(at + 1800 + 7 * i, f"3+{i}?") for i, at in enumerate(runs)]
    return sorted(rows)


def prepared(
    tmp_path: Path, provider, database: Path, monkeypatch, *, follower: Follower | None = FOLLOWER, warmer=None,
    **section,
) -> tuple[Context, Path]:  # fmt: skip
    """A workspace with that demand, whose warmer plans nothing of it and follows."""
    now = datetime.now(UTC)
    known = {"follow": True, "follow_poll_seconds": 0.05, "window_hours": SECONDS / 3600, **section}
    path = configured(tmp_path, provider, **known)
    context = opened(path, database, monkeypatch, now, history(now))
    made = WarmerBundle(
        name="follows", created=now.isoformat(), evaluation={}, training={}, window_seconds=3600.0,
        ttl_seconds=14_400.0, warmer=warmer or Warmer("ewma", "ewma", 3, follower=follower),
    )  # fmt: skip
    made.write(warmers(context).folder("follows"))
    warmers(context).promote("follows", at=now.isoformat(), reason="test")
    return context, path


class Application:
    """An application with its cache and its journal; what the cache does not hold it answers itself."""

    def __init__(self, context: Context) -> None:
        self.router = Router(context.store.load_champion())
        self.place = context.workspace.root / "cache.sqlite"
        self.journal = Journal(context.workspace.logs)
        self.missed: list[str] = []

    def ask(self, text: str) -> str:
        with Cache([Sqlite(self.place)], router=self.router, journal=self.journal) as cache:
            answer = cache.fetch(text, lambda miss: self.missed.append(text) or "mine")
        return str(answer.value)

    def holds(self, text: str) -> bool:
        with Cache([Sqlite(self.place)], router=self.router) as cache:
            return cache.get(Request.of(text)) is not None

    def wait_for(self, *texts: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not all(self.holds(text) for text in texts):
            assert time.monotonic() < deadline, f"not fetched: {[text for text in texts if not self.holds(text)]}"
            time.sleep(0.02)


def beside(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def followed(context: Context, work) -> Warmed:
    """Warm while the application works, which begins when the run follows."""
    failures: list[BaseException] = []

    def begin() -> None:
        try:
            planned(context)
            work()
        except BaseException as error:
            failures.append(error)

    thread = beside(begin)
    warmed = warm(context, datetime.now(UTC))
    thread.join()
    assert failures == []
    return warmed


def planned(context: Context, seconds: float = 60.0) -> None:
    """Return when a run has its plan, and reads the journals."""
    deadline = time.monotonic() + seconds
    while not list((context.workspace.root / "warming").glob("*.open.json")):
        assert time.monotonic() < deadline, "no plan"
        time.sleep(0.02)


def test_after_a_job_asked_its_first_sum_the_others_are_fetched_before_it_asks_them_each_once(
    provider, tmp_path, database, monkeypatch
):
    context, _ = prepared(tmp_path, provider, database, monkeypatch)
    application = Application(context)
    answers = []

    def job() -> None:
        application.ask(JOB[0])
        application.wait_for(*JOB[1:])
        answers.extend(application.ask(text) for text in JOB[1:6])

    warmed = followed(context, job)
    assert warmed.plan.cells == ()
    assert answers == [f"**{1 + i}.**" for i in range(1, 6)]
    assert application.missed == [JOB[0]]
    assert Counter(text for _, text in provider.seen) == dict.fromkeys(JOB[1:], 1)
    told_of = warmed.followed
    assert told_of is not None
    assert (told_of.requests, told_of.filled.filled, told_of.used, told_of.filled.stopped) == (6, 9, 5, None)
    assert warmed.spent_usd == pytest.approx(9 * CALL)
    assert "9 follow-ups fetched, 5 of them asked for by the end of the run: 56%" in "\n".join(
        told("warm", warmed, context.settings)
    )


def test_follow_ups_never_exceed_the_budget_and_end_when_it_is_spent(provider, tmp_path, database, monkeypatch):
    context, path = prepared(tmp_path, provider, database, monkeypatch, budget_usd=0.13, window_hours=1.0)
    application = Application(context)
    warmed = followed(context, lambda: application.ask(JOB[0]))
    assert warmed.followed is not None
    fetched = warmed.followed.filled
    assert 2 <= fetched.filled == len(provider.seen) < 9
    assert warmed.spent_usd == pytest.approx(len(provider.seen) * CALL)
    assert warmed.spent_usd <= 0.13
    assert fetched.stopped is not None
    assert "raise warming.budget_usd" in fetched.stopped
    # The window's money is gone, and so is the most that a second run may spend.
    again = followed(context, lambda: application.ask(JOB[0]))
    assert again.spent_usd <= 0.13
    few = Context.open(load(configured_again(path, prefills=2, budget_usd=100.0)))
    counted = len(provider.seen)
    capped = followed(few, lambda: application.ask(JOB[0]))
    assert capped.followed is not None
    assert len(provider.seen) == counted + 2
    assert "warming.prefills = 2 are made" in str(capped.followed.filled.stopped)


def configured_again(path: Path, **section) -> Path:
    lines = path.read_text().splitlines()
    for name, value in section.items():
        lines = [line for line in lines if not line.startswith(f"{name} =")] + [f"{name} = {value}"]
    again = path.with_name("again.toml")
    again.write_text("\n".join(lines) + "\n")
    return again


WARM = """
import sys
from datetime import UTC, datetime
from pipelines.context import Context
from pipelines.settings import load
from pipelines.warm import warm
warm(Context.open(load(sys.argv[1])), datetime.now(UTC))
"""


def test_a_killed_run_goes_on_following_and_pays_for_nothing_twice_and_a_terminated_one_ends_cleanly(
    provider, tmp_path, database, monkeypatch
):
    context, path = prepared(tmp_path, provider, database, monkeypatch, window_hours=1.0, concurrency=2)
    application = Application(context)
    provider.delay = 0.3
    process = subprocess.Popen([sys.executable, "-c", WARM, str(path)])
    planned(context)
    application.ask(JOB[0])
    deadline = time.monotonic() + 60
    while len(provider.seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    killed_at = len(provider.seen)
    assert 3 <= killed_at < 9
    (plan,) = (context.workspace.root / "warming").glob("*.open.json")
    begun = Ledger.open(plan.with_name(plan.name.replace(".open.json", ".ledger.jsonl"))).ended
    # A call that was killed before it left is not made again either: nobody can tell it from one that was charged.
    reached = 9 - (len(begun) - killed_at)
    provider.delay = 0.0

    def job() -> None:
        deadline = time.monotonic() + 60
        while len(provider.seen) < reached and time.monotonic() < deadline:
            # The second run reads what comes after it began.
            application.ask(JOB[0])
            time.sleep(0.1)
        # It has fetched, so it follows, and takes this as Ctrl-C.
        os.kill(os.getpid(), signal.SIGTERM)

    again = followed(context, job)
    assert again.resumed
    assert again.followed is not None
    assert again.followed.filled.stopped == "interrupted; the same command goes on from here"
    assert "to go on: python -m pipelines warm" in "\n".join(again.lines())
    counts = Counter(text for _, text in provider.seen)
    assert len(counts) == reached
    assert max(counts.values()) == 1
    # What was under way at the kill counts as the most that it can have cost.
    assert again.spent_usd >= len(begun) * CALL
    assert application.missed == [JOB[0]]
    assert plan.exists()


def test_what_is_held_or_cannot_be_asked_again_is_not_fetched(provider, tmp_path, database, monkeypatch):
    context, _ = prepared(tmp_path, provider, database, monkeypatch)
    application = Application(context)
    with Cache([Sqlite(application.place)], router=application.router) as cache:
        for text in JOB[1:5]:
            cache.put(Request.of(text), "held")

    def job() -> None:
        application.ask("3+1?")
        application.ask(JOB[0])
        application.wait_for(*JOB)

    warmed = followed(context, job)
    # What nothing follows triggers nothing, and the prefills of the run are nobody's requests.
    assert Counter(text for _, text in provider.seen) == dict.fromkeys(JOB[5:], 1)
    assert warmed.followed is not None
    assert warmed.followed.requests == 2


def test_a_warmer_that_does_not_follow_and_logs_without_a_journal_are_told_of(
    provider, tmp_path, database, monkeypatch
):
    context, path = prepared(tmp_path, provider, database, monkeypatch, follower=None)
    plain = warm(context, datetime.now(UTC))
    assert plain.followed is None
    assert [note for note in plain.notes if "not proven to help" in note and "train-warmer" in note]
    quiet = warm(Context.open(load(configured_again(path, follow="false"))), datetime.now(UTC))
    assert (quiet.followed, quiet.notes) == (None, ())
    # The same warmer with a follower, and a gateway's log alone.
    made = WarmerBundle.read(warmers(context).folder("follows"))
    replace(made, name="again", warmer=replace(made.warmer, follower=FOLLOWER)).write(warmers(context).folder("again"))
    warmers(context).promote("again", at=datetime.now(UTC).isoformat(), reason="test")
    path.write_text(
        path.read_text().replace('path = "{root}/logs/*.jsonl"', 'path = "{root}/x.jsonl"\nformat = "litellm"')
    )
    other = warm(Context.open(load(path)), datetime.now(UTC))
    assert other.followed is None
    assert [note for note in other.notes if "no source of ingest is a journal" in note and "ingest.sources" in note]


def test_plan_and_follow_ups_share_the_budget_of_a_window_and_the_next_one_has_its_own(
    provider, tmp_path, database, monkeypatch
):
    likely = Warmer("ewma", "ewma", 3, levels=(-99.0, 99.0), chances=(0.9, 0.9))
    # A planned prefill is worth .5, and the eleven requests of such a window bring five follow-ups that are worth more.
    dear = replace(FOLLOWER, levels=(-99.0, 99.0), worths=(0.5, 0.5), expected=((0.8, 0.5),))
    section = {"window_hours": 2.0, "budget_usd": 6 * CALL, "hit_usd": 1.0}
    context, path = prepared(
        tmp_path, provider, database, monkeypatch, warmer=replace(likely, follower=dear), **section
    )  # fmt: skip
    now = datetime.now(UTC)
    shared = warm(context, now, dry_run=True)
    alone = warm(Context.open(load(configured_again(path, follow="false"))), now, dry_run=True)
    assert (len(alone.plan.cells), alone.plan.price) == (6, 0.0)
    assert (len(shared.plan.cells), shared.plan.price) == (0, 0.5)
    assert "planned from a worth of 0.50 on" in "\n".join(shared.lines())
    # A schedule that is a moment early does not find its money spent.
    plain = Context.open(load(path.with_name("again.toml")))
    counts = []
    for at in (now, now + timedelta(hours=1.9), now + timedelta(hours=2, seconds=-30)):
        spent = warm(plain, at).spent_usd
        counts.append((len(provider.seen), round(spent / CALL)))
    one, same, other = counts
    assert one == same == (one[0], one[0])
    assert one[0] > 0
    assert other == (2 * one[0], one[0])


def test_who_follows_is_trained_proven_put_into_service_and_followed(provider, tmp_path, database, monkeypatch):
    """Eight jobs at any hour: nobody can plan them, and after their first sum everybody knows the others."""
    now, rng = datetime.now(UTC), np.random.default_rng(0)
    days, gap = 10, 6.0
    end = now.timestamp() - 5 * 3600
    rows = []
    for job in range(8):
        for at in end - rng.uniform(0, days * 86_400, 3 * days):
            rows += [(at + gap * i, f"{job + 1}+{i}?") for i in range(10)]
    rows += [(at, f"20+{i}?") for at, i in zip(end - rng.uniform(0, days * 86_400, 600), range(600), strict=True)]
    path = configured(tmp_path, provider, follow=True, follow_poll_seconds=0.05, window_hours=1.0, hit_usd=0.02)
    context = opened(path, database, monkeypatch, now, sorted(rows))
    done = train_warmer(context, now, lambda stage, share: None)
    assert done.bundle.warmer.follower is not None
    assert load_warmer(context).warmer == done.bundle.warmer
    short = Context.open(load(configured_again(path, window_hours=SECONDS / 3600)))
    application = Application(short)

    def job() -> None:
        application.ask(JOB[0])
        application.wait_for(*JOB[1:])

    warmed = followed(short, job)
    assert warmed.plan.cells == ()
    assert Counter(text for _, text in provider.seen) == dict.fromkeys(JOB[1:], 1)
