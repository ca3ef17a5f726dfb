import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode.candidates import Candidate, Price
from beastmode.errors import JournalError
from beastmode.interactions import Attempt, Interaction
from beastmode.journal import Journal
from beastmode.policies import Greedy
from beastmode.records import Decision, Endpoint, Needs, Request
from beastmode.router import Router
from beastmode.scorers import Constant

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def router(make_bundle: Any) -> Router:
    return Router(make_bundle(), seed=0)


@pytest.fixture
def decision(router: Router) -> Decision:
    return router.route("What is 2+2?", allow=["large"], tenant="acme", session_id="s", context={"task": "sums"})


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(path.glob("*.jsonl")) for line in file.read_text().splitlines()]


def ends(path: Path) -> list[dict[str, Any]]:
    return [event for event in events(path) if event["kind"] == "end"]


def test_a_success(decision: Decision, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, journal.attempt(decision) as attempt:
        attempt.first_token()
        attempt.usage(
            {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8},
             "completion_tokens_details": {"reasoning_tokens": 2}}
        )  # fmt: skip
        attempt.served("large-2026-01", "remote")
        attempt.cost(0.0004, "provider")
    begin, end = events(tmp_path)
    assert (begin["kind"], begin["v"]) == ("begin", 1)
    assert begin["messages"] == [{"role": "user", "content": "What is 2+2?"}]
    assert begin["propensity"] == 1.0
    assert begin["propensity_source"] == "logged"
    assert (begin["tenant"], begin["session_id"], begin["unit"]) == ("acme", "s", "s")
    assert begin["context"] == {"task": "sums"}
    assert (end["kind"], end["status"], end["decision_id"]) == ("end", "success", decision.decision_id)
    assert (end["input_tokens"], end["cache_read_tokens"], end["output_tokens"], end["reasoning_tokens"]) == (
        12,
        8,
        5,
        2,
    )
    assert (end["model_served"], end["provider"]) == ("large-2026-01", "remote")
    assert (end["cost_usd"], end["cost_source"]) == (0.0004, "provider")
    assert 0 <= end["ttft_ms"] <= end["latency_ms"]
    assert [call["role"] for call in end["attempts"]] == ["primary"]


def test_begin_and_end_together_are_an_interaction(decision: Decision, tmp_path: Path) -> None:
    """What the lake needs, under the lake's own names: nothing is lost and nothing is unknown to it."""
    with Journal(tmp_path) as journal, journal.attempt(decision):
        pass
    begin, end = events(tmp_path)
    known = {k: v for k, v in {**begin, **end}.items() if k not in ("kind", "v")}
    row = Interaction.from_mapping({**known, "event_id": "e"})
    assert row.candidates == ("large",)
    assert row.plan == "large"
    assert row.at == decision.at
    assert row.model_requested == "large"
    assert row.predictions is not None
    assert row.predictions[0]["candidate"] == "small"
    assert "latency_ms" not in row.predictions[2], "what is unknown is left out"
    assert row.attempts == (Attempt("large", latency_ms=row.attempts[0].latency_ms),)
    assert row.needs == {name: getattr(Needs(), name) for name in Needs.__slots__}


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ConnectionRefusedError("no"), "failure", "provider_connection_refused"),
        (TimeoutError("slow"), "failure", "provider_timeout"),
        (KeyError("my own"), "failure", "caller_application_error"),
        (KeyboardInterrupt(), "cancelled", "caller_cancelled"),
        (asyncio.CancelledError(), "cancelled", "caller_cancelled"),
        (SystemExit(1), "cancelled", "caller_cancelled"),
        (GeneratorExit(), "cancelled", "caller_cancelled"),
    ],
)
def test_what_is_raised_is_recorded_and_passed_on(
    decision: Decision, tmp_path: Path, error: BaseException, status: str, kind: str
) -> None:
    with Journal(tmp_path) as journal, pytest.raises(type(error)), journal.attempt(decision):
        raise error
    (end,) = ends(tmp_path)
    assert (end["status"], end["error_type"]) == (status, kind)
    assert " | " in end["error_message"], "the message is followed by a tip"


