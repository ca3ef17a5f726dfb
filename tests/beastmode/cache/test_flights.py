"""Who waits for another's fill: what it may be given, and that nobody waits for one that is over."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beastmode import Journal
from beastmode.cache import Answer, Cache, CacheSettings, Memory, Miss, Sqlite
from tests.beastmode.cache.parts import Model

Act = Callable[[], None]


class Slow:
    """A fill that says when it was asked, and answers when it may."""

    def __init__(self, *tags: str) -> None:
        self.asked, self.go, self.tags = threading.Event(), threading.Event(), tags

    def __call__(self, miss: Miss) -> str:
        miss.tag(*self.tags)
        self.asked.set()
        assert self.go.wait(10)
        return "old"


def joined(cache: Cache, slow: Slow, meanwhile: Act, fill: Model, other: Cache | None = None, **known: Any) -> Answer:
    """Return what a second caller gets that asks after `meanwhile`, while the first one's fill is under way."""
    told: list[Answer] = []
    first = threading.Thread(target=lambda: cache.fetch("q", slow, model="m"))
    first.start()
    assert slow.asked.wait(10)
    meanwhile()
    second = threading.Thread(target=lambda: told.append((other or cache).fetch("q", fill, model="m", **known)))
    second.start()
    time.sleep(0.1)
    slow.go.set()
    first.join()
    second.join()
    return told[0]


@pytest.mark.parametrize("shared", [False, True])
def test_who_asks_after_an_invalidation_is_not_given_what_was_asked_for_before_it(
    tmp_path: Path, model: Model, shared: bool
) -> None:
    with Cache([Memory(), *([Sqlite(tmp_path / "c.sqlite")] if shared else [])]) as cache:
        assert joined(cache, Slow("handbook"), lambda: cache.invalidate(tag="handbook"), model).value == "q #1"
        assert cache.fetch("q", model, model="m").hit, "and it is held"


def test_who_asks_after_something_else_was_invalidated_waits_for_the_first(model: Model) -> None:
    cache = Cache([Memory()])
    answer = joined(cache, Slow("handbook"), lambda: cache.invalidate(tag="prices"), model)
    assert (answer.value, answer.tier, model.calls) == ("old", "fill", [])


def test_while_nobody_can_be_told_of_an_invalidation_a_tagged_answer_is_waited_for(
    tmp_path: Path, model: Model
) -> None:
    tier = Sqlite(tmp_path / "c.sqlite")
    cache = Cache([Memory(), tier])

    def down(*_: Any) -> Any:
        raise OSError("down")

    tier.snapshot = tier.invalidations = down  # type: ignore[method-assign]
    answer = joined(cache, Slow("handbook"), lambda: None, model)
    assert (answer.value, answer.tier, model.calls) == ("old", "fill", []), "one fill for everyone, in an outage too"
    cache.close()


@pytest.mark.parametrize("shared", [False, True])
def test_a_refresh_is_not_given_what_was_asked_for_before_it(tmp_path: Path, model: Model, shared: bool) -> None:
    # With a file, the first one's fill is another process's, as far as the second one knows.
    caches = [Cache([Memory(), *([Sqlite(tmp_path / "c.sqlite")] if shared else [])]) for _ in range(2)]
    other = caches[1] if shared else caches[0]
    answer = joined(caches[0], Slow(), lambda: None, model, other, refresh=True)
    assert answer.value == "q #1"
    assert caches[0].fetch("q", model, model="m", refresh=True).value == "q #2"
    for cache in caches:
        cache.close()


def test_refreshes_that_are_asked_together_are_one_fill(model: Model) -> None:
    cache, model.seconds = Cache([Memory()]), 0.3
    told: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        told.append(cache.fetch("q", model, model="m", refresh=True).value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Whoever came a moment after the first fill began waits for the second, which they share.
    assert len(model.calls) <= 2
    assert len(told) == 8


class Full(Journal):
    """A journal that fails at the end of an attempt."""

    def end(self, recording: Any, outcome: dict[str, Any]) -> None:
        raise OSError("no space left")


@pytest.mark.parametrize("error", [None, ValueError("the application's own")])
def test_a_journal_that_fails_leaves_nobody_waiting(tmp_path: Path, error: Exception | None) -> None:
    calls = Model(error=error)
    with Full(tmp_path / "log") as journal:
        cache = Cache([Memory()], CacheSettings(wait_seconds=30), journal=journal)
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(OSError, match="no space left"):
                cache.fetch("q", calls, model="m")
        assert (len(calls.calls), time.monotonic() - began < 10) == (2, True)
