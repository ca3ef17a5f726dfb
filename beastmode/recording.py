"""One call under way: what the application notes while it calls, and how it ended."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Protocol, Self

from beastmode.errors import ERROR_TYPES, ErrorType, JournalError, classify, retry_after, tip, told
from beastmode.interactions import Attempt
from beastmode.records import Decision, Endpoint

_COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_MESSAGE_CHARS = 500


class Keeper(Protocol):
    """What writes a recording down."""

    def begin(self, recording: "Recording") -> None:
        """Write that the call begins."""

    def end(self, recording: "Recording", outcome: dict[str, Any]) -> None:
        """Write how it ended."""


class Recording:
    """Records a decision's call, success, exception, cancellation or process end, exactly once.

    It never swallows what the block raises. One recording belongs to one call; make another for the next.
    """

    def __init__(self, keeper: Keeper, decision: Decision, *, purpose: str, parent: str | None) -> None:
        self.decision = decision
        self.purpose = purpose
        self.parent = parent
        self._keeper = keeper
        self._lock = threading.Lock()
        self._done: list[Attempt] = []
        self._now = Attempt(decision.candidate)
        self._failure: tuple[str, ErrorType, str] | None = None
        self._known: dict[str, Any] = {}
        self._point_at(decision.endpoint)
        self._pid = 0
        self._ended = False
        self._start = self._call_start = 0.0
        self._cost: tuple[float, str] | None = None
        self._cache_tier: str | None = None

    def __enter__(self) -> Self:
        if self._pid:
            raise JournalError("this attempt was begun already; call attempt.retry() inside it for each further call")
        self._pid = os.getpid()
        self._keeper.begin(self)
        self._start = self._call_start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.failed(error)
        self._end()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def first_token(self) -> None:
        """Note that the first token of the answer is here; later calls change nothing."""
        if self._now.ttft_ms is None:
            self._now = replace(self._now, ttft_ms=self._elapsed_ms())

    def tokens(
        self,
        *,
        input: int | None = None,  # noqa: A002 - the word that everyone uses for it
        output: int | None = None,
        cache_read: int | None = None,
        cache_write: int | None = None,
        reasoning: int | None = None,
    ) -> None:
        """Note token counts; `input` is the total, cached tokens included."""
        known = dict(zip(_COUNTS, (input, cache_read, cache_write, output, reasoning), strict=True))
        counted: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
        self._now = replace(self._now, **counted)

    def usage(self, usage: Any) -> None:
        """Note the `usage` of an OpenAI-compatible answer, as a mapping or as the client library's object."""
        into = _get(usage, "prompt_tokens_details")
        outof = _get(usage, "completion_tokens_details")
        self.tokens(
            input=_get(usage, "prompt_tokens"),
            output=_get(usage, "completion_tokens"),
            cache_read=_get(into, "cached_tokens"),
            reasoning=_get(outof, "reasoning_tokens"),
        )

    def served(self, model: str, provider: str | None = None) -> None:
        """Note the model that the answer names, and who served it."""
        self._now = replace(self._now, model_served=model, provider=provider or self._now.provider)

    def cost(self, usd: float, source: str = "caller") -> None:
        """Note what the present call cost in US dollars, where the provider says so."""
        usd = float(usd)  # A Decimal could not be added up with what other calls cost.
        self._now = replace(self._now, cost_usd=usd)
        self._cost = (usd, source)

    @property
    def present(self) -> Attempt:
        """What is known of the present call so far."""
        return self._now

    def began_before(self, seconds: float) -> None:
        """Count what passed before the block was entered as part of the call."""
        self._start -= seconds
        self._call_start -= seconds

    def cached(self, tier: str, error_type: str | None = None, message: str = "") -> None:
        """Note that a tier of the cache served the request, for nothing; `error_type` is of a failure that it holds."""
        self._cache_tier = tier
        self.cost(0.0, "cache")
        if error_type is not None:
            self._failure = ("failure", ERROR_TYPES[error_type], message[:_MESSAGE_CHARS])

    def about(self, *, host: str | None = None, key: str | None = None, retry_after: float | None = None) -> None:
        """Note what a tip should name: the host, the *name* of the key's variable, seconds to wait."""
        known = {"host": host, "key": key, "retry_after": retry_after}
        self._known |= {name: value for name, value in known.items() if value is not None}

    def failed(
        self, error: BaseException | str | None = None, *, status: int | None = None, message: str = ""
    ) -> ErrorType:
        """Note that the present call failed, by exception or HTTP status, and return the kind of failure.

        For clients that return errors instead of raising them; what the block raises is noted by itself.
        """
        kind = classify(error, status, message)
        state = "cancelled" if kind.name == "caller_cancelled" else "failure"
        said = message or (told(error) if isinstance(error, BaseException) else error or "")
        said = said or f"HTTP status {status}"
        if isinstance(error, BaseException):
            self.about(retry_after=retry_after(error))
        known = {**self._known, "candidate": self._now.candidate, "elapsed_ms": self._elapsed_ms()}
        self._failure = (state, kind, f"{said[:_MESSAGE_CHARS]} | {tip(kind, known)}")
        return kind

    def retry(
        self,
        candidate: str | None = None,
        error: BaseException | None = None,
        *,
        role: str | None = None,
        endpoint: Endpoint | None = None,
    ) -> None:
        """Close the present call as failed and begin the next one, of the same candidate or as a fallback.

        The decision's propensity stays with the plan that was drawn; the cost is the sum over the calls.
        """
        if error is not None or self._failure is None:
            self.failed(error if error is not None else "retried without a stated error")
        self._close_call()
        name = candidate or self._done[-1].candidate
        if endpoint is not None or name != self._done[-1].candidate:
            self._point_at(endpoint or Endpoint())
        self._now = Attempt(name, role or ("retry" if name == self._done[-1].candidate else "fallback"))
        self._call_start = time.perf_counter()

    def _point_at(self, endpoint: Endpoint) -> None:
        # Whoever writes credentials into an address does not want to read them in a log.
        host = (endpoint.base_url or "").partition("://")[2].partition("/")[0].rpartition("@")[2]
        self._known = {"host": host or None, "key": endpoint.api_key_env}

    def process_ended(self) -> None:
        """End the recording because the process does, unless it has ended or belongs to another process."""
        kind = ERROR_TYPES["router_process_ended"]
        self._end(("unknown", kind, tip(kind)))

    def _elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._call_start) * 1000, 3)

    def _close_call(self) -> None:
        status, kind, message = self._failure or ("success", None, None)
        closed = replace(
            self._now,
            status=status,
            latency_ms=self._elapsed_ms(),
            error_type=kind.name if kind else None,
            error_message=message,
        )
        self._done.append(closed)
        self._failure = None

    def _end(self, failure: tuple[str, ErrorType, str] | None = None) -> None:
        with self._lock:
            # Exactly once, and never from a forked child that inherited the block.
            if self._ended or self._pid != os.getpid():
                return
            self._ended = True
        self._failure = failure or self._failure
        self._close_call()
        last = self._done[-1]
        costs = [call.cost_usd for call in self._done if call.cost_usd is not None]
        outcome: dict[str, Any] = {
            "decision_id": self.decision.decision_id,
            "request_id": self.decision.request.request_id,
            "status": last.status,
            "error_type": last.error_type,
            "error_message": last.error_message,
            "latency_ms": round((time.perf_counter() - self._start) * 1000, 3),
            "ttft_ms": _ttft(self._done),
            "model_served": last.model_served,
            "provider": last.provider,
            **{name: getattr(last, name) for name in _COUNTS},
            "cost_usd": sum(costs) if costs else None,
            "cost_source": self._cost[1] if self._cost else None,
            "cache_tier": self._cache_tier,
        }
        outcome = {name: value for name, value in outcome.items() if value is not None}
        calls = [{name: value for name, value in asdict(call).items() if value is not None} for call in self._done]
        self._keeper.end(self, {**outcome, "attempts": calls})


def _ttft(calls: list[Attempt]) -> float | None:
    """Return the wait for the first token, the failed calls before it included."""
    if calls[-1].ttft_ms is None:
        return None
    return round(sum(call.latency_ms or 0.0 for call in calls[:-1]) + calls[-1].ttft_ms, 3)


def _get(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)
