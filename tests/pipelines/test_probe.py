"""Probes against a real provider on a real socket, into a real journal and a real lake."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode.candidates import Candidate, Price
from beastmode.journal import Journal
from beastmode.records import Decision, Plan, Request
from pipelines import history, logs
from pipelines.context import Context
from pipelines.printing import told
from pipelines.probe import Probed, probe
from pipelines.probe_calls import most, paid
from pipelines.probe_journal import recall
from pipelines.probe_purse import Purse
from pipelines.probe_scoring import Unscored, exact, judged
from pipelines.settings import SettingsError, load
from tests.loopback import Handler, serving

INPUT, OUTPUT = 12, 5
"""Tokens that the provider counts for every call."""
PRICE = {"input_per_mtok": 1000.0, "output_per_mtok": 2000.0}
CALL = (INPUT * 1000 + OUTPUT * 2000) / 1e6
SLOW = 0.03


class Provider(Handler):
    """Answers sums; the model asked for says how well, and how it behaves."""

    def do_POST(self) -> None:
        asked = self.asked()
        server: Any = self.server
        text = asked["messages"][-1]["content"]
        with server.lock:
            server.seen.append((asked["model"], text))
            server.limits.add(asked.get("max_tokens"))
            count = sum(model == asked["model"] for model, _ in server.seen)
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        time.sleep(server.delay)
        with server.lock:
            server.busy -= 1
        match asked["model"]:
            case "limited" if count == 1:
                self.answer(429, {"error": {"message": "slow down"}}, {"retry-after": "0.2"})
            case "closed":
                self.answer(401, {"error": {"message": "no"}})
            case "broken":
                self.answer(500, {"error": {"message": "oops"}})
            case "grader":
                self.say("It is right. SCORE: 9" if "<answer>\n4" in text else "SCORE: 2")
            case "mute-grader":
                self.say("I would rather not")
            case "odd" | "wrong":
                self.say("no idea")
            case _:
                left, _, right = text.removesuffix("?").partition("+")
                self.say(f"**{int(left) + int(right)}.**")

    def say(self, text: str) -> None:
        usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT}
        self.answer(200, {"model": "m", "choices": [{"message": {"content": text}}], "usage": usage})


@pytest.fixture
def provider() -> Iterator[Any]:
    with serving(Provider, seen=[], limits=set(), lock=threading.Lock(), busy=0, busiest=0, delay=0.0) as server:
        yield server


def configured(tmp_path: Path, provider: Any, models: list[str], **section: Any) -> Path:
    blocks = "".join(
        f'[[candidates]]\nname = "{model}"\nbase_url = "{provider.url}/v1"\n'
        f"price = {{ input_per_mtok = {PRICE['input_per_mtok']}, output_per_mtok = {PRICE['output_per_mtok']} }}\n"
        for model in models
    )
    (tmp_path / "candidates.toml").write_text(blocks)
    known = {"budget_usd": 100.0, "requests": 8, "max_output_tokens": 16, "timeout_seconds": 10.0, **section}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in known.items())
    path = tmp_path / "mine.toml"
    path.write_text(
        f'catalogue = "{tmp_path}/candidates.toml"\n[paths]\nroot = "{tmp_path}/workspace"\n'
        f'[[ingest.sources]]\npath = "{{root}}/logs/*.jsonl"\n[probe]\n{lines}\n'
    )
    return path


def opened(path: Path, database: Path, monkeypatch: pytest.MonkeyPatch, *, served: int = 8) -> Context:
    """A workspace whose application asked `served` sums of the first candidate."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = load(path)
    settings.paths.root.mkdir(parents=True, exist_ok=True)
    if not (settings.paths.root / "mlflow.db").exists():
        shutil.copy(database, settings.paths.root / "mlflow.db")
    context = Context.open(settings)
    names = [candidate.name for candidate in logs.candidates(context)]
    with Journal(context.workspace.logs) as journal:
        for i in range(served):
            serve(journal, f"{i}+{i}?", {"answer": str(2 * i)} if i % 4 != 3 else {}, names)
    logs.ingest(context, datetime.now(UTC))
    return context


def serve(journal: Journal, prompt: str, context: dict[str, str], names: list[str]) -> None:
    decision = Decision(
        request=Request.of(prompt, context=context), plan=Plan.single(names[0]),
        probabilities={name: 1 / len(names) for name in names}, propensity=1 / len(names), policy="test",
        bundle_sha256=None, predictions=(), reason="test",
    )  # fmt: skip
    with journal.attempt(decision) as attempt:
        attempt.tokens(input=INPUT, output=OUTPUT)


def run(context: Context, **known: Any) -> Probed:
    return probe(context, datetime.now(UTC), **known)


