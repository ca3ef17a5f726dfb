"""The cache as an application uses it."""

import json
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beastmode import Journal, Request, Router
from beastmode.cache import Cache, CachedFailure, CacheSettings, Memory, Miss, Question, Sqlite
from beastmode.errors import CacheError
from tests.beastmode.cache.parts import Dial, Model

CALM = CacheSettings(ttl_seconds=100, jitter=0)


def test_an_answer_is_asked_for_once_and_says_where_it_comes_from(model: Model) -> None:
    cache = Cache([Memory()])
    first = cache.fetch("2+2?", model, model="m")
    again = cache.fetch("2+2?", model, model="m")
    assert (first.value, first.tier, first.hit) == ("2+2? #1", None, False)
    assert (again.value, again.tier, again.hit, again.stale) == ("2+2? #1", "memory", True, False)
    assert cache.fetch("2+2?", model, model="m", tenant="acme").value == "2+2? #2"
    assert cache.get("3+3?", model="m") is None


def test_a_lower_tier_s_answer_moves_up(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "cache.sqlite"
    with Cache([Memory(), Sqlite(path)]) as one, Cache([Memory(), Sqlite(path)]) as other:
        one.fetch("q", model, model="m")
        assert [other.fetch("q", model, model="m").tier for _ in range(2)] == ["sqlite", "memory"]
    assert model.calls == ["q"]


def test_what_the_memory_used_and_evicts_the_tier_below_keeps(tmp_path: Path) -> None:
    small = Sqlite(tmp_path / "cache.sqlite", max_bytes=200_000)
    with Cache([Memory(20_000), small]) as cache:
        hot = cache.question("hot", model="m")
        cache.put(hot, "h" * 3000)
        for number in range(200):
            cache.put(f"{number}", "x" * 3000, model="m")
            assert cache.get(hot) is not None, number


def test_answers_die_in_time_and_not_all_at_once(dial: Dial, model: Model) -> None:
    cache = Cache([Memory()], CacheSettings(ttl_seconds=100, jitter=0.5), seed=0, **dial.clocks())
    for number in range(200):
        cache.put(str(number), "x", model="m")
    alive = []
    for _ in range(5):
        alive.append(sum(cache.get(str(number), model="m") is not None for number in range(200)))
        dial.pass_(25)
    assert alive[:3] == [200, 200, 200]
    assert alive[4] == 0
    assert 60 < alive[3] < 140


def test_a_stale_answer_is_served_while_one_caller_fetches_a_new_one(dial: Dial, model: Model) -> None:
    cache = Cache([Memory()], CacheSettings(ttl_seconds=100, jitter=0, stale_seconds=50), **dial.clocks())
    cache.fetch("q", model, model="m")
    dial.pass_(120)
    old = cache.fetch("q", model, model="m")
    assert (old.value, old.stale, old.age_seconds) == ("q #1", True, 120)
    _join("beastmode-cache-refresh")
    new = cache.fetch("q", model, model="m")
    assert (new.value, new.stale) == ("q #2", False)
    dial.pass_(160)
    assert cache.get("q", model="m") is None


def test_a_refresh_that_fails_leaves_the_stale_answer_in_its_place(dial: Dial, model: Model) -> None:
    cache = Cache([Memory()], CacheSettings(ttl_seconds=100, jitter=0, stale_seconds=50), **dial.clocks())
    cache.fetch("q", model, model="m")
    dial.pass_(120)
    model.error = ConnectionRefusedError("down")
    for _ in range(3):
        assert cache.fetch("q", model, model="m").value == "q #1"
        _join("beastmode-cache-refresh")
    assert len(model.calls) == 4


def _join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join()


def test_a_refusal_answers_for_the_provider_for_a_moment(dial: Dial, model: Model) -> None:
    cache = Cache([Memory()], CacheSettings(error_seconds=2), **dial.clocks())
    model.error = TimeoutError("read")
    with pytest.raises(TimeoutError):
        cache.fetch("q", model, model="m")
    dial.pass_(1)
    with pytest.raises(CachedFailure, match=r"provider_timeout, 1\.0 s ago \(memory\): TimeoutError: read") as caught:
        cache.fetch("q", model, model="m")
    assert caught.value.error_type == "provider_timeout"
    assert cache.get("q", model="m") is None
    dial.pass_(1.5)
    model.error = None
    assert cache.fetch("q", model, model="m").value == "q #2"


def test_a_defect_of_the_application_is_not_held(model: Model) -> None:
    cache = Cache([Memory()])
    model.error = KeyError("mine")
    for _ in range(2):
        with pytest.raises(KeyError):
            cache.fetch("q", model, model="m")
    assert len(model.calls) == 2


def test_what_cannot_be_held_is_passed_on(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache([Memory()], CacheSettings(max_entry_bytes=100))
    thing = object()
    assert cache.fetch("q", lambda miss: thing, model="m").value is thing
    assert cache.fetch("r", lambda miss: "x" * 200, model="m").value == "x" * 200
    assert "plain JSON data" in caplog.text
    assert "max_entry_bytes = 100" in caplog.text
    assert cache.get("q", model="m") is None
    with pytest.raises(CacheError, match="plain JSON data"):
        cache.put("q", thing, model="m")


def test_a_fill_may_ask_that_nothing_is_held_or_for_another_time(dial: Dial) -> None:
    cache = Cache([Memory()], CALM, **dial.clocks())

    def skipping(miss: Miss) -> str:
        miss.skip()
        return "a"

    def brief(miss: Miss) -> str:
        miss.live(10)
        return "b"

    cache.fetch("q", skipping, model="m")
    cache.fetch("r", brief, model="m")
    assert cache.get("q", model="m") is None
    assert cache.get("r", model="m") is not None
    dial.pass_(11)
    assert cache.get("r", model="m") is None


@pytest.mark.parametrize("shared", [False, True])
def test_an_invalidated_source_takes_its_answers_along(tmp_path: Path, dial: Dial, model: Model, shared: bool) -> None:
    def make() -> Cache:
        tiers = [Memory(), Sqlite(tmp_path / "cache.sqlite")] if shared else [Memory()]
        return Cache(tiers, CALM, **dial.clocks())

    model.tags = ("prices", "docs")
    with make() as cache, make() as elsewhere:
        cache.fetch("tagged", model, model="m")
        cache.put("free", "x", model="m")
        if shared:
            assert elsewhere.fetch("tagged", model, model="m").value == "tagged #1"
        cache.invalidate(tag="prices")
        assert cache.get("tagged", model="m") is None
        assert cache.get("free", model="m") is not None
        dial.pass_(1.5)
        assert elsewhere.get("tagged", model="m") is None
        assert cache.fetch("tagged", model, model="m").value == "tagged #2"
        cache.invalidate(tag="another")
        assert cache.fetch("tagged", model, model="m").value == "tagged #2"


def test_an_invalidation_during_the_fill_counts(tmp_path: Path) -> None:
    with Cache([Memory(), Sqlite(tmp_path / "cache.sqlite")]) as cache:

        def fill(miss: Miss) -> str:
            miss.tag("docs")
            cache.invalidate(tag="docs")
            return "made of what was there before"

        assert cache.fetch("q", fill, model="m").value == "made of what was there before"
        assert cache.get("q", model="m") is None


def test_a_new_epoch_leaves_the_old_answers_behind(model: Model) -> None:
    cache = Cache([Memory()])
    values = [cache.fetch("q", model, model="m", epochs={"docs": epoch}).value for epoch in (1, 1, 2, 1)]
    assert values == ["q #1", "q #1", "q #2", "q #1"]


@pytest.mark.parametrize("jump", [-86_400.0, -40.0, 40.0, 86_400.0])
def test_a_clock_that_jumps_makes_no_answer_outlive_its_time(
    tmp_path: Path, dial: Dial, model: Model, jump: float
) -> None:
    with Cache([Memory(), Sqlite(tmp_path / "cache.sqlite")], CALM, **dial.clocks()) as cache:
        for number in range(40):
            dial.pass_(5)
            if number == 10:
                dial.wall += jump
            if number == 20:
                dial.wall -= jump
            answer = cache.fetch("q", model, model="m")
            made = dial.steady - 1_000.0
            if not answer.hit:
                last = made
            assert made - last < 100
            assert answer.value == f"q #{len(model.calls)}"
        assert 2 <= len(model.calls) <= 5


def test_a_thousand_threads_make_one_call(model: Model) -> None:
    model.seconds = 0.2
    cache = Cache([Memory()])
    values: list[Any] = []
    threads = [
        threading.Thread(target=lambda: values.append(cache.fetch("q", model, model="m").value)) for _ in range(1000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == ["q #1"] * 1000
    assert model.calls == ["q"]


def test_a_thousand_tasks_make_one_call(tmp_path: Path) -> None:
    import asyncio

    calls = []

    async def fill(miss: Miss) -> str:
        calls.append(miss.request.text)
        await asyncio.sleep(0.1)
        return "a"

    async def ask(cache: Cache) -> list[Any]:
        leader = asyncio.ensure_future(cache.afetch("q", fill, model="m"))
        await asyncio.sleep(0.05)
        others = [asyncio.ensure_future(cache.afetch("q", fill, model="m")) for _ in range(999)]
        await asyncio.sleep(0.01)
        others[0].cancel()
        answers = await asyncio.gather(leader, *others, return_exceptions=True)
        return [answer if isinstance(answer, BaseException) else answer.value for answer in answers]

    with Cache([Memory(), Sqlite(tmp_path / "cache.sqlite")]) as cache:
        values = asyncio.run(ask(cache))
    assert values.count("a") == 999
    assert isinstance(values[1], asyncio.CancelledError)
    assert calls == ["q"]


def test_what_is_at_hand_costs_an_event_loop_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    async def ask(cache: Cache) -> None:
        first = await cache.afetch("q", lambda miss: "a", model="m")
        assert not first.hit
        monkeypatch.setattr(asyncio, "to_thread", None)
        assert (await cache.afetch("q", lambda miss: "b", model="m")).tier == "memory"

    with Cache([Memory(), Sqlite(tmp_path / "cache.sqlite")]) as cache:
        asyncio.run(ask(cache))


def test_a_cancelled_leader_leaves_the_key_to_the_next(tmp_path: Path) -> None:
    import asyncio

    calls = []

    async def fill(miss: Miss) -> str:
        calls.append(1)
        await asyncio.sleep(0.3 if len(calls) == 1 else 0)
        return f"{len(calls)}"

    async def ask(cache: Cache) -> str:
        leader = asyncio.ensure_future(cache.afetch("q", fill, model="m"))
        await asyncio.sleep(0.1)
        follower = asyncio.ensure_future(cache.afetch("q", fill, model="m"))
        await asyncio.sleep(0.05)
        leader.cancel()
        return str((await follower).value)

    with Cache([Memory(), Sqlite(tmp_path / "cache.sqlite")]) as cache:
        assert asyncio.run(ask(cache)) == "2"


def _ask(path: Path, url: str | None, log: Path, barrier: Any) -> None:
    from beastmode.cache import Redis

    def fill(miss: Miss) -> str:
        with log.open("a") as written:
            written.write("x")
        threading.Event().wait(0.4)
        return "a"

    second = Sqlite(path) if url is None else Redis(url, timeout=5)
    with Cache([Memory(), second]) as cache:
        barrier.wait()
        threads = [threading.Thread(target=lambda: cache.fetch("q", fill, model="m")) for _ in range(125)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert cache.fetch("q", fill, model="m").value == "a"


@pytest.mark.parametrize("second", ["sqlite", "redis"])
def test_eight_processes_of_125_threads_make_one_call(
    tmp_path: Path, second: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("server").url if second == "redis" else None
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(8)
    arguments = (tmp_path / "cache.sqlite", url, tmp_path / "calls", barrier)
    children = [context.Process(target=_ask, args=arguments) for _ in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 8
    assert (tmp_path / "calls").read_text() == "x"


def test_a_forked_child_asks_for_itself_what_its_parent_is_asking(model: Model) -> None:
    cache = Cache([Memory()])
    begun, go = threading.Event(), threading.Event()

    def slow(miss: Miss) -> str:
        begun.set()
        go.wait(10)
        return "parent"

    thread = threading.Thread(target=lambda: cache.fetch("q", slow, model="m"))
    thread.start()
    begun.wait()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=lambda: results.put(cache.fetch("q", model, model="m").value))
    child.start()
    assert results.get(timeout=20) == "q #1"
    child.join()
    go.set()
    thread.join()


def test_whoever_waits_too_long_asks_all_the_same(model: Model) -> None:
    cache = Cache([Memory()], CacheSettings(wait_seconds=0.1))
    begun, go = threading.Event(), threading.Event()

    def stuck(miss: Miss) -> str:
        begun.set()
        go.wait(10)
        return "late"

    thread = threading.Thread(target=lambda: cache.fetch("q", stuck, model="m"))
    thread.start()
    begun.wait()
    assert cache.fetch("q", model, model="m").value == "q #1"
    go.set()
    thread.join()


def test_refresh_asks_in_any_case(model: Model) -> None:
    cache = Cache([Memory()])
    values = [cache.fetch("q", model, model="m", refresh=refresh).value for refresh in (False, True, False)]
    assert values == ["q #1", "q #2", "q #2"]


def test_a_question_made_once_is_as_good_as_its_request(model: Model) -> None:
    cache = Cache([Memory()])
    question = cache.question("q", model="m", parameters={"temperature": 0})
    assert cache.fetch(question, model).value == "q #1"
    assert cache.fetch("q", model, model="m", parameters={"temperature": 0}).hit
    assert cache.get(Question(question.partition, "q")) is not None
    cache.remove(question)
    assert cache.get(question) is None
    with pytest.raises(CacheError, match="leave out tenant"):
        cache.fetch(question, model, tenant="acme")


def test_a_request_s_fields_can_be_named_beside_it(model: Model) -> None:
    cache = Cache([Memory()])
    asked = cache.question(Request.of("q"), tenant="acme", model="m")
    assert asked.partition.tenant == "acme"


def test_what_is_set_up_wrongly_is_said() -> None:
    with pytest.raises(CacheError, match="tiers none"):
        Cache([])
    with pytest.raises(CacheError, match="model is missing"):
        Cache([Memory()]).get("q")
    with pytest.raises(CacheError, match="ttl_seconds = -1"):
        CacheSettings(ttl_seconds=-1)
    with pytest.raises(CacheError, match="jitter = 1"):
        CacheSettings(jitter=1)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(path.glob("*.jsonl")) for line in file.read_text().splitlines()]


def test_router_and_journal_take_part(tmp_path: Path, make_bundle: Callable[..., Any]) -> None:
    router = Router(make_bundle(), seed=0)
    with Journal(tmp_path / "log") as journal:
        cache = Cache([Memory()], router=router, journal=journal)

        def fill(miss: Miss) -> str:
            miss.attempt.tokens(input=1000, output=500)
            return miss.decision.candidate

        first = cache.fetch("q", fill)
        again = cache.fetch("q", fill)
    assert first.decision is not None
    assert first.value == first.decision.candidate
    price = next(each.price for each in router.bundle.candidates if each.name == first.value)
    assert first.cost_usd == price.cost_usd(1000, 500)
    assert (again.cost_usd, again.saved_usd, again.model) == (0.0, first.cost_usd, first.value)
    begin, end, cached, served = lines(tmp_path / "log")
    assert begin["propensity"] == first.decision.propensity
    assert end["status"] == "success"
    assert "cache_tier" not in end
    assert (cached["plan"], cached["policy"], cached["propensity_source"]) == ("cache", "cache", "unknown")
    assert "propensity" not in cached
    assert (served["cache_tier"], served["cost_usd"], served["cost_source"]) == ("memory", 0.0, "cache")


def test_the_lake_reads_cached_rows_and_no_candidate_is_judged_by_them(
    tmp_path: Path, make_bundle: Callable[..., Any], model: Model
) -> None:
    import io
    from datetime import UTC, datetime, timedelta

    from features.formats import FORMATS
    from features.formats.events import Row, Source

    with Journal(tmp_path / "log") as journal:
        cache = Cache([Memory()], router=Router(make_bundle(), seed=0), journal=journal)
        for _ in range(3):
            cache.fetch("q", model)
        model.error = ConnectionRefusedError("no")
        for expected in (ConnectionRefusedError, CachedFailure):
            with pytest.raises(expected):
                cache.fetch("r", model)
    (file,) = (tmp_path / "log").glob("*.jsonl")
    source = Source(deployment="app", at=datetime.now(UTC) + timedelta(hours=1))
    events = list(FORMATS["journal"].read(io.BytesIO(file.read_bytes()), source))
    rows = [event.interaction for event in events if isinstance(event, Row)]
    assert len(rows) == len(events) == 5
    assert [row.cache_tier for row in rows] == [None, "memory", "memory", None, "memory"]
    assert [row.cost_usd for row in rows][1:3] == [0.0, 0.0]
    assert [row.propensity is None for row in rows] == [False, True, True, False, True]
    assert rows[4].error_type == "provider_connection_refused"
    assert rows[4].status == "failure"
    assert rows[1].latency_ms is not None


def test_an_answer_that_may_no_longer_be_true_competes_with_the_candidates(
    dial: Dial, make_bundle: Callable[..., Any], model: Model
) -> None:
    settings = CacheSettings(ttl_seconds=10_000, jitter=0, half_life_seconds=1000)
    cache = Cache([Memory()], settings, router=Router(make_bundle(), 0), **dial.clocks())
    cache.fetch("q", model)
    dial.pass_(1)
    young = cache.fetch("q", model)
    assert young.hit
    assert young.decision is not None
    assert ">=" in young.decision.reason
    dial.pass_(5000)
    old = cache.fetch("q", model)
    assert (old.hit, old.value) == (False, "q #2")
    assert cache.fetch("q", model).hit
