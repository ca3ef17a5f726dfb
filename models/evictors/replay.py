"""A trace against a bounded cache: the hits of any eviction rule, and of the one that knows the future."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

Watch = Callable[[Ints], None]
"""Called with the keys since the last call; a learner in the background teaches its rule there."""
BLOCK = 256
"""Requests between two such calls."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay of n requests."""

    hits: int
    requests: int
    held: list[int]
    """The keys that are in the cache at the end, in the order of their last use."""

    @property
    def hit_rate(self) -> float:
        """Hits a request."""
        return self.hits / max(self.requests, 1)


def replay(keys: Ints, rule: Any, capacity: int, held: Iterable[int] = (), watch: Watch | None = None) -> Replayed:
    """Ask a cache of `capacity` entries for every key, (n,); `rule` is a `beastmode.eviction.Eviction`.

    `held` are the keys that are there and that the rule knows.
    """
    if capacity < 1:
        raise ValueError(f"replay: capacity = {capacity} must be at least 1")
    there = dict.fromkeys(held)
    hits = 0
    hit, insert, evict = rule.hit, rule.insert, rule.evict
    for start in range(0, len(keys), BLOCK):
        block = keys[start : start + BLOCK]
        for key in block.tolist():
            if key in there:
                hits += 1
                hit(key)
                # The dictionary is in order of last use, which `hand_over` needs.
                del there[key]
                there[key] = None
                continue
            if len(there) >= capacity:
                del there[evict()]
            there[key] = None
            insert(key, 1, 1.0)
        if watch is not None:
            watch(block)
    return Replayed(hits, len(keys), list(there))


def next_use(keys: Ints) -> Ints:
    """Return the place of each request's next one for the same key, n where there is none, (n,)."""
    n = len(keys)
    order = np.lexsort((np.arange(n), keys))
    result = np.full(n, n, dtype=np.int64)
    same = keys[order][1:] == keys[order][:-1]
    result[order[:-1][same]] = order[1:][same]
    return result


def belady(keys: Ints, capacity: int, held: Iterable[int] = ()) -> Replayed:
    """Replay with the rule that evicts what is used last in future: no rule has more hits (Belady 1966, MIN)."""
    if capacity < 1:
        raise ValueError(f"belady: capacity = {capacity} must be at least 1")
    n = len(keys)
    following = next_use(keys).tolist()
    first: dict[int, int] = {}
    for number, key in reversed(list(enumerate(keys.tolist()))):
        first[key] = number
    there = {key: first.get(key, n) for key in held}
    heap = [(-number, key) for key, number in there.items()]
    heapq.heapify(heap)
    hits = 0
    for number, key in enumerate(keys.tolist()):
        if key in there:
            hits += 1
        elif len(there) >= capacity:
            while True:
                negative, victim = heapq.heappop(heap)
                if there.get(victim) == -negative:
                    break
            del there[victim]
        there[key] = following[number]
        heapq.heappush(heap, (-following[number], key))
    return Replayed(hits, n, list(there))