def test_probes_are_asked_scored_journalled_ingested_and_joined(provider, tmp_path, database, monkeypatch):
    context = opened(configured(tmp_path, provider, ["right", "wrong"]), database, monkeypatch)
    probed = run(context)
    assert probed.asked is not None
    # Two of eight requests carry no right answer; the six others are asked of both.
    assert (probed.asked.answered, probed.asked.scored, probed.asked.stopped) == (12, 12, None)
    assert Counter(model for model, _ in provider.seen) == {"right": 6, "wrong": 6}
    assert provider.limits == {16}
    assert probed.spent_usd == pytest.approx(12 * CALL)
    (why,) = probed.plan.left_out
    assert "context.answer" in why
    assert probed.plan.left_out[why] == 4
    report = logs.ingest(context, datetime.now(UTC))
    assert report.quarantined == 0
    table = history.table(context, datetime.now(UTC))
    asked = np.isfinite(table.quality).all(axis=1)
    assert asked.sum() == 6
    right, wrong = (table.candidates.index(name) for name in ("right", "wrong"))
    assert table.quality[asked, right].tolist() == [1.0] * 6
    assert table.quality[asked, wrong].tolist() == [0.0] * 6
    assert np.allclose(table.cost_usd[asked, wrong], CALL)
    assert np.isfinite(table.latency_ms[asked]).all()
    # A fifth of eight requests was drawn by lot: these alone are paired evidence.
    assert table.probed.sum() == 2
    drawn = {cell.request_id for cell in probed.plan.cells if cell.kind == "random"}
    assert set(table.request_ids[table.probed].tolist()) == drawn
    rows = context.lake.interactions()
    marks = [json.loads(text) for text in rows.loc[rows["purpose"] == "probe", "context"]]
    assert {mark["probe"] for mark in marks} == {"random", "planned"}
    assert all(0 < float(mark["probe_inclusion"]) <= 1 for mark in marks)
    again = run(context)
    assert again.asked is not None
    assert (again.asked.answered, len(again.plan.cells)) == (0, 0)
    assert len(provider.seen) == 12


def test_answers_that_are_not_ingested_yet_are_not_asked_again(provider, tmp_path, database, monkeypatch):
    context = opened(configured(tmp_path, provider, ["right", "wrong"]), database, monkeypatch)
    run(context)
    run(context)
    assert len(provider.seen) == 12


def test_only_planning_asks_and_writes_nothing(provider, tmp_path, database, monkeypatch):
    context = opened(configured(tmp_path, provider, ["right", "wrong"]), database, monkeypatch)
    before = sorted(path.name for path in context.workspace.logs.iterdir())
    probed = run(context, plan_only=True)
    assert provider.seen == []
    assert sorted(path.name for path in context.workspace.logs.iterdir()) == before
    lines = "\n".join(told("probe", probed, context.settings))
    assert "12 calls on 6 requests, 2 of them drawn by lot" in lines
    assert "against" not in lines, "no candidate was rated yet"


def test_the_standing_says_how_many_probes_are_missing(provider, tmp_path, database, monkeypatch):
    context = opened(configured(tmp_path, provider, ["right", "wrong"]), database, monkeypatch)
    run(context)
    logs.ingest(context, datetime.now(UTC))
    lines = list(run(context, plan_only=True).lines())
    assert "against right, on the same requests:" in lines
    assert any("wrong: -1.000" in line and "on 6 probes" in line for line in lines)


@pytest.mark.parametrize("calls", [1, 3, 7])
def test_the_budget_is_never_exceeded(provider, tmp_path, database, monkeypatch, calls):
    bound = most(Candidate("a", price=Price(1000.0, 2000.0)), [{"role": "user", "content": "0+0?"}], 16)
    assert bound is not None
    assert bound > CALL
    budget = bound + (calls - 1) * CALL + 1e-9
    path = configured(tmp_path, provider, ["right", "wrong"], budget_usd=budget, concurrency=3)
    probed = run(opened(path, database, monkeypatch))
    assert probed.asked is not None
    # The plan goes by expected costs, and what is set aside for the last call is more than it takes.
    assert probed.spent_usd <= budget
    assert probed.asked.answered <= calls
    assert len(provider.seen) == probed.asked.answered
    assert probed.spent_usd == pytest.approx(probed.asked.answered * CALL)


def test_a_budget_that_the_calls_outgrow_stops_them_with_the_reason(provider, tmp_path, database, monkeypatch):
    path = configured(tmp_path, provider, ["right", "wrong"], budget_usd=0.2)
    context = opened(path, database, monkeypatch)
    probed = run(context)
    assert probed.asked is not None
    assert probed.asked.stopped is not None
    assert "raise probe.budget_usd" in probed.asked.stopped
    assert 0 < probed.spent_usd <= 0.2
    before = len(provider.seen)
    run(context)
    # A new plan has a budget of its own.
    assert len(provider.seen) > before


