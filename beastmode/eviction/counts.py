"""Rules that count uses: least frequently used with ghosts, and GreedyDual-Size-Frequency."""

import heapq
from collections import OrderedDict
from itertools import count
from typing import Generic

from beastmode.eviction.rule import Key

GHOSTS = 8
"""Evicted keys whose uses are remembered, for each key that is held."""


class _Heap(Generic[Key]):
    """Keys by rising priority, of equals the one that was set first. A key's priority may rise, never fall.

    A rise is only written down: the heap holds a lower bound of it, which is put right when it comes up.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[float, int, Key]] = []
        self._now: dict[Key, tuple[float, int, Key]] = {}
        self._ticks = count()

    def __len__(self) -> int:
        return len(self._now)

    def __contains__(self, key: object) -> bool:
        return key in self._now

    def set(self, key: Key, priority: float) -> None:
        pair = (priority, next(self._ticks), key)
        if key not in self._now:
            if len(self._pairs) > 64 + 2 * len(self._now):
                self._pairs = list(self._now.values())
                heapq.heapify(self._pairs)
            heapq.heappush(self._pairs, pair)
        self._now[key] = pair

    def pop(self) -> tuple[float, Key]:
        while True:
            pair = self._pairs[0]
            now = self._now.get(pair[2])
            if now is not None and now is not pair:
                heapq.heapreplace(self._pairs, now)
                continue
            heapq.heappop(self._pairs)
            if now is not None:
                del self._now[pair[2]]
                return pair[0], pair[2]

    def discard(self, key: Key) -> None:
        self._now.pop(key, None)


class GhostLfu(Generic[Key]):
    """Evicts what was used least often, the longest unused of equals; counts outlive their entries.

    LFU that forgets a count with its entry is far worse: a key that returns begins anew. Counts of the last
    `GHOSTS` times as many evicted keys as are held stay.
    """

    overhead = 900

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

    overhead = 250

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
