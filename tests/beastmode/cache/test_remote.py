"""The Redis tier, against a real server that dies and comes back."""

import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from beastmode.cache import Cache, CacheSettings, Memory, Redis
from beastmode.errors import CacheError
from benchmarks.redis_server import RedisServer
from tests.beastmode.cache.parts import Model
from tests.beastmode.cache.test_entry import entry


def test_entries_leases_and_expiry_are_the_server_s(server: RedisServer) -> None:
    one, other = Redis(server.url), Redis(server.url)
    one.put(entry({"a": 1}, made=0.0, fresh_until=0.2, stale_until=0.2))
    found = other.get(b"k" * 32)
    assert found is not None
    assert found.value == {"a": 1}
    time.sleep(0.3)
    assert other.get(b"k" * 32) is None
    assert one.lease(b"k", "a", 0.2, 0.0)
    assert not other.lease(b"k", "b", 0.2, 0.0)
    other.release(b"k", "b")
    assert not other.lease(b"k", "b", 0.2, 0.0)
    one.release(b"k", "a")
    assert other.lease(b"k", "b", 0.2, 0.0)
    time.sleep(0.3)
    assert one.lease(b"k", "a", 0.2, 0.0)
    one.close()
    other.close()


def test_bytes_that_were_not_written_here_are_a_miss_and_go(server: RedisServer) -> None:
    import redis

    tier = Redis(server.url)
    tier.put(entry(key=b"a" * 32))
    with redis.Redis(port=server.port) as client:
        stolen = client.get(b"beastmode:e:" + b"a" * 32)
        client.set(b"beastmode:e:" + b"b" * 32, stolen)
        assert tier.get(b"b" * 32) is None
        assert client.exists(b"beastmode:e:" + b"b" * 32) == 0
    tier.close()


def test_a_restart_begins_another_life_in_which_no_count_of_the_last_one_holds(
    server: RedisServer, model: Model
) -> None:
    model.tags = ("docs",)
    with Cache([Memory(), Redis(server.url)], CacheSettings(tag_lag_seconds=0)) as cache:
        cache.fetch("q", model, model="m")
        assert cache.get("q", model="m") is not None
        server.kill()
        assert cache.get("q", model="m") is None, "what cannot be checked is not served"
        with pytest.raises(CacheError, match="tag 'docs' is not invalidated: tier redis is down"):
            cache.invalidate(tag="docs")
        server.start()
        _until_up(cache)
        assert cache.get("q", model="m") is None
        cache.fetch("q", model, model="m")
        assert cache.get("q", model="m") is not None
        cache.invalidate(tag="docs")
        assert cache.get("q", model="m") is None


def _until_up(cache: Cache) -> None:
    for _ in range(600):
        cache.get("anybody there?", model="m")
        if cache.health()[1].up:
            return
        time.sleep(0.02)
    raise AssertionError(cache.health())


def test_killed_and_restarted_under_load_no_request_is_lost_and_none_is_answered_wrongly(server: RedisServer) -> None:
    wrong: list[str] = []
    served = 0
    stop = threading.Event()
    lock = threading.Lock()

    def work(cache: Cache, seed: int) -> None:
        nonlocal served
        number = seed
        while not stop.is_set():
            number = (number * 31 + 7) % 400
            text = f"question {number}"
            try:
                value = cache.fetch(text, lambda miss: f"answer to {miss.request.text}", model="m").value
            except Exception as error:
                value = repr(error)
            with lock:
                served += 1
                if value != f"answer to {text}":
                    wrong.append(value)

    # The memory is small, so that the second tier works.
    caches = [Cache([Memory(20_000), Redis(server.url)]) for _ in range(2)]
    threads = [threading.Thread(target=work, args=(caches[seed % 2], seed)) for seed in range(6)]
    for thread in threads:
        thread.start()
    states = []
    for act in (None, server.kill, server.start, server.kill, server.start):
        if act is not None:
            act()
        before = served
        time.sleep(1.2)
        states.append((served - before, caches[0].health()[1].up))
    stop.set()
    for thread in threads:
        thread.join()
    for cache in caches:
        _until_up(cache)
        assert cache.health()[1].failures > 0
        cache.close()
    assert wrong == []
    assert min(count for count, _ in states) > 20, states
    assert [up for _, up in states][:2] == [True, False]


def test_a_server_that_was_never_there_is_done_without(tmp_path: Path, model: Model) -> None:
    with Cache([Memory(), Redis("redis://127.0.0.1:1/0")]) as cache:
        assert cache.fetch("q", model, model="m").value == "q #1"
        assert cache.fetch("q", model, model="m").tier == "memory"
        assert not cache.health()[1].up
        assert "Connection" in str(cache.health()[1].last_error)


def test_a_cluster_serves_as_a_single_server_does(cluster: RedisServer, model: Model) -> None:
    def make() -> Cache:
        tier = Redis(cluster.url, cluster=True, timeout=2)
        return Cache([Memory(), tier], CacheSettings(tag_lag_seconds=0))

    model.tags = ("docs", "prices")
    with make() as one, make() as other:
        for number in range(30):
            one.fetch(f"{number}", model, model="m")
        assert {other.fetch(f"{number}", model, model="m").tier for number in range(30)} == {"redis"}
        one.invalidate(tag="prices")
        assert other.get("3", model="m") is None
        assert one.health()[1].up
        assert other.health()[1].up
        assert one.health()[1].failures == 0, one.health()
    assert len(model.calls) == 30


def _child(tier: Redis, results: Any) -> None:
    for number in range(50):
        tier.put(entry(f"child {number}", key=b"c" * 32, **LONG))
        found = tier.get(b"c" * 32)
        results.put(found is not None and found.value == f"child {number}")


LONG = {"made": 0.0, "fresh_until": 1e9, "stale_until": 1e9}


def test_parent_and_forked_child_never_read_each_other_s_answers(server: RedisServer) -> None:
    context = multiprocessing.get_context("fork")
    tier, results = Redis(server.url), context.Queue()
    tier.put(entry("parent", key=b"p" * 32, **LONG))
    child = context.Process(target=_child, args=(tier, results))
    child.start()
    for _ in range(50):
        found = tier.get(b"p" * 32)
        assert found is not None
        assert found.value == "parent"
    assert all(results.get(timeout=20) for _ in range(50))
    child.join()
    tier.close()


class Stop(BaseException):
    """As a signal or an event loop raises it, anywhere."""


def test_who_is_stopped_between_question_and_answer_leaves_the_answer_to_nobody(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.connection import Connection

    def stopped(*_: Any, **__: Any) -> Any:
        raise Stop

    tier = Redis(server.url)
    keys = [bytes([number]) * 32 for number in range(2)]
    for key in keys:
        tier.put(entry(key.hex(), key=key))
    with monkeypatch.context() as here:
        here.setattr(Connection, "read_response", stopped)
        with pytest.raises(Stop):
            tier.get(keys[0])
    for key in keys:
        found = tier.get(key)
        assert found is not None
        assert found.value == key.hex()
    tier.close()
