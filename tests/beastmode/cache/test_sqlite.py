"""The SQLite tier: shared, bounded, and whole again after damage."""

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from beastmode.cache import Cache, Memory, Sqlite
from beastmode.cache.tiers import Unavailable
from beastmode.errors import CacheError
from tests.beastmode.cache.test_entry import entry


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


def test_another_process_s_tier_finds_what_this_one_put(path: Path) -> None:
    one, other = Sqlite(path), Sqlite(path)
    one.put(entry({"a": 1}, key=key(1)))
    found = other.get(key(1))
    assert found is not None
    assert found.value == {"a": 1}
    other.remove(key(1))
    assert one.get(key(1)) is None
    one.close()
    other.close()


def test_many_that_open_a_new_file_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite refuses the switch to WAL mode at once where two do it, whatever the timeout: here some 5 of 400."""
    for number in range(50):
        barrier, opened = threading.Barrier(8), []

        def work(path: Path, barrier: threading.Barrier = barrier, opened: list[Sqlite] = opened) -> None:
            barrier.wait()
            opened.append(Sqlite(path, timeout=30))

        threads = [threading.Thread(target=work, args=(tmp_path / f"{number}.sqlite",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(opened) == 8
        for tier in opened:
            tier.close()


def test_answers_are_nobody_else_s_to_read(path: Path) -> None:
    tier = Sqlite(path)
    tier.put(entry(key=key(1)))
    for file in path.parent.glob("cache.sqlite*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    tier.close()


def test_bytes_bound_the_file_and_what_was_used_stays(path: Path) -> None:
    tier = Sqlite(path, max_bytes=400_000)
    for number in range(300):
        tier.put(entry("x" * 3000, key=key(number)))
        for hot in range(8):
            tier.get(key(hot))
    assert path.stat().st_size < 480_000
    held = [number for number in range(300) if tier.get(key(number))]
    assert set(range(8)) <= set(held)
    assert 299 in held
    assert len(held) < 140
    tier.close()


def test_a_lease_is_given_once_ends_by_itself_and_goes_back_to_nobody_else(path: Path) -> None:
    one, other = Sqlite(path), Sqlite(path)
    assert one.lease(key(1), "a", 10, now=100)
    assert not other.lease(key(1), "b", 10, now=105)
    other.release(key(1), "b")
    assert not other.lease(key(1), "b", 10, now=109)
    assert other.lease(key(1), "b", 10, now=110)
    other.release(key(1), "b")
    assert one.lease(key(1), "a", 10, now=111)
    assert other.lease(key(1), "b", 10, now=20), "a lease from the future was given under a clock that is wrong"
    one.close()
    other.close()


@pytest.mark.parametrize("damage", ["header", "pages", "truncated", "garbage", "gone"])
def test_a_damaged_file_is_emptied_and_serves_again(path: Path, damage: str) -> None:
    tier = Sqlite(path)
    for number in range(200):
        tier.put(entry(f"{number} " * 500, key=key(number)))
    life = tier.snapshot().incarnation
    tier.close()
    raw = bytearray(path.read_bytes())
    if damage == "header":
        raw[:100] = os.urandom(100)
    elif damage == "pages":
        raw[4096:] = os.urandom(len(raw) - 4096)
    elif damage == "truncated":
        del raw[len(raw) // 3 :]
    elif damage == "garbage":
        raw = bytearray(b"not a database at all" * 100)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(raw)
    for number in range(200):
        found = tier.get(key(number))
        assert found is None or found.value == f"{number} " * 500
    tier.put(entry("again", key=key(1)))
    found = tier.get(key(1))
    assert found is not None
    assert found.value == "again"
    assert damage == "truncated" or tier.snapshot().incarnation != life
    tier.close()


def test_damage_that_sqlite_does_not_see_is_not_served(path: Path) -> None:
    tier = Sqlite(path)
    tier.put(entry("the right answer" * 400, key=key(1)))
    tier.close()
    raw = path.read_bytes()
    assert raw.count(b"right") > 10
    path.write_bytes(raw.replace(b"right", b"wrong"))
    assert tier.get(key(1)) is None
    assert tier.database.replaced == 1
    tier.close()


def test_a_file_that_another_process_replaced_is_opened_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beastmode.cache.database._LOOK_SECONDS", 0.0)
    one, other = Sqlite(path), Sqlite(path)
    one.put(entry("old", key=key(1)))
    assert other.get(key(1)) is not None
    other.close()
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    other.put(entry("new", key=key(1)))
    found = one.get(key(1))
    assert found is not None
    assert found.value == "new"
    one.close()
    other.close()


def test_a_full_disk_costs_a_quarter_and_goes_on(path: Path) -> None:
    tier = Sqlite(path)
    tier.database.run(lambda connection: connection.execute("PRAGMA max_page_count = 100"))
    for number in range(200):
        tier.put(entry("x" * 3000, key=key(number)))
    assert tier.get(key(199)) is not None
    assert path.stat().st_size <= 100 * 4096
    with pytest.raises(Unavailable, match="full"):
        tier.put(entry("x" * 900_000, key=key(1000)))
    tier.close()


def test_a_folder_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="name a file that this process may write"):
        Sqlite(tmp_path / "file" / "cache.sqlite")


def _child(tier: Sqlite, results: Any) -> None:
    found = tier.get(key(1))
    tier.put(entry("child", key=key(2)))
    results.put(found is not None and found.value)


def test_parent_and_forked_child_go_on_with_connections_of_their_own(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    tier = Sqlite(path)
    tier.put(entry("parent", key=key(1)))
    results = context.Queue()
    for _ in range(5):
        child = context.Process(target=_child, args=(tier, results))
        child.start()
        assert results.get(timeout=20) == "parent"
        child.join()
    found = tier.get(key(2))
    assert found is not None
    assert found.value == "child"
    tier.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


SCRIBBLE = """
import os, sys
for end in ("", "-wal"):
    try:
        with open(sys.argv[1] + end, "r+b") as file:
            size = os.path.getsize(sys.argv[1] + end)
            file.write(os.urandom(size))
    except FileNotFoundError:
        pass  # another process is just replacing it
