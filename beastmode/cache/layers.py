"""The exact tiers as one: promotion, demotion, leases, and which entries their tags forbid."""

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from beastmode.cache.clock import Clock
from beastmode.cache.entry import Entry, Snapshot
from beastmode.cache.guard import Guard
from beastmode.errors import CacheError
from beastmode.forks import renew_after_fork

LOCAL = "local"
"""The incarnation where no tier is shared."""


class Found(NamedTuple):
    """An entry that may be served, and the tier that had it."""

    entry: Entry
    tier: str


class Layers:
    """Tiers from the fastest to the slowest; the shared one speaks for all processes."""

    def __init__(self, tiers: Sequence[Any], clock: Clock, tag_lag_seconds: float) -> None:
        self.guards = [Guard(tier, clock.monotonic) for tier in tiers]
        self._clock = clock
        self._lag = tag_lag_seconds
        self._shared = next((guard for guard in self.guards if guard.shared), None)
        self._lock = threading.Lock()
        self._count = 0
        self._counts: dict[str, int] = {}
        # tag -> (incarnation, count of its last invalidation, when that was looked up)
        self._known: dict[str, tuple[str, int, float]] = {}
        self._recalls: int | None = None
        """Of the shared tier, how many recalls were heeded here."""
        self._synced = -math.inf
        renew_after_fork(self)

    @property
    def due(self) -> bool:
        """Whether it is time to ask what other processes have removed."""
        return self._shared is not None and self._clock.monotonic() - self._synced >= self._lag

    def sync(self) -> None:
        """Forget what other processes have removed, as of `tag_lag_seconds` ago at most while the shared tier is up."""
        if self._shared is None or not self.due:
            return
        self._synced = self._clock.monotonic()  # first, so that others do not ask too
        found: tuple[int, Sequence[bytes] | None] | None = self._shared.call(
            self._shared.tier.recalled, self._recalls, otherwise=None
        )
        if found is None:
            # What is held from now on may have been removed elsewhere when the tier is back: all of them count then.
            self._recalls = self._recalls or 0
            return
        self._recalls, keys = found
        for guard in self.guards:
            if guard.shared:
                continue
            if keys is None:
                guard.call(guard.tier.close, otherwise=None)
            for key in keys or ():
                guard.call(guard.tier.remove, key, otherwise=None)

    def find(self, key: bytes, now: float) -> Found | None:
        """Return the freshest entry that may be served; one that only a lower tier has moves up."""
        self.sync()
        seen = self._recalls
        best: Found | None = None
        for depth, guard in enumerate(self.guards):
            entry: Entry | None = guard.call(guard.tier.get, key, otherwise=None)
            if entry is None or not entry.usable(now) or (entry.tags and not self.allowed(entry)):
                continue
            self._clock.remember_for(entry.stale_until - entry.made)
            if best is None or entry.fresh_until > best.entry.fresh_until:
                best = Found(entry, guard.name)
                for upper in reversed(range(depth)):
                    self._put(upper, entry)
                    if self._recalls != seen:
                        # Another thread has heard of a removal since the entry was read; it may be this one's.
                        self.guards[upper].call(self.guards[upper].tier.remove, key, otherwise=None)
            if entry.fresh(now):
                break
        return best

    def store(self, entry: Entry) -> None:
        """Hold an entry in every tier, the shared ones first: who waits for it elsewhere looks there."""
        self.sync()  # first, so that a removal elsewhere from now on is heard of
        self._clock.remember_for(entry.stale_until - entry.made)
        for depth in reversed(range(len(self.guards))):
            self._put(depth, entry)

    def remove(self, key: bytes) -> None:
        """Forget a key in every tier and process; raises CacheError where the shared tier cannot be told."""
        told = True
        for guard in self.guards:
            if guard is self._shared:
                told = guard.call(guard.tier.recall, key, otherwise=False) is None
            else:
                guard.call(guard.tier.remove, key, otherwise=None)
        # One's own removal is heeded at once: it must not take what is put after it.
        self._synced = -math.inf
        self.sync()
        if self._shared is not None and not told:
            raise CacheError(
                f"cache: key {key.hex()[:12]} is removed here only: tier {self._shared.name} is down "
                f"({self._shared.health.last_error}), and holds it when it is back: remove it then"
            )

    def _put(self, depth: int, entry: Entry) -> None:
        guard = self.guards[depth]
        gone: Sequence[Entry] = guard.call(lambda: tuple(guard.tier.put(entry)), otherwise=())
        for evicted in gone:
            # It was used up here, of which the tier below knows nothing; there it counts as used now.
            if depth + 1 < len(self.guards) and evicted.usable(self._clock.now()):
                self._put(depth + 1, evicted)

    def lease(self, key: bytes, owner: str, seconds: float) -> bool:
        """Return whether `owner` may fill the key; where no shared tier is up, everyone may."""
        if self._shared is None:
            return True
        return self._shared.call(self._shared.tier.lease, key, owner, seconds, self._clock.now(), otherwise=True)

    def release(self, key: bytes, owner: str) -> None:
        """Give a lease back."""
        if self._shared is not None:
            self._shared.call(self._shared.tier.release, key, owner, otherwise=None)

    def snapshot(self) -> Snapshot | None:
        """Return how many invalidations there were so far; None while nobody can say."""
        if self._shared is None:
            return Snapshot(LOCAL, self._count)
        taken: Snapshot | None = self._shared.call(self._shared.tier.snapshot, otherwise=None)
        return taken

    def allowed(self, entry: Entry, unknown: bool = False) -> bool:
        """Return whether none of an entry's tags was invalidated since its answer was asked for.

        What cannot be checked is not served, unless `unknown` says so: an answer that came just now, while nobody could
        be told of an invalidation. One elsewhere is seen after `tag_lag_seconds` at most.
        """
        if not entry.tags:
            return True
        if entry.snapshot is None:
            return unknown
        for tag in entry.tags:
            known = self._invalidated(tag)
            if known is None:
                return unknown
            if known[0] != entry.snapshot.incarnation or known[1] > entry.snapshot.seen:
                return False
        return True

    def invalidate(self, tag: str) -> None:
        """Forbid every entry with a tag; raises CacheError where the shared tier cannot be told."""
        if self._shared is None:
            with self._lock:
                self._count += 1
                self._counts[tag] = self._count
            return
        told = self._shared.call(self._shared.tier.invalidate, tag, otherwise=False) is None
        with self._lock:
            self._count += 1  # so that a look that began before is not remembered
            self._known.pop(tag, None)
        if not told:
            raise CacheError(
                f"cache: tag {tag!r} is not invalidated: tier {self._shared.name} is down "
                f"({self._shared.health.last_error}); no tagged answer is served until it is back: invalidate it then"
            )

    def close(self) -> None:
        """Close every tier."""
        for guard in self.guards:
            guard.call(guard.tier.close, otherwise=None)

    def _invalidated(self, tag: str) -> tuple[str, int] | None:
        """Return the incarnation and the count of a tag's last invalidation; None while nobody can say."""
        if self._shared is None:
            return LOCAL, self._counts.get(tag, 0)
        now = self._clock.monotonic()
        known = self._known.get(tag)
        if known is None or now - known[2] > self._lag:
            before = self._count
            found = self._shared.call(self._shared.tier.invalidations, [tag], otherwise=None)
            if found is None:
                return None
            if len(self._known) > 10_000:
                self._known.clear()
            known = (found[0], found[1][0], now)
            with self._lock:
                if self._count == before:
                    self._known[tag] = known
        return known[0], known[1]

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held."""
        self._lock = threading.Lock()
