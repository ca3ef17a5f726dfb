"""The first tier: entries in this process's memory, bounded by bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from beastmode.cache.entry import Entry
from beastmode.errors import CacheError
from beastmode.forks import renew_after_fork


class Eviction(Protocol):
    """Decides what has to go."""

    def hit(self, key: bytes) -> None:
        """Note that a key was used."""

    def insert(self, key: bytes, size: int, cost: float) -> None:
        """Note a new key, its bytes, and what it would cost to make it again."""

    def evict(self) -> bytes:
        """Choose a key, and forget it."""

    def remove(self, key: bytes) -> None:
        """Forget a key that is gone for another reason."""


class LeastRecent:
    """Evicts what was not used for longest."""

    def __init__(self) -> None:
        self._order: OrderedDict[bytes, None] = OrderedDict()

    def hit(self, key: bytes) -> None:
        """Move a key to the safe end."""
        self._order.move_to_end(key)

    def insert(self, key: bytes, size: int, cost: float) -> None:
        """Put a key at the safe end."""
        self._order[key] = None

    def evict(self) -> bytes:
        """Return the key at the other end."""
        return self._order.popitem(last=False)[0]

    def remove(self, key: bytes) -> None:
        """Forget a key."""
        self._order.pop(key, None)


class Memory:
    """At most `max_bytes` of entries; safe for threads, and a forked child keeps what it inherited."""

    name = "memory"

    def __init__(self, max_bytes: int = 64 << 20, eviction: Callable[[], Eviction] = LeastRecent) -> None:
        if max_bytes <= 0:
            raise CacheError(f"Memory: max_bytes = {max_bytes} must be positive; leave the tier out to do without")
        self.max_bytes = max_bytes
        self.bytes = 0
        self._make = eviction
        self._eviction = eviction()
        self._entries: dict[bytes, Entry] = {}
        self._used: set[bytes] = set()
        self._lock = threading.Lock()
        renew_after_fork(self)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under a key, fresh or not, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._eviction.hit(key)
                self._used.add(key)
            return entry

    def put(self, entry: Entry) -> Sequence[Entry]:
        """Hold an entry; one that is larger than the whole tier is not held."""
        gone: list[Entry] = []
        with self._lock:
            self._drop(entry.key)
            if entry.size > self.max_bytes:
                return gone
            while self.bytes + entry.size > self.max_bytes:
                key = self._eviction.evict()
                evicted = self._entries.pop(key)
                self.bytes -= evicted.size
                if key in self._used:
                    self._used.discard(key)
                    gone.append(evicted)
            self._entries[entry.key] = entry
            self.bytes += entry.size
            self._eviction.insert(entry.key, entry.size, entry.cost_usd or 0.0)
        return gone

    def remove(self, key: bytes) -> None:
        """Forget a key."""
        with self._lock:
            self._drop(key)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            for key in list(self._entries):
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size
            self._used.discard(key)
            self._eviction.remove(key)

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held, and what that thread left half done."""
        self._lock = threading.Lock()
        held, self._entries, self._used = list(self._entries.values()), {}, set()
        self.bytes = 0
        self._eviction = self._make()
        for entry in held:
            self.put(entry)
