"""Writers of one store that know nothing of each other: a stop is final, whoever writes in the same instant."""

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from beastmode.arms import Dealing, Step
from beastmode.errors import StoreError
from beastmode.experiment import EXPERIMENT
from beastmode.guard import Guard
from beastmode.journal import Journal
from beastmode.pointer import Baseline
from beastmode.router import Router
from beastmode.store import POINTER, Store

ROOT = Path(__file__).resolve().parents[2]
PAST = datetime(2026, 1, 1, tzinfo=UTC)
NOW = "2026-02-01T00:00:00+00:00"
USUAL = Baseline(error_rate=0.01, p95_ms=1000.0, refusal_rate=0.01)


def dealing(share: float = 0.1) -> Dealing:
    return Dealing("salt", (Step(PAST, share),))


@pytest.fixture
def store(make_bundle: Any, tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for name in ("first", "second", "third"):
        store.add(make_bundle(name))
    store.promote("first", at=PAST.isoformat(), reason="the first", baseline=USUAL)
    return store


HEAD = """
import sys
from datetime import UTC, datetime
from beastmode.arms import Dealing, Step
from beastmode.errors import StaleError
from beastmode.store import Store
store = Store(sys.argv[1])
def ramp(share):
    return Dealing("salt", (Step(datetime(2026, 1, 1, tzinfo=UTC), share),))
"""

WEIGHS = """
seen = store.state()
print("looked", flush=True)
sys.stdin.readline()
try:
    WRITE
    print("written")
except StaleError as error:
    print("stale:", error)
"""
"""A run that looks, weighs its evidence until it is told to go on, and writes."""
WRITES = {
    "ramp": 'store.try_out("second", ramp(0.5), at="2026-01-03", reason="no harm yet", seen=seen)',
    "promotion": 'store.promote("second", at="2026-01-03", reason="proven", seen=seen)',
}
HAPPENS = {
    "a guard's stop": lambda store: store.stop_experiment("guard: errors", challenger=sha(store, "second")),
    "a rollback": lambda store: store.rollback("2026-01-02", "guard: errors", breach_of=sha(store, "first")),
    "a promotion": lambda store: store.promote("third", at="2026-01-02", reason="by hand"),
    "a ramp by hand": lambda store: store.try_out("second", dealing(0.2), at="2026-01-02", reason="by hand"),
}


def sha(store: Store, name: str) -> str:
    return store.read(name).sha256 or ""


def child(store: Store, code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEAD + code, str(store.path), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("happening", HAPPENS)
@pytest.mark.parametrize("write", WRITES)
def test_what_came_first_stands_and_the_process_that_weighed_is_told(store: Store, write: str, happening: str) -> None:
    if happening == "a rollback":
        store.promote("third", at=PAST.isoformat(), reason="so that there is a previous")
        store.promote("first", at=PAST.isoformat(), reason="again", baseline=USUAL)
    store.try_out("second", dealing(), at="2026-01-01", reason="begin")
    weighing = child(store, WEIGHS.replace("WRITE", WRITES[write]))
    assert weighing.stdout is not None
    assert weighing.stdout.readline() == "looked\n"
    HAPPENS[happening](store)
    after = store.state()
    said, problem = weighing.communicate("go on\n", timeout=60)
    assert said.startswith("stale: "), said + problem
    assert "look again" in said
    assert store.state() == after


@pytest.mark.parametrize("write", WRITES)
def test_where_nothing_happened_it_is_written(store: Store, write: str) -> None:
    store.try_out("second", dealing(), at="2026-01-01", reason="begin")
    store.mark_reconciled(store.champion())
    said, problem = child(store, WEIGHS.replace("WRITE", WRITES[write])).communicate("go on\n", timeout=60)
    assert said == "looked\nwritten\n", problem


STRIVES = """
tried = 0
while True:
    seen = store.state()
    if seen.trial is None:
        break
    tried += 1
    share = min(seen.trial.dealing.ramp[-1].share + 1e-4, 1.0)
    try:
        store.try_out("second", ramp(share), at="2026-01-03", reason="no harm yet", seen=seen)
    except StaleError:
        pass
print(tried)
"""
"""A run that raises the share for as long as the trial runs."""


def test_a_stop_in_the_middle_of_many_steps_is_final(store: Store) -> None:
    """Two processes that raise the share without a pause, stopped at a moment of no one's choosing, five times."""
    steps = 0
    for number in range(5):
        start = f"2026-01-01T00:00:{number:02d}+00:00"
        store.try_out("second", dealing(), at=start, reason="begin")
        striving = [child(store, STRIVES) for _ in range(2)]
        try:
            while dealing() == getattr(store.experiment(), "dealing", None):
                assert all(each.poll() is None for each in striving)
            assert store.stop_experiment("guard: errors", challenger=sha(store, "second"))
            ended = store.state().last
            steps += sum(int(each.communicate(timeout=60)[0]) for each in striving)
        finally:
            for each in striving:
                each.kill()
        assert store.experiment() is None
        assert store.state().last == ended is not None
        assert (ended.ended, ended.start) == ("guard: errors", start)
    assert steps >= 5  # the stop waits for one each time
    assert not list(store.path.glob(".*.draft"))


CRASHES = """
import os
left, real = int(sys.argv[2]), os.replace
def dying(*arguments):
    global left
    real(*arguments)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
os.replace = dying
store.promote("second", at="2026-01-03", reason="proven", seen=store.state())
"""


def test_an_experiment_whose_promotion_was_killed_half_way_never_comes_back(store: Store) -> None:
    """Killed after the pointer, before the experiment's end was written; then the old champion serves again."""
    store.try_out("second", dealing(0.5), at="2026-01-01", reason="begin")
    killed = child(store, CRASHES, "1")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    state = store.state()
    assert state.champion is not None
    assert (state.champion.bundle, state.trial) == ("second", None), "whatever its file says, it serves nobody"
    store.rollback(NOW, "guard: errors", breach_of=sha(store, "second"))
    assert store.experiment() is None
    last = store.state().last
    assert last is not None
    assert last.ended == "second serves in the champion's place"
    with Router.follow(store, every_seconds=60) as router:
        assert {router.route("x", session_id=f"s{i}").arm for i in range(40)} == {"champion"}


def test_a_challenger_that_was_promoted_while_the_guard_read_is_rolled_back(store: Store, tmp_path: Path) -> None:
    store.try_out("second", dealing(1.0), at=PAST.isoformat(), reason="begin")
    guard, router = Guard(store, tmp_path / "j"), Router(store.read("second"), seed=0)
    with Journal(tmp_path / "j") as journal:
        for _ in range(30):
            with journal.attempt(router.route("x")) as attempt:
                attempt.failed(TimeoutError("slow"))
    tail = guard._tail.outcomes

    def promoted_meanwhile() -> Any:
        yield from tail()
        store.promote("second", at=NOW, reason="proven", baseline=USUAL)

    guard._tail.outcomes = promoted_meanwhile
    (said,) = guard.look(NOW)
    assert said.startswith("rolled back from second to first: errors")
    pointer = store.champion()
    assert pointer is not None
    assert pointer.previous is not None
    assert pointer.previous.breach is not None


def test_a_guard_that_is_late_stops_nobody_else(store: Store, make_bundle: Any) -> None:
    store.try_out("second", dealing(), at=PAST.isoformat(), reason="begin")
    store.stop_experiment()
    store.try_out("third", dealing(), at=PAST.isoformat(), reason="the next")
    assert not store.stop_experiment("guard: errors", challenger=sha(store, "second"))
    running = store.experiment()
    assert running is not None
    assert running.challenger == "third"


def test_a_hand_may_start_again_what_was_stopped(store: Store) -> None:
    store.try_out("second", dealing(), at="2026-01-01", reason="begin")
    store.stop_experiment("guard: errors")
    assert store.try_out("second", dealing(), at="2026-01-02", reason="mended").ended is None
    running = store.experiment()
    assert running is not None
    assert (running.start, running.reason) == ("2026-01-02", "mended")


def test_a_damaged_experiment_is_removed_by_its_stop_and_guards_go_on(store: Store, tmp_path: Path) -> None:
    store.promote("second", at=PAST.isoformat(), reason="better", baseline=USUAL)
    (store.path / EXPERIMENT).write_text("{")
    router = Router(store.load_champion(), seed=0)
    with Journal(tmp_path / "j") as journal:
        for _ in range(30):
            with journal.attempt(router.route("x")) as attempt:
                attempt.failed(TimeoutError("slow"))
    (said,) = Guard(store, tmp_path / "j").look(NOW)
    assert said.startswith("rolled back from second to first")
    with pytest.raises(StoreError, match="stop the experiment, and start it again"):
        store.try_out("second", dealing(), at=NOW, reason="x")
    assert store.stop_experiment()
    assert store.try_out("second", dealing(), at=NOW, reason="x").ended is None


def test_a_damaged_pointer_is_mended_as_its_error_says(store: Store) -> None:
    (store.path / POINTER).write_text("{")
    with pytest.raises(StoreError, match="remove it and promote a bundle again"):
        store.promote("second", at=NOW, reason="x")
    (store.path / POINTER).unlink()
    assert store.promote("second", at=NOW, reason="x").bundle == "second"


def test_moments_without_a_zone_are_utc_to_a_guard(store: Store, tmp_path: Path) -> None:
    store.promote("second", at="2026-01-01", reason="by hand", baseline=USUAL)
    store.try_out("third", dealing(), at="2026-01-01", reason="by hand")
    with Journal(tmp_path / "j") as journal, journal.attempt(Router(store.load_champion()).route("x")):
        pass
    assert Guard(store, tmp_path / "j").look(NOW) == []
    (store.path / POINTER).write_text((store.path / POINTER).read_text().replace("2026-01-01", "soon"))
    with pytest.raises(StoreError, match="'soon' is no moment"):
        Guard(store, tmp_path / "j").look(NOW)
