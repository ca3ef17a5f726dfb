"""What a full cache lets go of: rules beside least-recent, for `Memory(eviction=...)` and for replays of the past."""

import heapq
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from itertools import count
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

GHOSTS = 8
"""Evicted keys whose uses are remembered, for each key that is held."""
MOST_USES = 3
"""S3-FIFO counts no further (Yang et al. 2023, section 4: two bits)."""
SMALL_SHARE = 0.1
"""Of the held keys, the share that S3-FIFO keeps on probation (ibid.)."""


class _Heap(Generic[Key]):
    """Keys by rising priority; a changed priority leaves its old pair behind, which is skipped when it comes up."""

    def __init__(self) -> None:
        self._pairs: list[tuple[float, int, Key]] = []
        self._valid: dict[Key, int] = {}
        self._ticks = count()

    def __len__(self) -> int:
        return len(self._valid)

    def __contains__(self, key: object) -> bool:
        return key in self._valid

    def set(self, key: Key, priority: float) -> None:
        tick = next(self._ticks)
        self._valid[key] = tick
        heapq.heappush(self._pairs, (priority, tick, key))
        if len(self._pairs) > 64 + 8 * len(self._valid):
            self._pairs = [pair for pair in self._pairs if self._valid.get(pair[2]) == pair[1]]
            heapq.heapify(self._pairs)

    def pop(self) -> tuple[float, Key]:
        while True:
            priority, tick, key = heapq.heappop(self._pairs)
            if self._valid.get(key) == tick:
                del self._valid[key]
                return priority, key

    def discard(self, key: Key) -> None:
        self._valid.pop(key, None)


class GhostLfu(Generic[Key]):
    """Evicts what was used least often, the longest unused of equals; counts outlive their entries.

    LFU that forgets a count with its entry is far worse: a key that returns begins anew. Counts of the last
    `GHOSTS` times as many evicted keys as are held stay.
    """

    def __init__(self) -> None:
        self._heap: _Heap[Key] = _Heap()
        self._uses: dict[Key, int] = {}
        self._ghosts: OrderedDict[Key, int] = OrderedDict()

    def hit(self, key: Key) -> None:
        """Count one more use."""
        self._uses[key] += 1
        self._heap.set(key, self._uses[key])

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Hold a key, with the uses that are remembered of it."""
        self._uses[key] = self._ghosts.pop(key, 0) + 1
        self._heap.set(key, self._uses[key])

    def evict(self) -> Key:
        """Return the least used key, and remember its uses."""
        _, key = self._heap.pop()
        self._remember(key)
        return key

    def remove(self, key: Key) -> None:
        """Let go of a key; its uses are remembered, for demand does not end with an entry."""
        if key in self._heap:
            self._heap.discard(key)
            self._remember(key)

    def _remember(self, key: Key) -> None:
        self._ghosts[key] = self._uses.pop(key)
        while len(self._ghosts) > GHOSTS * (len(self._heap) + 1):
            self._ghosts.popitem(last=False)


class Gdsf(Generic[Key]):
    """Evicts the smallest of age + uses x cost / size (GreedyDual-Size-Frequency, Cherkasova 1998, equation 2).

    The age is the priority of the last evicted key, so that old fame fades. A cost that is not known (zero) is taken
    as the mean of the known ones.
    """

    def __init__(self) -> None:
        self._heap: _Heap[Key] = _Heap()
        self._uses: dict[Key, int] = {}
        self._worth: dict[Key, float] = {}
        self._age = 0.0
        self._known = 0
        self._total = 0.0

    def hit(self, key: Key) -> None:
        """Count one more use, at today's age."""
        self._uses[key] += 1
        self._heap.set(key, self._age + self._uses[key] * self._worth[key])

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Hold a key; `size` in bytes, `cost` in any one unit."""
        if cost > 0:
            self._known += 1
            self._total += cost
        usual = self._total / self._known if self._known else 1.0
        self._uses[key] = 1
        self._worth[key] = (cost if cost > 0 else usual) / max(size, 1)
        self._heap.set(key, self._age + self._worth[key])

    def evict(self) -> Key:
        """Return the key of the smallest priority, and age to it."""
        self._age, key = self._heap.pop()
        del self._uses[key], self._worth[key]
        return key

    def remove(self, key: Key) -> None:
        """Forget a key."""
        if key in self._heap:
            self._heap.discard(key)
            del self._uses[key], self._worth[key]


class Sieve(Generic[Key]):
    """A queue and a hand that passes over keys that were used, once (SIEVE, Zhang et al. 2024, algorithm 1)."""

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


class Ranked(Generic[Key]):
    """Evicts by a list that a learner made in the background, the least worth keeping first.

    A key that was used or came since the list was made is none of the list's any more: it goes only when the list is
    used up, and then the longest unused first.
    """

    def __init__(self, ranked: Sequence[Key] = ()) -> None:
        self._order: OrderedDict[Key, None] = OrderedDict()
        self._listed: dict[Key, None] = {}
        self._waiting: list[Key] = []
        self.load(ranked)

    def load(self, ranked: Sequence[Key]) -> None:
        """Take a new list; keys in it that are not held are passed over when they come up."""
        self._waiting = list(ranked)[::-1]
        self._listed = dict.fromkeys(ranked)

    def held(self) -> list[Key]:
        """Return the held keys, the longest unused first: what a new list should rank."""
        return list(self._order)

    def hit(self, key: Key) -> None:
        """Move a key to the safe end."""
        self._order.move_to_end(key)
        self._listed.pop(key, None)

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Put a key at the safe end."""
        self._order[key] = None
        self._listed.pop(key, None)

    def evict(self) -> Key:
        """Return the next of the list, else the longest unused."""
        while self._waiting:
            key = self._waiting.pop()
            if key in self._listed and key in self._order:
                del self._order[key], self._listed[key]
                return key
        return self._order.popitem(last=False)[0]

    def remove(self, key: Key) -> None:
        """Forget a key."""
        self._order.pop(key, None)
        self._listed.pop(key, None)
