"""The run of paid calls: no more than the purse bears, no more at once than allowed, and the first reason to end."""

import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest

from pipelines.probe_purse import Purse
from pipelines.spending import Spending, Stop


@dataclass
class Told:
    skipped: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None


class Calls:
    """Calls of a dollar at most, which cost what they are told."""

    def __init__(self, budget: float, concurrency: int = 3, cost: float = 0.5) -> None:
        self.told, self.purse, self.cost = Told(), Purse(budget), cost
        self.spending = Spending(purse=self.purse, concurrency=concurrency, setting="mine.budget_usd", told=self.told)
        self.made: list[int] = []
        self.now = self.most = 0
        self.shown = 0

    def begin(self, item: int) -> None:
        self.spending.call(1.0, lambda: self.make(item))

    def make(self, item: int) -> None:
        with self.spending.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self.work(item)
            self.made.append(item)
        finally:
            with self.spending.lock:
                self.now -= 1
            self.purse.settle(1.0, self.cost)

    def work(self, item: int) -> None:
        pass

    def run(self, n: int) -> "Calls":
        self.spending.run(range(n), self.begin, lambda count: setattr(self, "shown", self.shown + count))
        return self


def test_all_is_made_with_no_more_at_once_than_allowed():
    together = threading.Barrier(3, timeout=30)

    class Meeting(Calls):
        def work(self, item: int) -> None:
            together.wait()  # for two others: that many are under way at once

    calls = Meeting(100.0).run(21)
    assert (sorted(calls.made), calls.told.stopped, calls.shown) == (list(range(21)), None, 21)
    assert calls.most == 3
    assert calls.purse.spent == 10.5
    assert calls.spending.stop.is_set()


def test_the_budget_is_never_exceeded_and_what_is_settled_is_spent_again():
    calls = Calls(2.2).run(20)
    # A dollar is set aside for each: after three halves, .7 are left.
    assert len(calls.made) == 3
    assert calls.purse.spent == 1.5
    assert calls.told.stopped is not None
    assert "$0.700000 of $2.2 are left" in calls.told.stopped
    assert "raise mine.budget_usd" in calls.told.stopped


def test_a_call_that_says_stop_ends_the_run_with_its_reason():
    class Failing(Calls):
        def work(self, item: int) -> None:
            if item == 4:
                raise Stop("the judge is gone")

    calls = Failing(100.0, concurrency=1).run(50)
    assert calls.told.stopped == "the judge is gone"
    assert calls.made == [0, 1, 2, 3]


def test_the_first_reason_counts_and_nothing_is_begun_after_it():
    class Halting(Calls):
        def work(self, item: int) -> None:
            if item >= 2:
                self.spending.halt(f"reason {item}")
                self.spending.skip("halted")

    calls = Halting(100.0, concurrency=1).run(50)
    assert (calls.told.stopped, calls.made) == ("reason 2", [0, 1, 2])
    assert calls.told.skipped == {"halted": 1}


def test_an_interrupt_says_how_to_go_on_and_an_error_of_ours_is_raised():
    class Interrupted(Calls):
        def begin(self, item: int) -> None:
            if item == 2:
                raise KeyboardInterrupt
            super().begin(item)

    calls = Interrupted(100.0).run(5)
    assert calls.told.stopped == "interrupted; the same command goes on from here"
    assert sorted(calls.made) == [0, 1]

    class Broken(Calls):
        def work(self, item: int) -> None:
            raise ZeroDivisionError("a mistake of ours")

    with pytest.raises(ZeroDivisionError):
        Broken(100.0).run(3)
    assert threading.active_count() < 20