"""


def test_damaged_under_load_no_request_is_lost_and_none_is_answered_wrongly(path: Path) -> None:
    wrong: list[str] = []
    stop = threading.Event()

    def work(cache: Cache, seed: int) -> None:
        number = seed
        while not stop.is_set():
            number = (number * 31 + 7) % 200
            text = f"question {number}"
            try:
                value = cache.fetch(text, lambda miss: f"answer to {miss.request.text} " * 1500, model="m").value
            except Exception as error:
                value = repr(error)
            if value != f"answer to {text} " * 1500:
                wrong.append(value)

    # More than SQLite keeps of the file in memory.
    caches = [Cache([Memory(20_000), Sqlite(path)]) for _ in range(2)]
    threads = [threading.Thread(target=work, args=(caches[seed % 2], seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        time.sleep(0.25)
        # From another process: closing the file in this one would take SQLite's locks away.
        subprocess.run([sys.executable, "-c", SCRIBBLE, str(path)], check=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(tier.database.replaced for cache in caches for tier in sqlites(cache)) >= 1
    for cache in caches:
        cache.put("again", "a", model="m")
        assert cache.get("again", model="m") is not None
        cache.close()


def sqlites(cache: Cache) -> list[Sqlite]:
    return [guard.tier for guard in cache.looker.layers.guards if isinstance(guard.tier, Sqlite)]


FULL_DISK = """
import resource, signal, sys
from beastmode.cache import Cache, Memory, Sqlite
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = Cache([Memory(1 << 20), Sqlite(sys.argv[1])])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
for number in range(400):
    value = cache.fetch(f"q{number}", lambda miss: miss.request.text + "x" * 5000, model="m").value
    assert value == f"q{number}" + "x" * 5000
    assert cache.get(f"q{number}", model="m").value == value
print(cache.health()[1].failures, cache.health()[1].last_error)
"""


def test_where_the_system_lets_no_file_grow_requests_go_on(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 0, done.stdout
