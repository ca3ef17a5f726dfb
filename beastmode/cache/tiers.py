"""What a tier promises to the cache above it."""

from collections.abc import Sequence
from typing import Protocol

from beastmode.cache.entry import Entry, Snapshot

RECALLS = 10_000
"""The latest recalls that a shared tier remembers; who has missed more forgets everything it holds."""


class Unavailable(Exception):
    """A tier that cannot serve just now: the cache goes on without it."""


class Tier(Protocol):
    """Holds entries by key. Any exception means that it is unavailable, and never reaches the application."""

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
    """A tier that several processes see: it also holds their leases and the tags that were invalidated."""

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