def test_a_provider_that_asks_for_patience_gets_it(provider, tmp_path, database, monkeypatch):
    context = opened(configured(tmp_path, provider, ["limited", "wrong"], concurrency=1), database, monkeypatch)
    started = time.monotonic()
    probed = run(context)
    assert time.monotonic() - started >= 0.2
    assert probed.asked is not None
    assert probed.asked.answered == 12
    logs.ingest(context, datetime.now(UTC))
    rows = context.lake.interactions()
    (failed,) = rows[(rows["status"] == "failure")].to_dict("records")
    assert failed["error_type"] == "provider_rate_limited"
    assert "0.2 s" in failed["error_message"]


def test_who_asks_for_too_much_patience_is_left_alone(provider, tmp_path, database, monkeypatch):
    path = configured(tmp_path, provider, ["limited", "wrong"], concurrency=1, longest_wait_seconds=0.1)
    probed = run(opened(path, database, monkeypatch))
    assert probed.asked is not None
    assert probed.asked.answered == 6
    assert sum(model == "limited" for model, _ in provider.seen) == 1
    assert sum(probed.asked.skipped.values()) == 6


@pytest.mark.parametrize(("model", "calls"), [("closed", 1), ("broken", 6)])
def test_a_candidate_that_fails_is_dropped_and_costs_nothing(provider, tmp_path, database, monkeypatch, model, calls):
    path = configured(tmp_path, provider, ["right", model], concurrency=1, tries=2)
    context = opened(path, database, monkeypatch)
    probed = run(context)
    assert probed.asked is not None
    assert probed.asked.answered == 6
    assert Counter(name for name, _ in provider.seen)[model] == calls
    assert probed.spent_usd == pytest.approx(6 * CALL)
    assert sum(probed.asked.skipped.values()) == 6
    logs.ingest(context, datetime.now(UTC))
    rows = context.lake.interactions()
    failed = rows[rows["status"] == "failure"]
    assert len(failed) == calls
    assert failed["error_message"].str.contains("127.0.0.1|moment|again|key").all()


def test_a_judge_grades_and_is_paid_and_its_calls_are_nobodys_answers(provider, tmp_path, database, monkeypatch):
    path = configured(tmp_path, provider, ["right", "wrong", "grader"], scoring="judge", judge="grader", requests=4)
    context = opened(path, database, monkeypatch, served=4)
    probed = run(context)
    assert probed.asked is not None
    assert probed.asked.scored == 12
    assert probed.spent_usd == pytest.approx(24 * CALL)
    grading = [text for model, text in provider.seen if model == "grader" and "<answer>" in text]
    assert len(grading) == 12
    assert not any(name in text for text in grading for name in ("right", "wrong") if f"is: {name}" in text)
    assert logs.ingest(context, datetime.now(UTC)).quarantined == 0
    rows = context.lake.interactions()
    assert (rows["purpose"] == "judge").sum() == 12
    table = history.table(context, datetime.now(UTC))
    assert len(table) == 4
    assert set(table.quality[:, table.candidates.index("wrong")].tolist()) == {0.2}
    assert recall(context.workspace.logs).spent[probed.plan.name] == pytest.approx(24 * CALL)


def test_a_judge_that_grades_nothing_ends_the_run_and_the_answers_wait_for_a_better_one(
    provider, tmp_path, database, monkeypatch
):
    models = ["right", "wrong", "mute-grader", "grader"]
    known = {"scoring": "judge", "requests": 4, "concurrency": 1}
    context = opened(
        configured(tmp_path, provider, models, judge="mute-grader", **known), database, monkeypatch, served=4
    )
    probed = run(context)
    assert probed.asked is not None
    assert probed.asked.stopped is not None
    assert "could not be scored" in probed.asked.stopped
    assert probed.asked.answered == 5
    waiting = context.workspace.root / "probes" / "unscored"
    assert len(list(waiting.glob("*.txt"))) == 5
    again = Context.open(load(configured(tmp_path, provider, models, judge="grader", **known)))
    probed = run(again)
    assert probed.resumed
    assert probed.asked is not None
    assert (probed.asked.answered, probed.asked.scored, probed.asked.stopped) == (11, 16, None)
    assert not list(waiting.glob("*"))


