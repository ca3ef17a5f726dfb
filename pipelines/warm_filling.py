"""Fill the cache through the router: paced, paid from a purse, and written down so that nothing is paid twice."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from beastmode.cache import Cache, Miss
from beastmode.candidates import Candidate
from beastmode.errors import BeastmodeError, retry_after
from beastmode.records import Request
from pipelines.probe_calls import Answer, Caller, CallError, host_of, most, paid
from pipelines.probe_journal import MAY_BILL
from pipelines.probe_paying import FIRST_WAIT, LONGEST_BACKOFF, STRIKES
from pipelines.probe_purse import Purse
from pipelines.spending import Spending
from pipelines.warm_ledger import Ledger
from pipelines.warm_pace import Pace
from pipelines.warm_settings import WarmSettings


@dataclass(frozen=True, slots=True)
class Prefill:
    """A request to ask ahead."""

    key: str
    """In hex, as the plan and the ledger name it."""
    request: Request


@dataclass(slots=True)
class Filled:
    """What came of a run."""

    filled: int = 0
    recalled: int = 0
    """Done by an earlier run of the same plan."""
    rescued: int = 0
    """Paid for by an earlier run that was killed before the cache had the answer."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Why prefills were left out, and how many."""
    stopped: str | None = None
    """Why the run ended before the plan did."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is asked in this window: all is done, or the budget is spent."""
        return self.stopped is None or self.stopped.startswith("the budget")


@dataclass(slots=True, kw_only=True)
class Filling:
    """One run over a plan's prefills."""

    cache: Cache
    scope: Mapping[str, Any]
    """What the application names in the key: `model`, `parameters`."""
    catalogue: Mapping[str, Candidate]
    caller: Caller
    pace: Pace
    purse: Purse
    ledger: Ledger
    settings: WarmSettings
    told: Filled = field(default_factory=Filled)
    _spending: Spending = field(init=False)
    _strikes: int = 0

    def __post_init__(self) -> None:
        self._spending = Spending(
            purse=self.purse, concurrency=self.settings.concurrency, setting="warming.budget_usd", told=self.told
        )

    @property
    def stop(self) -> threading.Event:
        """Once it is set nothing is asked any more."""
        return self._spending.stop

    def run(self, prefills: Iterable[Prefill], progress: Callable[[int], None]) -> Filled:
        """Fill in order what no earlier run has; ends early where the purse is empty or providers keep failing."""
        self._spending.run(prefills, self._begin, progress)
        return self.told

    def _begin(self, prefill: Prefill) -> None:
        """Have a prefill made, unless it is done already or not affordable; raises Stop."""
        kept = self.ledger.kept(prefill.key)
        if kept is not None:
            self.cache.put(prefill.request, **kept, **self.scope)
            self.ledger.drop(prefill.key)
            self.told.rescued += 1
            return
        if prefill.key in self.ledger.ended:
            self.told.recalled += 1
            return
        reserve = self._reserve(prefill.request)
        if reserve is None:
            self._spending.skip("what an answer costs cannot be bounded; give every candidate a price per token")
            return
        self._spending.call(reserve, lambda: self._one(prefill, reserve))

    def _reserve(self, request: Request) -> float | None:
        """Return the most that an answer can cost, whomever the router asks."""
        limit = self.caller.max_output_tokens
        bounds = [most(candidate, request.messages, limit) for candidate in self.catalogue.values()]
        known = [bound for bound in bounds if bound is not None]
        return max(known) if known and len(known) == len(bounds) else None

    def _one(self, prefill: Prefill, reserve: float) -> None:
        """Fill one key; what is not needed of its reserve goes back to the purse."""
        bill, state = _Bill(), "failed"

        def fill(miss: Miss) -> Any:
            candidate = self.catalogue[miss.decision.candidate]
            answer = self._ask(miss, candidate, prefill, reserve, bill)
            value = answer.text if self.settings.answer == "text" else dict(answer.whole)
            # Before anything says that it is paid for: an answer is not lost with the process.
            self.ledger.keep(prefill.key, {"value": value, "answered_by": candidate.name, "cost_usd": bill.cost})
            return value

        try:
            found = self.cache.fetch(prefill.request, fill, refresh=True, purpose="warm", **self.scope)
            if not bill.asked:
                self._spending.skip("another process filled it meanwhile")
            elif found.entry is None:
                self._spending.skip("the cache could not hold the answer; the log says why")
            else:
                state = "filled"
                with self._spending.lock:
                    self.told.filled += 1
                    self._strikes = 0
        except CancelledError:
            pass
        except (BeastmodeError, CallError, ValueError, OSError, HTTPException) as error:
            self._failed(error)
        finally:
            self.purse.settle(reserve, bill.cost)
            if bill.asked:
                self.ledger.end(prefill.key, bill.cost, state)
                self.ledger.drop(prefill.key)

    def _ask(self, miss: Miss, candidate: Candidate, prefill: Prefill, reserve: float, bill: "_Bill") -> Answer:
        """Ask the candidate that the router drew, as often as it is worth; the bill has what it cost."""
        attempt = miss.attempt
        attempt.about(host=host_of(candidate), key=candidate.api_key_env)
        for number in range(1, self.settings.tries + 1):
            self.pace.wait(candidate.provider or candidate.name, self._spending.stop)
            self.caller.wait(candidate, self._spending.stop)
            if self._spending.stop.is_set():
                raise CancelledError("the run was stopped before this call")
            if not bill.asked:
                self.ledger.begin(prefill.key, reserve)
                bill.asked = True
            try:
                answer = self.caller.chat(candidate, prefill.request.messages, self.scope.get("parameters"))
            except (CallError, ValueError, OSError, HTTPException) as error:
                kind = attempt.failed(error)
                if kind.name in MAY_BILL:
                    # The provider may charge for it: the reserve is gone, and another try has none.
                    bill.cost = reserve
                    raise
                if not kind.retry or number == self.settings.tries:
                    raise
                self._patience(candidate, error, number)
                attempt.retry(error=error)
                continue
            if answer.usage is not None:
                attempt.usage(answer.usage)
            if answer.model is not None:
                attempt.served(answer.model, candidate.provider)
            counted = paid(candidate, answer.usage)
            bill.cost = reserve if counted is None else counted
            attempt.cost(bill.cost, "catalogue")
            return answer
        raise AssertionError("a call is tried at least once")

    def _patience(self, candidate: Candidate, error: BaseException, number: int) -> None:
        """Leave a provider alone for as long as it asks; raises the error where that is too long."""
        asked = retry_after(error)
        seconds = min(FIRST_WAIT * 2 ** (number - 1), LONGEST_BACKOFF) if asked is None else asked
        if seconds > self.settings.longest_wait_seconds:
            self._spending.halt(f"{candidate.name}: its host asks to be left alone for {seconds:g} s")
            raise error
        self.caller.leave_alone(candidate, seconds)

    def _failed(self, error: BaseException) -> None:
        self._spending.skip(f"{type(error).__name__}: {str(error)[:200]}")
        with self._spending.lock:
            self._strikes += 1
            gone = self._strikes >= STRIKES
        if gone:
            self._spending.halt(
                f"{STRIKES} prefills in a row failed, the last with {type(error).__name__}: {str(error)[:200]}"
            )


@dataclass(slots=True)
class _Bill:
    """What one prefill came to."""

    cost: float = 0.0
    asked: bool = False
    """Whether a provider was called at all."""
