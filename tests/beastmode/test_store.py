import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beastmode.bundle import Bundle
from beastmode.errors import BundleError, StoreError
from beastmode.folder import MANIFEST
from beastmode.loading import load_bundle
from beastmode.store import POINTER, Kept, Pointer, Registered, Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(make_bundle: Any, tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for name in ("first", "second", "third"):
        store.add(make_bundle(name))
    return store


def test_the_champion_is_what_was_promoted_last(store: Store) -> None:
    assert store.names() == ("first", "second", "third")
    assert store.champion() is None
    store.promote("first", at="2026-01-01", reason="the first there is")
    pointer = store.promote("second", at="2026-01-02", reason="proven better")
    assert store.champion() == pointer
    assert pointer.previous is not None
    assert pointer.previous.bundle == "first"
    assert store.load_champion().name == "second"
    assert store.load_champion().verified


def test_without_a_champion_the_error_says_what_to_do(store: Store) -> None:
    with pytest.raises(StoreError, match="promote"):
        store.load_champion()
    with pytest.raises(StoreError, match="no previous"):
        store.rollback("2026-01-01", "nothing there")


def test_rollback_swaps_and_a_second_one_comes_back(store: Store) -> None:
    store.promote("first", at="1", reason="a", registry=Registered("router", "1"), reconciled=True)
    store.promote("second", at="2", reason="b", registry=Registered("router", "2"), reconciled=True)
    back = store.rollback("3", "errors")
    assert (back.bundle, back.registry, back.reconciled) == ("first", Registered("router", "1"), False)
    assert back.previous == Kept("second", store.read("second").sha256 or "", Registered("router", "2"))
    assert store.rollback("4", "no, after all").bundle == "second"


def test_a_rollback_to_a_damaged_bundle_is_refused_and_what_serves_stays(store: Store) -> None:
    store.promote("first", at="1", reason="a")
    pointer = store.promote("second", at="2", reason="b")
    with (store.folder("first") / "scorer.npz").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"scorer\.npz"):
        store.rollback("3", "errors")
    assert store.champion() == pointer


def test_a_store_of_others_than_routers_is_rolled_back_by_what_reads_them(store: Store) -> None:
    store.promote("first", at="1", reason="a")
    pointer = store.promote("second", at="2", reason="b")
    read: list[tuple[Path, str]] = []

    def verify(folder: Path, sha256: str) -> None:
        read.append((folder, sha256))
        assert store.champion() == pointer, "the pointer moves after it was read"

    assert store.rollback("3", "errors", verify=verify).bundle == "first"
    assert read == [(store.folder("first"), store.read("first").sha256)]

    def refuse(folder: Path, sha256: str) -> None:
        raise BundleError(f"{folder}: off")

    with pytest.raises(BundleError, match="second: off"):
        store.rollback("4", "errors", verify=refuse)
    pointer = store.champion()
    assert pointer is not None
    assert pointer.bundle == "first"


def test_promoting_the_champion_again_keeps_its_previous(store: Store) -> None:
    store.promote("first", at="1", reason="a")
    store.promote("second", at="2", reason="b")
    again = store.promote("second", at="3", reason="run again after a crash", registry=Registered("r", "2"))
    assert again.previous is not None
    assert again.previous.bundle == "first"
    assert again.registry == Registered("r", "2")


def test_adding_the_same_bundle_again_changes_nothing_and_another_is_refused(store: Store, make_bundle: Any) -> None:
    folder = store.folder("first")
    before = (folder / MANIFEST).stat().st_mtime_ns
    assert store.add(make_bundle("first")).sha256 == store.read("first").sha256
    assert (folder / MANIFEST).stat().st_mtime_ns == before
    with pytest.raises(StoreError, match="another bundle has this name"):
        store.add(make_bundle("first", created="2027-01-01"))


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "/abs", "x" * 101])
def test_names_that_lead_elsewhere_are_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="bundle name"):
        store.read(name)


def test_a_pointer_to_what_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match=r"no bundle 'fourth'; it has first, second, third"):
        store.promote("fourth", at="1", reason="a")
    good = store.promote("first", at="1", reason="a")
    with pytest.raises(BundleError, match="hash"):
        store.point(replace(good, manifest_sha256="0" * 64))
    assert store.champion() == good


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "{}", '{"bundle": "../x", "manifest_sha256": "%s", "at": "1", "reason": "a"}' % ("0" * 64),
     '{"bundle": "x", "manifest_sha256": "short", "at": "1", "reason": "a"}',
     '{"bundle": "x", "manifest_sha256": "%s", "at": "1", "reason": "a", "more": 1}' % ("0" * 64)],
)  # fmt: skip
def test_a_damaged_pointer_is_an_error_with_its_path(store: Store, text: str) -> None:
    (store.path / POINTER).write_text(text)
    with pytest.raises(StoreError, match=POINTER):
        store.champion()


def test_a_pointer_survives_its_file(store: Store) -> None:
    pointer = store.promote("first", at="1", reason="because „it is“", registry=Registered("m", "7"))
    assert Pointer.from_json(pointer.to_json()) == pointer
    assert json.loads((store.path / POINTER).read_text())["registry"] == {"model": "m", "version": "7"}


