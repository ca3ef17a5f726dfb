"""The guard: rare false alarms at every look, breaches found, the pointer moved once, and never back and forth."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode.__main__ import main
from beastmode.arms import CHALLENGER, Dealing, Step
from beastmode.errors import StoreError
from beastmode.experiment import Challenge
from beastmode.guard import Alarm, Guard, Limits, Outcome, Tail, Watch
from beastmode.journal import Journal
from beastmode.pointer import Baseline, Pointer
from beastmode.router import Router
from beastmode.store import Store

ROOT = Path(__file__).resolve().parents[2]
PAST = datetime(2026, 1, 1, tzinfo=UTC)
USUAL = Baseline(error_rate=0.01, p95_ms=1000.0, refusal_rate=0.01)
NOW = "2026-02-01T00:00:00+00:00"


@pytest.fixture
def store(make_bundle: Any, tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for name in ("first", "second"):
        store.add(make_bundle(name))
        store.promote(name, at=PAST.isoformat(), reason="for the test", baseline=USUAL)
    return store


def calls(router: Router, folder: Path, n: int, error: Exception | None = None) -> None:
    with Journal(folder) as journal:
        for i in range(n):
            with journal.attempt(router.route("x", session_id=f"s{i}")) as attempt:
                if error is not None:
                    attempt.failed(error)


def alarms(one: Alarm, share: float, n: int, worlds: int) -> int:
    """Return in how many streams of n outcomes an alarm goes off where hits have a share; it looks after each."""
    rng = np.random.default_rng(1)
    # The same recursion as `add`, for all streams at once; a test below holds them together.
    wealth = np.full((worlds, len(one._hit)), -np.inf)
    fired = np.zeros(worlds, bool)
    for k in range(1, n + 1):
        hit = rng.random(worlds) < share
        wealth = np.logaddexp(wealth, -np.log(k * (k + 1.0))) + np.where(hit[:, None], one._hit, one._miss)
        total = np.logaddexp(np.logaddexp.reduce(wealth, axis=1) - np.log(wealth.shape[1]), -np.log(k + 1.0))
        fired |= total >= -np.log(one.alpha)
    return int(fired.sum())


@pytest.mark.parametrize("usual", [0.001, 0.01, 0.05, 0.3, 0.52, 0.9])
def test_false_alarms_stay_under_alpha_however_often_one_looks(usual: float) -> None:
    """1,000 streams of 1,500 outcomes at exactly the allowed share, looked at after each: 5% would be 50 of them."""
    alarmed = alarms(Alarm(usual, 0.05), usual, 1500, 1000)
    assert 0 < alarmed <= 0.05 * 1000, "a test that never alarms proves nothing"


@pytest.mark.parametrize("rate", [0.0, 1e-300, 0.96, 0.979, 0.98 - 1e-15, 0.98, 0.99, 1.0])
def test_false_alarms_stay_under_alpha_at_the_ends_where_a_share_can_hardly_be_worse(rate: float) -> None:
    one = Watch(Baseline(rate, 1000.0), Limits(alpha=0.15)).alarms[0]
    assert alarms(one, min(one.usual, 1.0), 1500, 200) <= 0.05 * 200


@pytest.mark.parametrize(("rate", "within"), [(0.0, 10), (0.5, 50), (0.9, 200), (0.97, 2000)])
def test_where_everything_fails_a_bad_baseline_is_breached_while_it_can_be(rate: float, within: int) -> None:
    alarm = Watch(Baseline(rate, 1000.0), Limits()).alarms[0]
    assert any(alarm.add(True) for _ in range(within))


def test_what_is_never_usual_is_proof_the_first_time() -> None:
    alarm = Watch(Baseline(0.0, 1000.0), Limits(error_margin=0.0)).alarms[0]
    assert not any(alarm.add(False) for _ in range(1000))
    assert alarm.add(True)
    assert alarm.add(False), "and stays so"


@pytest.mark.parametrize("rate", [0.98, 0.999, 1.0])
def test_a_baseline_that_fails_nearly_always_leaves_errors_unguarded_and_the_rest_in_force(
    make_bundle: Any, tmp_path: Path, rate: float, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "store")
    for name in ("first", "second"):
        store.add(make_bundle(name))
        store.promote(name, at=PAST.isoformat(), reason="a bad day", baseline=Baseline(rate, 1000.0))
    guard, router = Guard(store, tmp_path / "j"), Router(store.load_champion(), seed=0)
    calls(router, tmp_path / "j", 50, TimeoutError("slow"))
    assert guard.look(NOW) == []
    assert guard.look(NOW) == []
    (told,) = caplog.messages
    assert "no share of errors is worse by the margin than its baseline" in told
    assert "state what is usual (--error-rate" in told
    with Journal(tmp_path / "j") as journal:
        for _ in range(30):
            with journal.attempt(router.route("x")) as attempt:
                attempt.failed("content filtered", message="content_filter")
    (said,) = guard.look(NOW)
    assert said.startswith("rolled back from second to first: refusals")


@pytest.mark.parametrize("known", [{"alpha": 0.0}, {"alpha": 1.0}, {"error_margin": -0.1}, {"p95_ratio": 0.0}])
def test_limits_that_make_no_sense_are_refused(known: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match="margins are 0 or more, p95_ratio is positive, and alpha lies between 0 and 1"
    ):
        Limits(**known)


@pytest.mark.parametrize("known", [["--alpha", "0"], ["--error-rate", "1.5", "--p95-ms", "100"]])
def test_the_command_line_refuses_what_makes_no_sense(
    store: Store, tmp_path: Path, known: list[str], capsys: Any
) -> None:
    assert main(["guard", "--store", str(store.path), "--journal", str(tmp_path / "j"), *known]) == 1
    assert "error: guard: " in capsys.readouterr().err


def test_the_recursion_is_the_sum_over_starts() -> None:
    """The wealth against its definition: bets from every start, by weight, and what has not entered."""
    rng = np.random.default_rng(2)
    hits = rng.random(40) < 0.2
    alarm = Alarm(0.1, 0.05)
    for n, hit in enumerate(hits, 1):
        alarm.add(bool(hit))
        steps = np.where(hits[:n, None], alarm._hit, alarm._miss)
        starts = [np.exp(steps[k:].sum(axis=0)).mean() / ((k + 1) * (k + 2)) for k in range(n)]
        assert alarm.log_wealth == pytest.approx(np.log(sum(starts) + 1 / (n + 1)), abs=1e-9)
    bets = (np.exp(alarm._hit) * 0.1 + np.exp(alarm._miss) * 0.9) - 1
    np.testing.assert_allclose(bets, 0, atol=1e-12, err_msg="each bet is fair at the allowed share")


def test_a_bundle_that_breaks_after_a_good_month_is_found_within_a_few_failures() -> None:
    alarm = Alarm(0.03, 0.001 / 3)
    assert not any(alarm.add(i % 100 == 0) for i in range(20_000))
    needed = next(i for i in range(1, 200) if alarm.add(i % 2 == 0))
    assert needed <= 40


def test_each_metric_has_its_breach() -> None:
    def until(**known: Any) -> str:
        watch = Watch(USUAL, Limits())
        values = {"status": "success", "error_type": "", "latency_ms": 100.0, **known}
        outcome = Outcome(PAST, "x", **values)
        return next(found for _ in range(100) if (found := watch.add(outcome)))

    assert until(status="failure", error_type="provider_timeout").startswith("errors: ")
    assert until(latency_ms=2000.0).startswith("slow answers beyond 1500 ms: ")
    assert until(status="failure", error_type="policy_content_filtered").startswith("refusals: ")
    watch = Watch(USUAL, Limits())
    fault = Outcome(PAST, "x", "failure", "caller_invalid_request", 10.0)
    assert not any(watch.add(fault) for _ in range(500)), "what a caller does wrong is not the router's fault"


def test_a_bundle_at_its_very_limits_is_seldom_in_breach_of_any() -> None:
    """120 watches of 400 outcomes at exactly what is allowed of all three metrics, at one in ten for all of them."""
    rng, limits = np.random.default_rng(4), Limits(alpha=0.1)
    breached = 0
    for _ in range(120):
        watch = Watch(USUAL, limits)
        kinds = rng.choice(["provider_timeout", "policy_content_filtered", ""], 400, p=[0.03, 0.03, 0.94])
        slow = rng.random(400) < 0.05
        breached += any(
            watch.add(Outcome(PAST, "x", "failure" if kind else "success", str(kind), 2000.0 if late else 100.0))
            for kind, late in zip(kinds, slow, strict=True)
        )
    assert 0 < breached <= 0.1 * 120


def test_a_champion_in_breach_is_rolled_back_once_and_never_back_and_forth(store: Store, tmp_path: Path) -> None:
    guard = Guard(store, tmp_path / "j")
    router = Router(store.load_champion(), seed=0)
    calls(router, tmp_path / "j", 50)
    assert guard.look(NOW) == []
    calls(router, tmp_path / "j", 30, TimeoutError("slow"))
    (said,) = guard.look(NOW)
    assert said.startswith("rolled back from second to first: errors")
    pointer = store.champion()
    assert pointer is not None
    assert (pointer.bundle, pointer.reconciled, pointer.baseline) == ("first", False, USUAL)
    assert pointer.previous is not None
    assert pointer.previous.breach is not None
    assert Pointer.from_json(pointer.to_json()) == pointer
    assert guard.look(NOW) == []
    calls(Router(store.load_champion(), seed=0), tmp_path / "j", 30, TimeoutError("slow"))
    with pytest.raises(StoreError, match="was rolled back itself"):
        guard.look(NOW)
    assert store.champion() == pointer, "the outage hits both: the one in service stays"


def test_what_happened_before_the_promotion_does_not_count(store: Store, tmp_path: Path) -> None:
    calls(Router(store.load_champion(), seed=0), tmp_path / "j", 30, TimeoutError("slow"))
    store.promote("second", at=datetime.now(UTC).isoformat(), reason="mended upstream")
    assert Guard(store, tmp_path / "j").look(NOW) == []


def test_a_challenger_in_breach_is_stopped_and_the_champion_stays(store: Store, tmp_path: Path) -> None:
    dealing = Dealing("salt", (Step(PAST, 0.5),))
    store.try_out("first", dealing, at=PAST.isoformat(), reason="again")
    router = Router(store.load_champion(), seed=0)
    router.swap(router.bundle, Challenge(store.read("first"), dealing))
    with Journal(tmp_path / "j") as journal:
        for i in range(80):
            decision = router.route("x", session_id=f"s{i}")
            with journal.attempt(decision) as attempt:
                if decision.arm == CHALLENGER:
                    attempt.failed(TimeoutError("slow"))
    (said,) = Guard(store, tmp_path / "j").look(NOW)
    assert said.startswith("experiment stopped: errors")
    assert store.experiment() is None
    pointer = store.champion()
    assert pointer is not None
    assert pointer.bundle == "second"


def test_an_endless_line_does_not_blind_the_guard(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beastmode.guard._LONGEST_LINE", 5000)
    guard, router = Guard(store, tmp_path / "j"), Router(store.load_champion(), seed=0)
    with Journal(tmp_path / "j") as journal:
        with journal.attempt(router.route("word " * 5000)):
            pass
        for _ in range(30):
            with journal.attempt(router.route("x")) as attempt:
                attempt.failed(TimeoutError("slow"))
    (said,) = guard.look(NOW)
    assert said.startswith("rolled back from second to first: errors")


def test_a_journal_that_is_rotated_by_copying_or_goes_does_not_blind_the_guard(store: Store, tmp_path: Path) -> None:
    router, tail, folder = Router(store.load_champion(), seed=0), Tail(tmp_path / "j"), tmp_path / "j"
    calls(router, folder, 10)
    (folder / "a.jsonl").symlink_to(folder / "gone.jsonl")  # As one that retention takes between listing and opening.
    assert len(list(tail.outcomes())) == 10
    (file,) = folder.glob("journal*.jsonl")
    kept = file.read_bytes()
    os.truncate(file, 0)
    assert list(tail.outcomes()) == []
    file.write_bytes(b"".join(kept.splitlines(keepends=True)[:8]))
    assert len(list(tail.outcomes())) == 4


def test_calls_that_never_end_are_forgotten_the_oldest_first(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beastmode.guard.MOST_BEGUN", 3)
    router, tail = Router(store.load_champion(), seed=0), Tail(tmp_path / "j")
    with Journal(tmp_path / "j") as journal:
        attempts = [journal.attempt(router.route("x")) for _ in range(5)]
        for attempt in attempts:
            attempt.__enter__()
        assert list(tail.outcomes()) == []
        for attempt in attempts:
            attempt.__exit__(None, None, None)
    assert len(list(tail.outcomes())) == 3


def test_a_guard_without_a_baseline_or_a_journal_says_what_is_missing(make_bundle: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "bare")
    store.add(make_bundle("first"))
    with pytest.raises(StoreError, match="no champion"):
        Guard(store, tmp_path / "j").look(NOW)
    store.promote("first", at=PAST.isoformat(), reason="x")
    with pytest.raises(StoreError, match="no such folder"):
        Guard(store, tmp_path / "j").look(NOW)
    calls(Router(store.load_champion(), seed=0), tmp_path / "j", 1)
    with pytest.raises(StoreError, match="--error-rate"):
        Guard(store, tmp_path / "j").look(NOW)


def test_the_command_line_rolls_back_without_training_code(store: Store, tmp_path: Path) -> None:
    calls(Router(store.load_champion(), seed=0), tmp_path / "j", 30, TimeoutError("slow"))
    blocked = "import sys\nfor name in ('features', 'models', 'pipelines', 'mlflow', 'pandas', 'scipy', 'sklearn'):\n"
    code = blocked + "    sys.modules[name] = None\nfrom beastmode.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "guard", "--store", str(store.path), "--journal", str(tmp_path / "j")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "rolled back from second to first" in done.stdout


def test_experiments_and_pruning_from_the_command_line(store: Store, make_bundle: Any, capsys: Any) -> None:
    for name in ("third", "fourth"):
        store.add(make_bundle(name))
    where = ["--store", str(store.path)]
    assert main(["try", "third", "--share", "0.2", "--mode", "shadow", *where]) == 0
    assert "third on trial (shadow), 20% now" in capsys.readouterr().out
    assert main(["prune", "--keep", "1", *where]) == 0
    assert store.names() == ("first", "fourth", "second", "third"), "all but the newest are in use"
    assert main(["stop", *where]) == 0
    assert main(["prune", "--keep", "1", *where]) == 0
    assert store.names() == ("first", "fourth", "second")
    assert main(["try", "third", "--share", "0.2", *where]) == 1
    assert "no bundle 'third'" in capsys.readouterr().err
