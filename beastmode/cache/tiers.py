"""What a tier promises to the cache above it."""

from collections.abc import Sequence
from typing import Any, Protocol

from beastmode.cache.entry import Entry, Snapshot
from beastmode.cache.roles import promised, require

RECALLS = 10_000
"""The latest recalls that a shared tier remembers; who has missed more forgets everything it holds."""


class Unavailable(Exception):
    """A tier that cannot serve just now: the cache goes on without it."""


class Tier(Protocol):
    """Holds entries by key: all that a tier of an application's own has to have.

    Any exception means that it is unavailable, and never reaches the application.
    """

    name: str

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under a key, fresh or not, or None."""

    def put(self, entry: Entry) -> Sequence[Entry]:
        """Hold an entry, and return those that had to go and were used since they came: a lower tier wants to know."""

    def remove(self, key: bytes) -> None:
        """Forget a key."""

    def close(self) -> None:
        """Let go of files and connections."""


class Shared(Tier, Protocol):
    """A tier that several processes see: it also holds their leases, invalidations and removals, all or none of them.

    With some of these alone, others would serve what was invalidated or removed here.
    """

    def lease(self, key: bytes, owner: str, seconds: float, now: float) -> bool:
        """Return whether `owner` may fill the key: nobody else has been given it within their own time."""

    def release(self, key: bytes, owner: str) -> None:
        """Give a lease back, where it is still the owner's."""

    def snapshot(self) -> Snapshot:
        """Return how many invalidations there were so far."""

    def invalidations(self, tags: Sequence[str]) -> tuple[str, list[int]]:
        """Return the tier's incarnation, and of each tag the count at which it was invalidated last; 0 for never."""

    def invalidate(self, tag: str) -> None:
        """Count an invalidation of a tag."""

    def recall(self, key: bytes) -> None:
        """Forget a key, and note it for the processes that may hold a copy."""

    def recalled(self, since: int | None) -> tuple[int, Sequence[bytes] | None]:
        """Return how many recalls there were so far, and the keys of those after `since`: none where it is None.

        None in their place where they are no longer known: then any key may be among them.
        """


def shared(tier: Any) -> bool:
    """Return whether a tier has anything of what makes it a shared one."""
    return any(hasattr(tier, name) for name in promised(Shared).keys() - promised(Tier).keys())


def required(tier: Any) -> None:
    """Raise CacheError where a tier keeps neither role: it would fail in use."""
    role, more = Tier, ""
    if shared(tier):
        others = ", ".join(name for name in promised(Shared) if name not in promised(Tier))
        role, more = Shared, f", or leave out all of {others}: then it is one process's own"
    who = f"Cache: tier {getattr(tier, 'name', None)!r} ({type(tier).__name__})"
    require(tier, role, who, f"give it what beastmode.cache.{role.__name__} has{more}")