def test_marking_as_reconciled_does_not_touch_a_pointer_that_moved_on(store: Store) -> None:
    old = store.promote("first", at="1", reason="a")
    assert store.mark_reconciled(old)
    now = store.champion()
    assert now is not None
    assert now.reconciled
    new = store.promote("second", at="2", reason="b")
    assert not store.mark_reconciled(old)
    assert store.champion() == new


CRASH = """
import os, sys
from beastmode.store import Store
left = int(sys.argv[2])
def dying(real):
    def step(*arguments, **known):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        result = real(*arguments, **known)
        left -= 1
        if left == 0:
            os._exit(9)
        return result
    return step
os.fsync, os.replace, os.open = dying(os.fsync), dying(os.replace), dying(os.open)
Store(sys.argv[1]).promote("second", at="2", reason="b")
"""


def test_a_crash_at_any_step_leaves_a_good_pointer(store: Store) -> None:
    """End the process before and after each call that changes the disk."""
    old = store.promote("first", at="1", reason="a")
    seen = set()
    for step in range(1, 40):
        store.point(old)
        code = subprocess.run(
            [sys.executable, "-c", CRASH, str(store.path), str(step)], check=False, cwd=ROOT, timeout=60
        ).returncode
        pointer = store.champion()
        assert pointer is not None
        seen.add(pointer.bundle)
        assert store.load_champion().name == pointer.bundle
        if code == 0:
            break
        assert code == 9
    assert code == 0
    assert step > 6
    assert seen == {"first", "second"}


def test_processes_that_add_the_same_bundle_at_once_all_have_it(store: Store, tmp_path: Path) -> None:
    """Eight that begin together, and whoever is second finds the bundle of the first."""
    code = """
import sys
from pathlib import Path
from beastmode.bundle import Bundle
from beastmode.store import Store
bundle, store = Bundle.read(sys.argv[1]), Store(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
print(store.add(bundle).sha256)
"""
    command = [sys.executable, "-c", code, str(store.folder("first")), str(tmp_path / "other")]
    adding = [
        subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(8)
    ]
    for each in adding:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in adding:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    said = [each.communicate(timeout=60) for each in adding]
    assert {out for out, _ in said} == {f"{store.read('first').sha256}\n"}, said
    other = Store(tmp_path / "other")
    assert other.names() == ("first",)
    assert not list((other.path / "bundles").glob(".*"))


def test_whoever_is_second_to_write_a_bundle_finds_the_first_one(
    store: Store, make_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process is quicker between the look and the write."""
    write = Bundle.write

    def late(bundle: Bundle, path: Any) -> Bundle:
        write(bundle, path)
        return write(bundle, path)

    monkeypatch.setattr(Bundle, "write", late)
    assert store.add(make_bundle("fourth")).sha256 == store.read("fourth").sha256


def test_pruning_takes_what_killed_processes_left_and_nothing_that_is_being_written(store: Store) -> None:
    old, new = (store.path / "bundles" / f".{name}.0a0a0a0a.draft" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "scorer.npz").write_bytes(b"half")
    file = store.path / ".champion.json.0a0a0a0a.draft"
    file.write_text("{")
    for each in (old, file):
        os.utime(each, (1e9, 1e9))
    assert store.prune(3) == ()
    assert (old.exists(), new.exists(), file.exists()) == (False, True, False)


def test_writers_take_turns(store: Store) -> None:
    """Promote and roll back from many threads: no move is lost, so the chain of champions stays whole."""
    store.promote("first", at="0", reason="start")
    store.promote("second", at="0", reason="start")
    moved: list[str] = []
    threads = [threading.Thread(target=lambda: moved.append(store.rollback("1", "turn").bundle)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(moved) == ["first"] * 8 + ["second"] * 8
    assert not list(store.path.glob("*.draft"))


def test_a_lock_whose_holder_died_does_not_block(store: Store) -> None:
    script = "import fcntl,os,sys; f=open(sys.argv[1],'a'); fcntl.flock(f,fcntl.LOCK_EX); os.kill(os.getpid(),9)"
    subprocess.run([sys.executable, "-c", script, str(store.path / ".lock")], check=False, timeout=30)
    assert store.promote("first", at="1", reason="a").bundle == "first"
    assert os.path.exists(store.path / POINTER)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_child_that_was_forked_meanwhile_does_not_hold_the_lock(store: Store) -> None:
    with store._alone():
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        done = threading.Thread(target=store.promote, args=("first",), kwargs={"at": "1", "reason": "a"}, daemon=True)
        done.start()
        done.join(10)
        assert not done.is_alive()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_pin_holds_whatever_lies_in_the_folder(tmp_path: Path, make_bundle) -> None:
    good = make_bundle().write(tmp_path / "good")
    store = Store(tmp_path / "good")
    store.add(make_bundle("evil"))
    store.promote("evil", at="2026-01-01T00:00:00+00:00", reason="dropped in")
    with pytest.raises(BundleError, match="leads to manifest"):
        load_bundle(tmp_path / "good", good.sha256)


def test_a_damaged_pointer_can_be_restored(tmp_path: Path, make_bundle) -> None:
    store = Store(tmp_path)
    store.add(make_bundle())
    good = store.promote("first", at="2026-01-01T00:00:00+00:00", reason="x")
    (tmp_path / "champion.json").write_text("{")
    assert store.point(good) == store.champion()
