"""Paid calls: each journalled, tried again where that helps, and settled with the purse whatever comes of it."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.client import HTTPException

from beastmode.candidates import Candidate
from beastmode.errors import ErrorType, retry_after
from beastmode.journal import Journal
from beastmode.recording import Recording
from beastmode.records import Decision, Plan, Request
from pipelines.probe_calls import Answer, Caller, CallError, host_of, paid
from pipelines.probe_journal import MAY_BILL, RESERVED
from pipelines.probe_purse import Purse
from pipelines.probe_settings import ProbeSettings

Keep = Callable[[str, str], None]

FIRST_WAIT, LONGEST_BACKOFF = 0.5, 20.0
"""Seconds between two tries, where the provider names none: doubled each time."""
STRIKES = 3
"""Calls in a row that fail for good, after which a candidate is left alone for the rest of the run."""


class GivenUp(Exception):
    """A call failed for good; the run goes on without it."""


@dataclass(slots=True, kw_only=True)
class Payer:
    """Makes the calls of a run; safe for threads."""

    journal: Journal
    caller: Caller
    purse: Purse
    settings: ProbeSettings
    stop: threading.Event = field(default_factory=threading.Event)
    """Once it is set nobody is called any more."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Candidate -> why it is left alone for the rest of the run."""
    _strikes: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(
        self,
        request: Request,
        candidate: Candidate,
        purpose: str,
        parent: str,
        reserve: float,
        keep: Keep | None = None,
    ) -> str:
        """Return what a candidate says, after as many tries as are worth it; settles the reserve.

        `keep` is called with the answer before the journal says that there is one. Raises GivenUp.
        """
        cost = 0.0
        try:
            for number in range(1, self.settings.tries + 1):
                self.caller.wait(candidate, self.stop)
                if self.stop.is_set():
                    raise GivenUp("the run was stopped")
                found = self._try(request, candidate, purpose, parent, reserve, keep)
                if isinstance(found, Answer):
                    counted = paid(candidate, found.usage)
                    cost = reserve if counted is None else counted
                    self._strikes[candidate.name] = 0
                    return found.text
                failure, wait_seconds = found
                if failure.name in MAY_BILL:
                    # The provider may charge for it: the reserve is gone, and another try has none.
                    cost = reserve
                    self._strike(candidate, failure)
                    raise GivenUp(f"{candidate.name}: {failure.meaning}")
                if number == self.settings.tries:
                    self._strike(candidate, failure)
                    raise GivenUp(f"{candidate.name}: {failure.meaning}, {number} times")
                self._pause(candidate, failure, wait_seconds, number)
            raise AssertionError("a call is tried at least once")
        finally:
            self.purse.settle(reserve, cost)

    def _try(
        self, request: Request, candidate: Candidate, purpose: str, parent: str, reserve: float, keep: Keep | None
    ) -> Answer | tuple[ErrorType, float | None]:
        """Make one call with its two lines in the journal; return the answer, or the failure and the wait it asks."""
        marked = replace(request, context={**request.context, RESERVED: repr(reserve)})
        decision = Decision(
            request=marked, plan=Plan.single(candidate.name), probabilities={candidate.name: 1.0}, propensity=None,
            policy="probe", bundle_sha256=None, predictions=(), reason=purpose, endpoint=candidate.endpoint,
        )  # fmt: skip
        with self.journal.attempt(decision, purpose=purpose, parent=parent) as attempt:
            attempt.about(host=host_of(candidate), key=candidate.api_key_env)
            try:
                answer = self.caller.chat(candidate, request.messages)
            except (CallError, ValueError, OSError, HTTPException) as error:
                return attempt.failed(error), retry_after(error)
            _note(attempt, candidate, answer)
            if keep is not None:
                # Before the line that says so: an answer that is paid for is not lost with the process.
                keep(request.request_id, answer.text)
            return answer

    def _pause(self, candidate: Candidate, failure: ErrorType, wait_seconds: float | None, number: int) -> None:
        """Leave a candidate alone for a moment before the next try; raises GivenUp where another try is in vain."""
        if not failure.retry:
            # What is wrong with the caller or the content is wrong with this request alone.
            if failure.name.startswith("provider_"):
                self._drop(candidate, failure.meaning)
            raise GivenUp(f"{candidate.name}: {failure.meaning}")
        seconds = min(FIRST_WAIT * 2 ** (number - 1), LONGEST_BACKOFF) if wait_seconds is None else wait_seconds
        if seconds > self.settings.longest_wait_seconds:
            self._drop(candidate, f"its host asks to be left alone for {seconds:g} s")
            raise GivenUp(f"{candidate.name}: its host asks to be left alone for {seconds:g} s")
        self.caller.leave_alone(candidate, seconds)

    def _strike(self, candidate: Candidate, failure: ErrorType) -> None:
        with self._lock:
            self._strikes[candidate.name] += 1
            gone = self._strikes[candidate.name] >= STRIKES
        if gone:
            self._drop(candidate, f"{STRIKES} calls in a row failed: {failure.meaning}")

    def _drop(self, candidate: Candidate, why: str) -> None:
        with self._lock:
            self.dropped.setdefault(candidate.name, why)


def _note(attempt: Recording, candidate: Candidate, answer: Answer) -> None:
    if answer.usage is not None:
        attempt.usage(answer.usage)
    if answer.model is not None:
        attempt.served(answer.model, candidate.provider)
    cost = paid(candidate, answer.usage)
    if cost is not None:
        attempt.cost(cost, "catalogue")
