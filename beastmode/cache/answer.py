"""What the cache hands out: an answer, where it came from, how old it is and what it saved."""

from dataclasses import dataclass
from typing import Any

from beastmode.cache.entry import Entry
from beastmode.errors import CacheError
from beastmode.records import Decision


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """An answer to a request, from a tier or fresh from the model."""

    entry: Entry | None
    """As it is held; None where the answer could not be held."""
    tier: str | None = None
    """memory, sqlite, redis, semantic, `fill` where another caller's fill was waited for, None for the model itself."""
    age_seconds: float = 0.0
    stale: bool = False
    """Past its time, and served while a new one is fetched."""
    score: float | None = None
    """What the verifier said, where the semantic tier served."""
    decision: Decision | None = None
    """The journalled decision: of the model that was asked, or the action `cache`."""
    fresh: Any = None
    """What the fill returned."""

    @property
    def value(self) -> Any:
        """The answer itself; a stream is the list of its chunks. A held one is made anew at each look."""
        return self.fresh if self.tier is None or self.entry is None else self.entry.value

    @property
    def hit(self) -> bool:
        """Whether no model was asked for this caller."""
        return self.tier is not None

    @property
    def cost_usd(self) -> float | None:
        """What this answer cost: nothing from a tier; None where nobody knows."""
        return 0.0 if self.hit else self.entry.cost_usd if self.entry is not None else None

    @property
    def saved_usd(self) -> float | None:
        """What it would have cost to ask again; None where nobody knows, 0 where the model was asked."""
        return self.entry.cost_usd if self.hit and self.entry is not None else 0.0

    @property
    def question(self) -> str | None:
        """The question that the answer was given to, where a semantic tier holds questions."""
        return None if self.entry is None else self.entry.text

    @property
    def model(self) -> str | None:
        """Who answered, now or then."""
        return None if self.entry is None else self.entry.model


class CachedFailure(CacheError):
    """A provider's refusal from a moment ago, which would only be repeated."""

    def __init__(self, error_type: str, message: str, tier: str, age_seconds: float) -> None:
        ago = f"{error_type}, {age_seconds:.1f} s ago ({tier})"
        super().__init__(f"{ago}: {message}; wait a moment, or lower error_seconds")
        self.error_type = error_type
        self.tier = tier
        self.age_seconds = age_seconds
