"""What the application's own function gets when the cache has no answer, and what it may say about its answer."""

from dataclasses import dataclass, field
from typing import Any

from beastmode.cache.entry import Snapshot, encode
from beastmode.cache.flights import Flight
from beastmode.interactions import Attempt
from beastmode.recording import Recording
from beastmode.records import Decision, Request
from beastmode.router import Router


class Miss:
    """A request that a model has to answer: `decision` says which, `attempt` takes notes as in the journal."""

    def __init__(self, attempt: Recording) -> None:
        self.attempt = attempt
        self.tags: tuple[str, ...] = ()
        self.ttl_seconds: float | None = None
        self.keep = True

    @property
    def decision(self) -> Decision:
        """The router's decision, or the model that the application named."""
        return self.attempt.decision

    @property
    def request(self) -> Request:
        """What is asked."""
        return self.decision.request

    def tag(self, *tags: str) -> None:
        """Name the sources that the answer rests on, by which it can be invalidated."""
        self.tags = (*self.tags, *tags)

    def live(self, ttl_seconds: float) -> None:
        """Let this answer live shorter or longer than the settings say."""
        self.ttl_seconds = ttl_seconds

    def skip(self) -> None:
        """Do not hold this answer."""
        self.keep = False


class Unkept:
    """Takes down nothing, where there is no journal."""

    def begin(self, recording: Recording) -> None:
        """Let it pass."""

    def end(self, recording: Recording, outcome: dict[str, Any]) -> None:
        """Let it pass."""


@dataclass(frozen=True, slots=True)
class Lead:
    """A fill that this caller does for everyone who asks the same."""

    miss: Miss
    seat: "Seat"
    snapshot: Snapshot | None
    """Of the invalidations, before the model was asked."""
    asked: float
    """When it was asked, in seconds since 1970: from then on its answer grows old."""


@dataclass(frozen=True, slots=True)
class Seat:
    """The right to fill a key: in this process by the flight, over all processes by the owner's lease."""

    key: bytes
    owner: str = ""
    flight: Flight | None = None
    """None where the wait for another's fill was too long, and this caller asks on its own."""


@dataclass(slots=True)
class Tape:
    """A stream's chunks as they pass by, until there are too many bytes."""

    most: int
    parts: list[Any] = field(default_factory=list)
    bytes: int = 0
    broken: str | None = None
    """Why it will not be held."""

    def take(self, chunk: Any) -> None:
        """Note a chunk; it is copied, for whoever gets it may change it."""
        if self.broken is not None:
            return
        try:
            kind, body = encode(chunk)
        except Exception as error:
            self.broken, self.parts = str(error), []
            return
        self.bytes += len(body)
        if self.bytes > self.most:
            self.broken, self.parts = f"it is longer than max_entry_bytes = {self.most}", []
            return
        self.parts.append((kind, body))


def cost_of(attempt: Attempt, decision: Decision, router: Router | None) -> float | None:
    """Return what a call cost: as was said, else by its tokens and the bundle's price, else as was predicted."""
    if attempt.cost_usd is not None:
        return attempt.cost_usd
    candidates = () if router is None else router.bundle.candidates
    price = next((each.price for each in candidates if each.name == attempt.candidate), None)
    if price is not None and attempt.input_tokens is not None and attempt.output_tokens is not None:
        counts = attempt.cache_read_tokens or 0, attempt.cache_write_tokens or 0, attempt.reasoning_tokens or 0
        priced = price.cost_usd(attempt.input_tokens, attempt.output_tokens, *counts)
        if priced is not None:
            return priced
    return decision.prediction.cost_usd if decision.prediction is not None else None
