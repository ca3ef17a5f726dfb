"""Files appear whole, on a disk and in a store; one writer at a time in both."""

import threading
import time
from pathlib import Path

import fsspec
import pytest

from pipelines import storage
from pipelines.storage import BusyError, Storage


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage.of(tmp_path if request.param == "disk" else f"memory://{tmp_path.name}-{time.time_ns()}")


def test_what_is_put_is_read_listed_and_replaced(place: Storage) -> None:
    assert place.get("a/b.txt") is None
    assert place.names("a") == ()
    place.put("a/b.txt", b"one")
    place.put("a/c.txt", b"two")
    place.put("a/b.txt", b"three")
    assert place.names("a") == ("b.txt", "c.txt")
    assert place.get("a/b.txt") == b"three"
    with place.open("a/c.txt") as stream:
        assert stream.seek(1) == 1
        assert stream.read() == b"wo"
    place.remove("a")
    place.remove("a")
    assert place.names("a") == ()


def test_a_second_writer_waits_or_is_told_who_writes(place: Storage) -> None:
    with place.writing(1.0):
        place.put(".staging/half", b"x")
        with pytest.raises(BusyError, match=r"still writes after 0.1 s; wait for it to end"), place.writing(0.1):
            pass
        assert place.get(".staging/half") == b"x"
    with place.writing(1.0):
        assert place.get(".staging/half") is None


def test_writers_in_many_threads_never_meet(place: Storage) -> None:
    inside, most = [], []

    def write() -> None:
        with place.writing(30.0):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=write) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_the_lease_of_a_dead_writer_expires_and_that_of_a_living_one_is_renewed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storage, "LEASE_SECONDS", 0.6)
    place = Storage.of(f"memory://lease-{tmp_path.name}")
    place.put(".lease", b'{"pid": 1}')
    begun = time.monotonic()
    with place.writing(10.0):
        assert time.monotonic() - begun >= 0.6
        with pytest.raises(BusyError), place.writing(1.5):
            pass
    assert place.get(".lease") is None


def test_an_unknown_scheme_names_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"nowhere://lake: .*install the fsspec package of that scheme"):
        Storage.of("nowhere://lake")


def test_a_store_is_told_from_a_disk(tmp_path: Path) -> None:
    assert Storage.of(tmp_path).local
    assert Storage.of(f"file://{tmp_path}").local
    assert Storage.of(tmp_path).url == f"file://{tmp_path}"
    assert not Storage.of("memory://x").local
    assert isinstance(Storage.of("memory://x").fs, type(fsspec.filesystem("memory")))
