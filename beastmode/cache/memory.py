"""The first tier: entries in this process's memory, bounded by bytes."""

import threading
from collections.abc import Callable, Sequence

from beastmode.cache.entry import Entry
from beastmode.errors import CacheError
from beastmode.eviction import DEFAULT, RULES, Eviction
from beastmode.forks import renew_after_fork


class Memory:
    """At most `max_bytes` of entries; safe for threads, and a forked child keeps what it inherited.

    `eviction` makes the rule by which a full tier lets go of entries, or is its name in `beastmode.eviction.RULES`.
    What a rule remembers of each entry counts towards `max_bytes`.
    """

    name = "memory"

    def __init__(self, max_bytes: int = 64 << 20, eviction: str | Callable[[], Eviction[bytes]] = DEFAULT) -> None:
        """Begin empty; raises CacheError on a size that holds nothing, and on a rule of no known name."""
        if isinstance(eviction, str):
            if eviction not in RULES:
                raise CacheError(f"Memory: eviction = {eviction!r} is unknown; name one of {', '.join(RULES)}")
            eviction = RULES[eviction]
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
        """Hold an entry; one that is larger than the whole tier is not held.

        A new answer to a held key takes its place, and what the rule knows of the key's uses stays: an answer that dies
        and is fetched again is as much in demand as before, and a prefill is no use.
        """
        gone: list[Entry] = []
        size = self._weight(entry)
        with self._lock:
            held = self._entries.get(entry.key)
            if held is not None and self.bytes - self._weight(held) + size <= self.max_bytes:
                self.bytes += size - self._weight(held)
                self._entries[entry.key] = entry
                self._used.discard(entry.key)
                return gone
            self._drop(entry.key)
            if size > self.max_bytes:
                return gone
            while self.bytes + size > self.max_bytes:
                key = self._eviction.evict()
                evicted = self._entries.pop(key)
                self.bytes -= self._weight(evicted)
                if key in self._used:
                    self._used.discard(key)
                    gone.append(evicted)
            self._entries[entry.key] = entry
            self.bytes += size
            self._eviction.insert(entry.key, size, entry.cost_usd or 0.0)
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
            self.bytes -= self._weight(entry)
            self._used.discard(key)
            self._eviction.remove(key)

    def _weight(self, entry: Entry) -> int:
        return entry.size + self._eviction.overhead

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held, and what that thread left half done."""
        self._lock = threading.Lock()
        held, self._entries, self._used = list(self._entries.values()), {}, set()
        self.bytes = 0
        self._eviction = self._make()
        for entry in held:
            self.put(entry)
