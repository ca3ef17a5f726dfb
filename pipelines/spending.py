"""A run of paid calls, several at once, as far as the purse goes; it tells what was left out and why it ended."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pipelines.probe_purse import Purse

T = TypeVar("T")


class Stop(Exception):
    """The run cannot go on; says why."""


class Told(Protocol):
    """What a run tells of itself."""

    skipped: Counter[str]
    stopped: str | None


@dataclass(slots=True, kw_only=True)
class Spending:
    """One run: `begin` hands each of its calls to `call`, with the most that it can cost; safe for threads."""

    purse: Purse
    concurrency: int
    setting: str
    """The budget's, to be raised where it does not suffice."""
    told: Told
    stop: threading.Event = field(default_factory=threading.Event)
    """Once it is set nothing is begun any more."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """For what the calls count."""
    _pool: ThreadPoolExecutor | None = None
    _under_way: set[Future[None]] = field(default_factory=set)

    def run(self, items: Iterable[T], begin: Callable[[T], None], progress: Callable[[int], None]) -> None:
        """Begin with each item in order; ends early where `begin` or a call raises Stop, or something halts the run."""
        with ThreadPoolExecutor(self.concurrency) as self._pool:
            try:
                for item in items:
                    self._finish(self.concurrency - 1)
                    if self.stop.is_set():
                        break
                    begin(item)
                    progress(1)
                self._finish(0)
            except Stop as stop:
                self.halt(str(stop))
            except KeyboardInterrupt:
                self.halt("interrupted; the same command goes on from here")
            finally:
                self.stop.set()

    def call(self, reserve: float, make: Callable[[], None]) -> None:
        """Make a call on a thread once the purse bears its reserve, which `make` settles; raises Stop if none will."""
        assert self._pool is not None
        while not self.purse.reserve(reserve):
            if not self._under_way:
                raise Stop(
                    f"the budget: ${self.purse.left:.6f} of ${self.purse.budget:g} are left, and the next call may "
                    f"cost ${reserve:.6f}; raise {self.setting} to go on"
                )
            self._finish(len(self._under_way) - 1)
        self._under_way.add(self._pool.submit(make))

    def skip(self, why: str) -> None:
        """Count what is left out."""
        with self.lock:
            self.told.skipped[why] += 1

    def halt(self, why: str) -> None:
        """End the run, with the first reason that is given."""
        with self.lock:
            self.told.stopped = self.told.stopped or why
        self.stop.set()

    def _finish(self, most_left: int) -> None:
        """Wait until no more than so many calls are under way; raises what one of them raised."""
        while len(self._under_way) > most_left:
            done, self._under_way = wait(self._under_way, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
