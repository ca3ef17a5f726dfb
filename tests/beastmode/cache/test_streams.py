"""Streams through the cache."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from beastmode import Journal
from beastmode.cache import Cache, CacheSettings, Entry, Memory, Miss, Sqlite
from beastmode.errors import CacheError
from tests.beastmode.cache.parts import Dial

CHUNKS = ["one ", {"delta": "two"}, b"three"]


class Talker:
    def __init__(self) -> None:
        self.calls = 0
        self.closed = 0

    def __call__(self, miss: Miss) -> Iterator[object]:
        self.calls += 1
        try:
            yield from CHUNKS
        finally:
            self.closed += 1


def test_a_stream_is_passed_on_and_played_again() -> None:
    cache, talker = Cache([Memory()]), Talker()
    for tier in (None, "memory"):
        with cache.stream("q", talker, model="m") as stream:
            assert list(stream) == CHUNKS
            assert stream.answer is not None
            assert stream.answer.tier == tier
    assert talker.calls == 1


def test_a_chunk_arrives_before_the_next_is_made() -> None:
    seen: list[str] = []

    def fill(miss: Miss) -> Iterator[str]:
        for word in ("a", "b"):
            seen.append(f"made {word}")
            yield word

    with Cache([Memory()]).stream("q", fill, model="m") as stream:
        for word in stream:
            seen.append(f"got {word}")
    assert seen == ["made a", "got a", "made b", "got b"]


def test_a_stream_left_early_or_broken_is_not_held_and_blocks_nobody(tmp_path: Path) -> None:
    talker = Talker()

    def breaks(miss: Miss) -> Iterator[str]:
        yield "a"
        raise ValueError("broken")

    with Cache([Memory(), Sqlite(tmp_path / "c.sqlite")], CacheSettings(wait_seconds=1)) as cache:
        with cache.stream("q", talker, model="m") as stream:
            next(iter(stream))
        assert talker.closed == 1
        with pytest.raises(ValueError, match="broken"), cache.stream("q", breaks, model="m") as stream:
            list(stream)
        with pytest.raises(ZeroDivisionError):
            _stumble(cache, talker)
        assert cache.get("q", model="m") is None
        with cache.stream("q", talker, model="m") as stream:
            assert list(stream) == CHUNKS
        assert talker.calls == 3


def _stumble(cache: Cache, talker: Talker) -> None:
    with cache.stream("q", talker, model="m") as stream:
        for _ in stream:
            raise ZeroDivisionError


def test_the_consumer_s_changes_stay_its_own() -> None:
    cache, talker = Cache([Memory()]), Talker()
    changed: dict[str, object] = {"delta": "two"}
    with cache.stream("q", lambda miss: iter([changed]), model="m") as stream:
        for chunk in stream:
            chunk["delta"] = "mine"
    with cache.stream("q", talker, model="m") as stream:
        assert list(stream) == [{"delta": "two"}]


def test_a_stream_that_is_too_long_passes_and_is_not_held() -> None:
    cache = Cache([Memory()], CacheSettings(max_entry_bytes=10))
    with cache.stream("q", lambda miss: iter(["x" * 6] * 3), model="m") as stream:
        assert len(list(stream)) == 3
    assert cache.get("q", model="m") is None


def test_a_whole_answer_is_one_chunk_and_a_stream_fetched_is_the_list_of_its_own() -> None:
    cache, talker = Cache([Memory()]), Talker()
    cache.put("whole", {"a": 1}, model="m")
    with cache.stream("whole", talker, model="m") as stream:
        assert list(stream) == [{"a": 1}]
    with cache.stream("q", talker, model="m") as stream:
        list(stream)
    assert cache.fetch("q", lambda miss: None, model="m").value == CHUNKS


def test_many_readers_make_one_stream() -> None:
    cache, talker = Cache([Memory()]), Talker()
    go = threading.Event()
    got: list[list[object]] = []

    def slow(miss: Miss) -> Iterator[object]:
        go.wait(5)
        yield from talker(miss)

    def read() -> None:
        with cache.stream("q", slow, model="m") as stream:
            got.append(list(stream))

    threads = [threading.Thread(target=read) for _ in range(50)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert got == [CHUNKS] * 50
    assert talker.calls == 1


def test_one_that_was_not_entered_says_so() -> None:
    with pytest.raises(CacheError, match="not entered"):
        list(Cache([Memory()]).stream("q", Talker(), model="m"))


def test_event_loops_have_the_same() -> None:
    calls = 0

    async def fill(miss: Miss) -> AsyncIterator[object]:
        nonlocal calls
        calls += 1
        for chunk in CHUNKS:
            await asyncio.sleep(0)
            yield chunk

    async def main() -> list[object]:
        cache = Cache([Memory()])
        got: list[object] = []
        async with cache.astream("q", fill, model="m") as stream:
            async for _ in stream:
                break
        for _ in range(2):
            async with cache.astream("q", fill, model="m") as stream:
                got.append([chunk async for chunk in stream])
        return got

    assert asyncio.run(main()) == [CHUNKS, CHUNKS]
    assert calls == 2


@pytest.mark.parametrize("loop", [False, True], ids=["threads", "event loop"])
def test_a_stale_stream_is_played_while_one_caller_fetches_a_new_one(dial: Dial, tmp_path: Path, loop: bool) -> None:
    calls, done = 0, threading.Event()

    def talk(miss: Miss) -> Iterator[str]:
        nonlocal calls
        calls += 1
        yield from ("call ", f"{calls}")

    async def atalk(miss: Miss) -> AsyncIterator[str]:
        for chunk in talk(miss):
            yield chunk

    async def play(cache: Cache) -> list[object]:
        async with cache.astream("q", atalk, model="m") as stream:
            played = [chunk async for chunk in stream]
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        return played

    class Told(Memory):
        def put(self, entry: Entry) -> Sequence[Entry]:
            gone = super().put(entry)
            done.set()
            return gone

    def read() -> list[object]:
        if loop:
            return asyncio.run(play(cache))
        with cache.stream("q", talk, model="m") as stream:
            return list(stream)

    settings = CacheSettings(ttl_seconds=10, jitter=0, stale_seconds=100)
    with Journal(tmp_path) as journal:
        cache = Cache([Told()], settings, journal=journal, **dial.clocks())
        assert read() == ["call ", "1"]
        dial.pass_(20)
        done.clear()
        assert read() == ["call ", "1"], "stale"
        assert done.wait(5)
        assert read() == ["call ", "2"]
    lines = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    (warm,) = [line["decision_id"] for line in lines if line.get("purpose") == "warm"]
    (end,) = [line for line in lines if line["kind"] == "end" and line["decision_id"] == warm]
    assert end["ttft_ms"] >= 0