def test_the_tip_names_host_key_and_time(decision: Decision, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, journal.attempt(decision) as attempt:
        attempt.failed(status=401, message='{"error": {"code": "invalid_api_key"}}')
    (end,) = ends(tmp_path)
    assert end["error_type"] == "provider_authentication"
    for part in ("large.example", "LARGE_KEY", " ms)", "invalid_api_key"):
        assert part in end["error_message"]


def test_credentials_in_an_address_stay_out_of_the_log(decision: Decision, tmp_path: Path) -> None:
    address = Endpoint("m", "https://user:hush@models.example:8443/v1?key=hush", "A_KEY")
    with Journal(tmp_path) as journal, journal.attempt(replace(decision, endpoint=address)) as attempt:
        attempt.failed(ConnectionRefusedError())
    said = ends(tmp_path)[0]["error_message"]
    assert "models.example:8443" in said
    assert "hush" not in said


def test_a_rate_limit_says_how_long_to_wait(decision: Decision, tmp_path: Path) -> None:
    error = urllib.error.HTTPError("http://x", 429, "slow down", {"Retry-After": "7"}, None)  # type: ignore[arg-type]
    with Journal(tmp_path) as journal, journal.attempt(decision) as attempt:
        assert attempt.failed(error).name == "provider_rate_limited"
    error.close()
    assert "wait 7 s before asking large.example again" in ends(tmp_path)[0]["error_message"]


def test_an_async_call_that_is_cancelled(decision: Decision, tmp_path: Path) -> None:
    async def call(journal: Journal) -> None:
        async with journal.attempt(decision):
            await asyncio.sleep(30)

    async def run() -> None:
        with Journal(tmp_path) as journal:
            task = asyncio.create_task(call(journal))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    (end,) = ends(tmp_path)
    assert (end["status"], end["error_type"]) == ("cancelled", "caller_cancelled")


def test_retries_and_fallbacks_are_calls_of_one_interaction(router: Router, decision: Decision, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, journal.attempt(decision) as attempt:
        attempt.retry(error=TimeoutError("slow"))
        attempt.failed(status=500)
        attempt.cost(0.002)
        attempt.retry("small", endpoint=router.endpoint("small"))
        attempt.first_token()
        attempt.tokens(input=3, output=4)
        attempt.cost(0.001)
    (end,) = ends(tmp_path)
    calls = [(c["candidate"], c["role"], c["status"], c.get("error_type")) for c in end["attempts"]]
    assert calls == [
        ("large", "primary", "failure", "provider_timeout"),
        ("large", "retry", "failure", "provider_server_error"),
        ("small", "fallback", "success", None),
    ]
    assert end["status"] == "success"
    assert "error_type" not in end
    assert end["cost_usd"] == pytest.approx(0.003), "the cost is the sum over the calls"
    assert end["ttft_ms"] >= sum(c["latency_ms"] for c in end["attempts"][:-1])


def test_a_fallback_that_fails_names_its_own_host(router: Router, decision: Decision, tmp_path: Path) -> None:
    with (
        Journal(tmp_path) as journal,
        contextlib.suppress(ConnectionRefusedError),
        journal.attempt(decision) as attempt,
    ):
        attempt.retry("small", TimeoutError(), endpoint=router.endpoint("small"))
        raise ConnectionRefusedError
    (end,) = ends(tmp_path)
    assert "large.example" in end["attempts"][0]["error_message"]
    assert "127.0.0.1:8000" in end["error_message"]


def test_an_attempt_is_begun_once(decision: Decision, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        attempt = journal.attempt(decision)
        with attempt:
            pass
        with pytest.raises(JournalError, match=r"attempt\.retry"), attempt:
            pass
    assert len(events(tmp_path)) == 2


def test_without_prompts_no_prompt_is_written(router: Router, tmp_path: Path) -> None:
    secret = "the canary sings at noon"
    with Journal(tmp_path, prompts=False) as journal, journal.attempt(router.route(secret)):
        pass
    assert "canary" not in "".join(file.read_text() for file in tmp_path.iterdir())
    assert events(tmp_path)[0]["prompt_chars"] == len(secret)
    assert len(events(tmp_path)[0]["prompt_sha256"]) == 64


def test_a_sticky_turn_logs_no_propensity(make_bundle: Any, tmp_path: Path) -> None:
    price = Price(2.0, 8.0, cache_read_per_mtok=0.2)
    router = Router(make_bundle(candidates=(Candidate("large", price=price),), scorer=Constant(*np.ones((3, 1))),
                                policy=Greedy(), operating_points=()), remember_sessions=8)  # fmt: skip
    said = [{"role": "user", "content": "word " * 2000}]
    first = router.route(said, session_id="s")
    with Journal(tmp_path) as journal, journal.attempt(router.route([*said, *said], session_id="s")):
        pass
    begin = events(tmp_path)[0]
    assert begin["sticky_from"] == first.decision_id
    assert "propensity" not in begin
    assert begin["propensity_source"] == "unknown"


def test_feedback(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.feedback("r1", "thumb", 1, source="button", at=datetime(2026, 1, 1, tzinfo=UTC))
        for wrong in (1.5, -0.1, float("nan")):
            with pytest.raises(ValueError, match=r"\[0, 1\]"):
                journal.feedback("r1", "score", wrong)
        with pytest.raises(ValueError, match="time zone"):
            journal.feedback("r1", "thumb", 1, at=datetime(2026, 1, 1))  # noqa: DTZ001 - the error under test
    (event,) = events(tmp_path)
    assert (event["kind"], event["request_id"], event["value"]) == ("feedback", "r1", 1.0)
    assert event["at"] == "2026-01-01T00:00:00+00:00"
    assert event["received_at"] > event["at"]


def test_odd_text_survives(router: Router, tmp_path: Path) -> None:
    text = 'line\nbreak \u2028 quote" \ud800 lone \x00 end'
    with Journal(tmp_path) as journal, journal.attempt(router.route(text)):
        pass
    (file,) = tmp_path.iterdir()
    assert file.read_bytes().count(b"\n") == 2, "one line an event, whatever the prompt holds"
    assert events(tmp_path)[0]["messages"][0]["content"] == text


def test_threads_write_whole_lines(router: Router, tmp_path: Path) -> None:
    def call(journal: Journal, i: int) -> None:
        with journal.attempt(router.route(f"prompt {i} " + "x" * 5000)):
            pass

    with Journal(tmp_path) as journal, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: call(journal, i), range(200)))
    found = events(tmp_path)
    begun = {event["decision_id"] for event in found if event["kind"] == "begin"}
    assert len(found) == 400
    assert begun == {event["decision_id"] for event in ends(tmp_path)}
    assert len(begun) == 200


def child(journal: Journal, router: Router) -> None:
    with journal.attempt(router.route("from the child")):
        pass


def test_a_forked_child_has_a_file_of_its_own_and_leaves_its_parents_calls_alone(
    router: Router, decision: Decision, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    with Journal(tmp_path) as journal, journal.attempt(decision):
        children = [context.Process(target=child, args=(journal, router)) for _ in range(3)]
        for process in children:
            process.start()
        for process in children:
            process.join()
    assert len(list(tmp_path.glob("*.jsonl"))) == 4
    assert len(ends(tmp_path)) == 4
    assert [e["status"] for e in ends(tmp_path)] == ["success"] * 4


def test_a_fork_inside_the_block_ends_it_once(decision: Decision, tmp_path: Path) -> None:
    script = """
import os, sys
from beastmode.journal import Journal
from beastmode.records import Decision, Plan, Request
decision = Decision(Request.of("x"), Plan.single("a"), {"a": 1.0}, 1.0, "p", None, (), "r")
with Journal(sys.argv[1]) as journal, journal.attempt(decision):
    pid = os.fork()
if pid:
    os.waitpid(pid, 0)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=ROOT, timeout=60)
    assert [event["status"] for event in ends(tmp_path)] == ["success"]


OPEN = """
import sys, threading, time
from beastmode.journal import Journal
from beastmode.records import Decision, Plan, Request
decision = Decision(Request.of("x"), Plan.single("a"), {"a": 1.0}, 1.0, "p", None, (), "r")
journal = Journal(sys.argv[1])
def call():
    with journal.attempt(decision):
        print("begun", flush=True)
        time.sleep(60)
threading.Thread(target=call, daemon=True).start()
while not list(__import__("pathlib").Path(sys.argv[1]).glob("*.jsonl")): time.sleep(.01)
sys.stdin.readline()
"""


def test_a_process_that_ends_with_a_call_under_way_says_so(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    process.communicate(b"\n", timeout=60)
    (end,) = ends(tmp_path)
    assert (end["status"], end["error_type"]) == ("unknown", "router_process_ended")


def test_a_killed_process_leaves_a_begin_without_an_end(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert [event["kind"] for event in events(tmp_path)] == ["begin"]


def test_closing_ends_what_is_under_way_exactly_once(decision: Decision, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with journal.attempt(decision):
        journal.close()
    assert [end["error_type"] for end in ends(tmp_path)] == ["router_process_ended"]


def test_a_folder_that_cannot_be_written_is_an_error_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="name a folder"):
        Journal(tmp_path / "file")


def test_a_full_disk_never_fails_a_request_and_is_counted(
    decision: Decision, tmp_path: Path, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    journal = Journal(tmp_path)
    full = os.open("/dev/full", os.O_WRONLY)
    kept, journal._descriptor = journal._descriptor, full
    with journal.attempt(decision):
        pass
    journal._descriptor = kept
    os.close(full)
    with journal.attempt(Decision(**{f: getattr(decision, f) for f in decision.__slots__})):
        pass
    assert journal.lost == 2
    assert "an event is lost" in caplog.text
    assert len(events(tmp_path)) == 2
    journal.close()


def test_one_file_a_process_named_after_it(decision: Decision, tmp_path: Path) -> None:
    with Journal(tmp_path / "deep" / "er") as journal, journal.attempt(decision):
        pass
    (file,) = (tmp_path / "deep" / "er").iterdir()
    start, host, pid, began = file.stem.split("-")
    assert (start, pid) == ("journal", str(os.getpid()))
    assert host
    assert began.isdigit()


def test_each_event_is_one_write(decision: Decision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: written.append(bytes(data)) or real(fd, data))
    with Journal(tmp_path) as journal, journal.attempt(decision):
        pass
    lines = [data for data in written if data.startswith(b'{"kind"')]
    assert len(lines) == 2
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines)


def test_a_probe_names_its_parent(router: Router, tmp_path: Path) -> None:
    request = Request.of("x", needs=Needs(json=True))
    with Journal(tmp_path) as journal, journal.attempt(router.route(request), purpose="probe", parent="r0"):
        pass
    begin = events(tmp_path)[0]
    assert (begin["purpose"], begin["parent_request_id"]) == ("probe", "r0")
    assert begin["needs"]["json"] is True


def test_a_journal_that_is_dropped_leaves_no_thread_and_no_hook(tmp_path: Path) -> None:
    before = threading.active_count()
    Journal(tmp_path).close()
    assert threading.active_count() == before


def test_what_json_cannot_hold_fails_no_request_and_loses_no_decision(router: Router, tmp_path: Path) -> None:
    circle: dict[str, Any] = {"role": "user", "content": "What is 2+2?"}
    circle["itself"] = circle
    odd = {"role": "user", "content": "What is 2+2?", "seen": {("a", "tuple"): float("nan")}}
    with Journal(tmp_path) as journal:
        for message in (circle, odd):
            with journal.attempt(router.route([message])) as attempt:
                attempt.cost(float("inf"))
    assert journal.lost == 0
    first, end, second, _ = (json.loads(line, parse_constant=pytest.fail) for line in lines(tmp_path))
    assert "messages" not in first
    assert first["prompt_sha256"] == second["prompt_sha256"]
    assert 0 < first["propensity"] <= 1
    assert second["messages"][0]["seen"] == {"('a', 'tuple')": None}
    assert (end["status"], end["cost_usd"]) == ("success", None)


def test_costs_add_up_whatever_kind_of_number_they_are(decision: Decision, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, journal.attempt(decision) as attempt:
        attempt.cost(Decimal("0.25"))  # type: ignore[arg-type]
        attempt.retry()
        attempt.cost(np.float32(0.5))  # type: ignore[arg-type]
    (end,) = ends(tmp_path)
    assert end["cost_usd"] == 0.75


def test_an_exception_that_cannot_say_its_text_is_recorded_and_raised(decision: Decision, tmp_path: Path) -> None:
    class OddError(ConnectionRefusedError):
        def __str__(self) -> str:
            return self.args[0]  # type: ignore[no-any-return]

    with Journal(tmp_path) as journal, pytest.raises(OddError), journal.attempt(decision):
        raise OddError({"no": "text"})
    (end,) = ends(tmp_path)
    assert (end["status"], end["error_type"]) == ("failure", "provider_connection_refused")


def test_a_file_that_was_deleted_is_begun_anew(decision: Decision, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for file in tmp_path.glob("*.jsonl"):
            file.unlink()
        with journal.attempt(decision):
            pass
        assert len(lines(tmp_path)) == 2
        assert journal._descriptor is not None
        os.close(journal._descriptor)
        journal.feedback(decision.request.request_id, "thumb", 1.0)
    assert (len(lines(tmp_path)), journal.lost) == (3, 0)


def test_a_journal_that_is_dropped_lets_go_of_its_file(decision: Decision, tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("open files are counted in /proc")
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        with Journal(tmp_path).attempt(decision):
            pass
    assert len(list(descriptors.iterdir())) <= before + 1
    assert len(lines(tmp_path)) == 40


def test_a_signal_that_arrives_while_a_line_is_written_may_write_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write = Journal(tmp_path), os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        journal.feedback("from-the-handler", "thumb", 0.0)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", interrupted)
    thread = threading.Thread(target=journal.feedback, args=("first", "thumb", 1.0), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert [event["request_id"] for event in events(tmp_path)] == ["from-the-handler", "first"]
    journal.close()


def test_a_call_that_ends_while_the_journal_is_closed_keeps_its_outcome(decision: Decision, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with journal.attempt(decision) as attempt:
        close_call = attempt._close_call

        def late() -> None:
            attempt.process_ended()
            close_call()

        attempt._close_call = late  # type: ignore[method-assign]
    journal.close()
    assert [end["status"] for end in ends(tmp_path)] == ["success"]


def lines(path: Path) -> list[str]:
    return [line for file in sorted(path.glob("*.jsonl")) for line in file.read_text().splitlines()]
