"""One answer that is removed: in every tier at once, and in the memories of other processes within the lag."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from beastmode.cache import Cache, CacheSettings, Memory, Redis, Sqlite
from beastmode.cache import tiers as promises
from beastmode.cache.layers import Layers
from beastmode.cache.tiers import Unavailable
from beastmode.errors import CacheError
from benchmarks.redis_server import RedisServer
from tests.beastmode.cache.parts import Dial
from tests.beastmode.cache.test_entry import entry

LAG = 0.3


def value(cache: Cache, text: str) -> Any:
    """What is served, None for nothing."""
    found = cache.get(text, model="m")
    return None if found is None else found.value


def tier_of(cache: Cache, text: str) -> str | None:
    found = cache.get(text, model="m")
    return None if found is None else found.tier


def pair(path: Path, dial: Dial, lag: float = 5.0, first: Sqlite | None = None) -> tuple[Cache, Cache]:
    """Two caches as two processes have them, at one file."""
    one, other = (
        Cache(
            [Memory(), tier], CacheSettings(tag_lag_seconds=lag), wall=lambda: dial.wall, monotonic=lambda: dial.steady
        )
        for tier in (Sqlite(path), first or Sqlite(path))
    )
    return one, other


Make = Callable[[], Any]


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """What makes a tier that processes share."""
    if request.param == "sqlite":
        return lambda: Sqlite(tmp_path / "cache.sqlite")
    server: RedisServer = request.getfixturevalue("server" if request.param == "redis" else "cluster")
    return lambda: Redis(server.url, cluster=request.param == "cluster")


def _serve(make: Make, told: Any, asked: Any) -> None:
    """Hold two answers in a memory of this process, and tell how long one is served after it was removed elsewhere."""
    with Cache([Memory(), make()], CacheSettings(tag_lag_seconds=LAG)) as cache:
        for _ in range(2):
            tiers = tier_of(cache, "q"), tier_of(cache, "r")
        told.put(tiers)
        removed = asked.get(timeout=30)
        while cache.get("q", model="m") is not None:
            if time.time() - removed > 10:
                break
            time.sleep(0.002)
        told.put((time.time() - removed, tier_of(cache, "r")))


def test_the_memory_of_another_process_forgets_it_within_the_lag_and_nothing_else(shared: Make) -> None:
    context = multiprocessing.get_context("fork")
    told, asked = context.Queue(), context.Queue()
    with Cache([Memory(), shared()], CacheSettings(tag_lag_seconds=LAG)) as cache:
        cache.put("q", "an old answer", model="m")
        cache.put("r", "another", model="m")
        child = context.Process(target=_serve, args=(shared, told, asked))
        child.start()
        assert told.get(timeout=30) == ("memory", "memory")
        cache.remove("q", model="m")
        asked.put(time.time())
        assert cache.get("q", model="m") is None
        late, other = told.get(timeout=30)
        child.join(timeout=30)
        assert late < LAG + 1.0, "the machine may be slow; ten seconds would be for ever"
        assert other == "memory"
        cache.put("q", "a new answer", model="m")
        assert value(cache, "q") == "a new answer"


def test_until_the_lag_is_over_a_copy_is_served_and_not_a_moment_longer(tmp_path: Path, dial: Dial) -> None:
    one, other = pair(tmp_path / "c.sqlite", dial)
    with one, other:
        one.put("q", "x", model="m")
        assert tier_of(other, "q") == "sqlite"
        one.remove("q", model="m")
        dial.pass_(4.9)
        assert tier_of(other, "q") == "memory"
        dial.pass_(0.1)
        assert other.get("q", model="m") is None


def test_what_was_put_after_a_removal_stays(tmp_path: Path, dial: Dial) -> None:
    one, other = pair(tmp_path / "c.sqlite", dial)
    with one, other:
        one.put("q", "old", model="m")
        assert value(other, "q") == "old"
        one.remove("q", model="m")
        one.put("q", "new", model="m")
        dial.pass_(5)
        assert [value(other, "q") for _ in range(2)] == ["new", "new"]
        assert tier_of(one, "q") == "memory"


def test_a_tier_tells_what_was_recalled_since_and_says_when_it_no_longer_knows(
    shared: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite", "remote"):
        monkeypatch.setattr(f"beastmode.cache.{module}.RECALLS", 5)
    tier = shared()
    begin, keys = tier.recalled(None)
    assert (begin, list(keys)) == (0, [])
    for name in (b"a", b"b", b"c"):
        tier.put(entry(key=name * 32))
        tier.recall(name * 32)
    assert tier.get(b"a" * 32) is None
    count, keys = tier.recalled(begin)
    assert sorted(keys) == [b"a" * 32, b"b" * 32, b"c" * 32]
    assert list(tier.recalled(count)[1]) == []
    tier.recall(b"d" * 32)
    assert tier.recalled(count)[1] == [b"d" * 32]
    for number in range(6):
        tier.recall(bytes([number]) * 32)
    assert tier.recalled(count)[1] is None
    latest, keys = tier.recalled(None)
    assert (latest > count, list(keys)) == (True, [])
    # One that lost its memory counts anew, and names nothing that was not removed.
    assert list(tier.recalled(latest + 100)[1]) == []
    tier.close()


def test_who_has_missed_more_than_is_remembered_forgets_everything(
    tmp_path: Path, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beastmode.cache.sqlite.RECALLS", 3)
    assert promises.RECALLS > 3
    path = tmp_path / "c.sqlite"
    one, other = pair(path, dial, 2)
    with one, other:
        for number in range(6):
            one.put(str(number), "x", model="m")
            other.get(str(number), model="m")
        for number in range(5):
            one.remove(str(number), model="m")
        dial.pass_(2)
        assert [number for number in range(6) if other.get(str(number), model="m")] == [5]


def test_while_the_shared_tier_is_down_nobody_is_told_that_it_was_removed(server: RedisServer) -> None:
    with Cache([Memory(), Redis(server.url)], CacheSettings(tag_lag_seconds=0)) as cache:
        cache.put("q", "x", model="m")
        server.kill()
        with pytest.raises(CacheError, match=r"is removed here only: tier redis is down .*remove it then"):
            cache.remove("q", model="m")
        assert cache.get("q", model="m") is None


def test_a_copy_that_another_thread_moves_up_meanwhile_does_not_outlive_the_removal(tmp_path: Path, dial: Dial) -> None:
    """A thread reads the shared tier, another hears of the removal, and only then does the first one move it up."""

    class Slow(Sqlite):
        meanwhile: Callable[[], None] | None = None

        def get(self, key: bytes) -> Any:
            found = super().get(key)
            if self.meanwhile is not None:
                act, self.meanwhile = self.meanwhile, None
                act()
            return found

    path = tmp_path / "c.sqlite"
    slow = Slow(path)
    one, other = pair(path, dial, 2, slow)
    with one, other:
        one.put("q", "x", model="m")

        def removed_and_heard_of() -> None:
            one.remove("q", model="m")
            dial.pass_(2)
            layers: Layers = other.looker.layers
            layers.sync()

        other.get("another", model="m")
        slow.meanwhile = removed_and_heard_of
        assert other.get("q", model="m") is not None, "it was read before it was removed"
        assert other.get("q", model="m") is None


def test_a_file_of_an_earlier_version_is_given_what_it_lacks(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "c.sqlite"
    with Cache([Sqlite(path)]) as cache:
        cache.put("q", "x", model="m")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE recalls")
    connection.close()
    with Cache([Memory(), Sqlite(path)]) as cache:
        assert value(cache, "q") == "x"
        cache.remove("q", model="m")
        assert cache.get("q", model="m") is None


def test_what_was_put_before_the_first_look_is_removed_too(tmp_path: Path, dial: Dial) -> None:
    one, other = pair(tmp_path / "c.sqlite", dial, lag=0)
    with one, other:
        one.put("q", "old", model="m")
        other.remove("q", model="m")
        assert one.get("q", model="m") is None


def test_what_was_put_while_the_shared_tier_was_down_is_removed_when_it_is_back(tmp_path: Path, dial: Dial) -> None:
    class Late(Sqlite):
        up = False

        def recalled(self, since: int | None) -> Any:
            if not self.up:
                raise Unavailable("down")
            return super().recalled(since)

    path = tmp_path / "c.sqlite"
    other, one = pair(path, dial, lag=0, first=Late(path))
    with one, other:
        one.put("q", "old", model="m")
        other.remove("q", model="m")
        Late.up = True
        dial.pass_(60)
        assert one.get("q", model="m") is None


def test_a_look_that_began_before_an_invalidation_does_not_hide_it(tmp_path: Path) -> None:
    tier = Sqlite(tmp_path / "c.sqlite")
    with Cache([Memory(), tier], CacheSettings(tag_lag_seconds=60)) as cache:
        tags, told = tier.invalidations, []
        cache.put("q", "old", model="m", tags=["handbook"])

        def looked(names: Sequence[str]) -> tuple[str, list[int]]:
            found = tags(names)
            tier.invalidations = tags  # type: ignore[method-assign]
            cache.invalidate(tag="handbook")
            told.append(found)
            return found

        tier.invalidations = looked  # type: ignore[method-assign]
        cache.get("q", model="m")
        assert len(told) == 1
        assert cache.get("q", model="m") is None, "it was invalidated in this very process"
