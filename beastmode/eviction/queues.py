"""Rules that keep keys in queues: least recently used, SIEVE and S3-FIFO."""

from collections import OrderedDict
from typing import Generic

from beastmode.eviction.rule import Key

MOST_USES = 3
"""S3-FIFO counts no further (Yang et al. 2023, section 4: two bits)."""
SMALL_SHARE = 0.1
"""Of the held keys, the share that S3-FIFO keeps on probation (ibid.)."""


class LeastRecent(Generic[Key]):
    """Evicts what was not used for longest."""

    overhead = 0

    def __init__(self) -> None:
        self._order: OrderedDict[Key, None] = OrderedDict()

    def hit(self, key: Key) -> None:
        """Move a key to the safe end."""
        self._order.move_to_end(key)

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Put a key at the safe end."""
        self._order[key] = None

    def evict(self) -> Key:
        """Return the key at the other end."""
        return self._order.popitem(last=False)[0]

    def remove(self, key: Key) -> None:
        """Forget a key."""
        self._order.pop(key, None)


class Sieve(Generic[Key]):
    """A queue and a hand that passes over keys that were used, once (SIEVE, Zhang et al. 2024, algorithm 1)."""

    overhead = 80

    def __init__(self) -> None:
        self._used: dict[Key, bool] = {}
        self._newer: dict[Key, Key | None] = {}
        self._older: dict[Key, Key | None] = {}
        self._newest: Key | None = None
        self._oldest: Key | None = None
        self._hand: Key | None = None

    def hit(self, key: Key) -> None:
        """Mark a key as used."""
        self._used[key] = True

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Put a key at the new end."""
        self._used[key] = False
        self._older[key], self._newer[key] = self._newest, None
        if self._newest is not None:
            self._newer[self._newest] = key
        else:
            self._oldest = key
        self._newest = key

    def evict(self) -> Key:
        """Move the hand to the first unused key, and return that."""
        at = self._hand if self._hand is not None else self._oldest
        if at is None:
            raise KeyError("nothing is held")
        while self._used[at]:
            self._used[at] = False
            step = self._newer[at]
            at = step if step is not None else self._oldest
            assert at is not None
        self._hand = at
        self.remove(at)
        return at

    def remove(self, key: Key) -> None:
        """Forget a key; the hand moves on if it stood there."""
        if key not in self._used:
            return
        if self._hand == key:
            self._hand = self._newer[key]
        newer, older = self._newer.pop(key), self._older.pop(key)
        del self._used[key]
        if newer is None:
            self._newest = older
        else:
            self._older[newer] = older
        if older is None:
            self._oldest = newer
        else:
            self._newer[older] = newer


class S3Fifo(Generic[Key]):
    """Three queues: on probation, proven, and the names of what failed (S3-FIFO, Yang et al. 2023, algorithm 1)."""

    overhead = 100

    def __init__(self) -> None:
        self._small: OrderedDict[Key, int] = OrderedDict()
        self._main: OrderedDict[Key, int] = OrderedDict()
        self._ghosts: OrderedDict[Key, None] = OrderedDict()

    def hit(self, key: Key) -> None:
        """Count one more use, up to three."""
        queue = self._small if key in self._small else self._main
        queue[key] = min(queue[key] + 1, MOST_USES)

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Hold a key: on probation, unless it failed a short while ago and is back."""
        if key in self._ghosts:
            del self._ghosts[key]
            self._main[key] = 0
        else:
            self._small[key] = 0

    def evict(self) -> Key:
        """Return what fails probation, where that queue is over its share, else what is proven no longer."""
        held = len(self._small) + len(self._main)
        while self._small and (len(self._small) > SMALL_SHARE * held or not self._main):
            key, uses = self._small.popitem(last=False)
            if uses > 1:
                self._main[key] = 0
            else:
                self._ghosts[key] = None
                while len(self._ghosts) > held:
                    self._ghosts.popitem(last=False)
                return key
        while True:
            key, uses = self._main.popitem(last=False)
            if not uses:
                return key
            self._main[key] = uses - 1

    def remove(self, key: Key) -> None:
        """Forget a key."""
        self._small.pop(key, None)
        self._main.pop(key, None)
