"""Who was sent where: the memory of what each conversation left in a provider's prompt cache."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beastmode.candidates import Candidate
from beastmode.records import Decision, Message, Request, message_text


@dataclass(frozen=True, slots=True)
class Kept:
    """The last turn of a session: whom it was sent to, and the prompt that is cached there."""

    candidate: str
    decision_id: str
    """The decision that drew the candidate; turns that stuck to it since have others."""
    at: float
    """Seconds on the memory's clock."""
    messages: int
    """How many there were."""
    prefix: int
    """Their hash: the text itself is not kept."""
    chars: int


@dataclass(frozen=True, slots=True)
class Warm:
    """A prefix of a request that its session's last candidate has read already."""

    candidate: str
    decision_id: str
    tokens: float
    idle_seconds: float

    def saving_usd(self, candidate: Candidate, input_tokens: float) -> float:
        """Return what the provider's cache takes off the price of a call; zero once it has forgotten."""
        if self.idle_seconds > candidate.cache_ttl_seconds or self.tokens < candidate.cache_minimum_tokens:
            return 0.0
        return candidate.price.saving_usd(input_tokens, self.tokens)


class Sessions:
    """The last turns of the last so many sessions; safe for threads."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def warm(self, request: Request) -> Warm | None:
        """Return what the request's session has warmed up, or None where it is new, forgotten or no continuation.

        A request continues its session where its messages begin with all of those of the last turn: a provider caches
        a prompt from its beginning, and up to the first difference.
        """
        if not self.most or request.session_id is None:
            return None
        with self._lock:
            kept = self._kept.get(request.session_id)
        if kept is None or len(request.messages) <= kept.messages:
            return None
        if _hash(request.messages[: kept.messages]) != kept.prefix:
            return None
        return Warm(kept.candidate, kept.decision_id, kept.chars / 4, self._clock() - kept.at)

    def keep(self, decision: Decision) -> None:
        """Remember a turn, and forget the session that was silent longest where there are too many."""
        request = decision.request
        if not self.most or request.session_id is None:
            return
        drawn = decision.sticky_from or decision.decision_id
        prefix = _hash(request.messages)
        kept = Kept(decision.candidate, drawn, self._clock(), len(request.messages), prefix, request.chars)
        with self._lock:
            self._kept[request.session_id] = kept
            self._kept.move_to_end(request.session_id)
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Know nothing of a session any more."""
        with self._lock:
            self._kept.pop(session_id, None)

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held."""
        self._lock = threading.Lock()


def _hash(messages: Sequence[Message]) -> int:
    return hash(tuple((message.get("role"), message_text(message)) for message in messages))