def test_a_function_of_the_users_scores(provider, tmp_path, database, monkeypatch):
    (tmp_path / "my_scores.py").write_text(
        "def half(request, answer, reference):\n    return 0.5 if request.text.endswith('?') and answer else 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path = configured(tmp_path, provider, ["right"], scoring="function", function="my_scores:half")
    context = opened(path, database, monkeypatch)
    probed = run(context)
    assert probed.asked is not None
    assert probed.asked.scored == 8, "a function needs no right answer"
    logs.ingest(context, datetime.now(UTC))
    assert set(context.lake.feedback()["value"].tolist()) == {0.5}


KILLED = """
import sys
from datetime import UTC, datetime
from pipelines.context import Context
from pipelines.probe import probe
from pipelines.settings import load
probe(Context.open(load(sys.argv[1])), datetime.now(UTC))
"""


def test_a_killed_run_goes_on_and_asks_nothing_twice_that_was_answered(provider, tmp_path, database, monkeypatch):
    provider.delay = SLOW
    path = configured(tmp_path, provider, ["right", "wrong"], requests=30, concurrency=2)
    context = opened(path, database, monkeypatch, served=40)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parents[2])
    until = time.monotonic() + 120
    while len(provider.seen) < 20:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2 * SLOW)
    provider.delay = 0.0
    before = recall(context.workspace.logs)
    assert 0 < len(before.answered) < 60
    probed = run(context)
    assert probed.resumed
    assert probed.asked is not None
    assert probed.asked.stopped is None
    assert probed.asked.recalled + probed.asked.scored == 60
    asked = Counter(provider.seen)
    # What was under way in two threads when the process died is asked again, and nothing else.
    assert sum(count - 1 for count in asked.values()) <= 2
    assert max(asked.values()) <= 2
    after = recall(context.workspace.logs)
    assert len(after.answered) == len(after.scored) == 60
    lost = len(provider.seen) - 60
    assert probed.spent_usd == pytest.approx(after.spent[probed.plan.name])
    # The lost calls count as the most that they could have cost.
    assert probed.spent_usd - lost * CALL >= 60 * CALL
    assert not list((context.workspace.root / "probes" / "unscored").glob("*.txt"))
    # Nobody ended the calls that were under way; an hour later the reader knows that nobody will.
    logs.ingest(context, datetime.now(UTC))
    table = history.table(context, datetime.now(UTC))
    assert np.isfinite(table.quality).all(axis=1).sum() == 30


def test_what_cannot_be_used_is_said(provider, tmp_path, database, monkeypatch):
    def refused(**section: Any) -> str:
        context = opened(configured(tmp_path, provider, ["right"], **section), database, monkeypatch, served=1)
        with pytest.raises(SettingsError) as error:
            run(context)
        return str(error.value)

    assert "not in the catalogue, which has right" in refused(scoring="judge", judge="nobody")
    assert "judge is not set: name one of the catalogue, which has right" in refused(scoring="judge")
    assert "expected module:function" in refused(scoring="function")
    assert "check the name" in refused(scoring="function", function="json:nothing")
    path = configured(tmp_path, provider, ["right"])
    path.write_text(path.read_text().replace("budget_usd = 100.0\n", ""))
    with pytest.raises(SettingsError, match="budget_usd is not set"):
        run(opened(path, database, monkeypatch, served=1))
    assert provider.seen == []


def test_a_purse_lends_what_it_has():
    purse = Purse(1.0, 0.4)
    assert purse.reserve(0.5)
    assert not purse.reserve(0.2)
    purse.settle(0.5, 0.1)
    assert purse.reserve(0.5)
    assert purse.left == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("said", "reference", "value"),
    [("Paris", "paris", 1), (" **Paris**.\n", "Paris", 1), ("It is Paris", "Paris", 0), ("-4", "4", 0),
     ("B", ["A", "B"], 1), ("4.0", 4.0, 1), ("", "x", 0)],
)  # fmt: skip
def test_exact_match(said, reference, value):
    assert exact(said, reference) == value


def test_a_judges_reply():
    assert judged("First I thought SCORE: 3, but SCORE: 10") == 1.0
    assert judged("**Score:** 7/10") == 0.7
    for said in ("", "SCORE: 11", "ten out of ten"):
        with pytest.raises(Unscored, match="no score"):
            judged(said)


def test_the_bound_holds_for_what_providers_count():
    candidate = Candidate("a", price=Price(1.0, 4.0, cache_write_per_mtok=1.25, reasoning_per_mtok=9.0))
    messages = [{"role": "user", "content": "Grüße, 世界 " * 20}]
    bound = most(candidate, messages, 100)
    assert bound is not None
    worst = len(messages[0]["content"].encode())
    usage = {"prompt_tokens": worst, "completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 100}}
    cost = paid(candidate, usage)
    assert cost is not None
    assert cost < bound
    assert most(candidate, [{"role": "user", "content": [{"type": "image_url"}]}], 100) is None
    assert most(Candidate("free"), messages, 100) is None
    assert paid(candidate, None) is None
