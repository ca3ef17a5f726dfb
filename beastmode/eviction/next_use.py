"""A learned rule: evicts what a forest predicts to be asked for again last."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Generic

import numpy as np

from beastmode.eviction.rule import Key
from beastmode.eviction.uses import Uses
from beastmode.forest import Forest

LISTS = 8
"""New lists in the time of as many requests as keys are held."""
LONGEST = 512
"""Requests between two lists at most: what bounds how many victims one has to name."""
MOST = 4
"""Keys of which uses are remembered, for each key that is held."""
RANKED = 4096
"""Of the held keys, how many are ranked: those that were not used for longest. It bounds the time that a list takes."""


class NextUse(Generic[Key]):
    """Ranks the held keys every so many requests, and evicts by this list: the farthest next use first.

    Ranking happens when a key has to go, thus after a miss, whose answer took a model; a use costs nothing of it. A
    key that was used or came since the list was made is none of the list's any more: it goes only when the list is
    used up, and then the longest unused first. Without a forest this is least recently used. (Song et al. 2020, LRB.)
    """

    overhead = 1100

    def __init__(self, forest: Forest | None = None, pace: float = 1024.0) -> None:
        """Take a forest over `Uses.features` of that `pace`; more is a farther next use."""
        self.uses = Uses(pace)
        self._forest = forest
        self._order: OrderedDict[Key, None] = OrderedDict()
        self._list: Iterator[Key] = iter(())
        self._listed: set[Key] = set()
        self._asked: list[Key] = []

    def learn(self, forest: Forest) -> None:
        """Rank by another forest from now on."""
        self._forest = forest

    def hit(self, key: Key) -> None:
        """Move a key to the safe end."""
        self._order.move_to_end(key)
        self._note(key)

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Put a key at the safe end."""
        self._order[key] = None
        self._note(key)

    def evict(self) -> Key:
        """Return the next of the list, else the longest unused."""
        if len(self._asked) >= min(max(len(self._order) // LISTS, 1), LONGEST):
            self._rank()
        for key in self._list:
            if key in self._listed and key in self._order:
                del self._order[key]
                return key
        return self._order.popitem(last=False)[0]

    def remove(self, key: Key) -> None:
        """Forget a key; its uses are remembered, for demand does not end with an entry."""
        self._order.pop(key, None)
        self._listed.discard(key)

    def adopt(self, keys: Iterable[Key]) -> None:
        """Hold these keys instead of whatever is held; that is no use of them."""
        self._order = OrderedDict.fromkeys(keys)
        self._listed.clear()

    def _note(self, key: Key) -> None:
        self._listed.discard(key)
        self._asked.append(key)
        if len(self._asked) >= 8 * LONGEST:
            self._count()

    def _count(self) -> None:
        self.uses.add(self._asked)
        self._asked = []
        if len(self.uses) > MOST * (len(self._order) + 1024):
            self.uses.forget((MOST - 1) * (len(self._order) + 1024))

    def _rank(self) -> None:
        self._count()
        if self._forest is None:
            return
        held = list(islice(self._order, RANKED))
        place = self.uses.places(held)
        far = np.full(len(held), np.inf)  # what is not even remembered goes first
        far[place >= 0] = self._forest.predict(self.uses.features(place[place >= 0]))[:, 0]
        ranked = [held[number] for number in np.argsort(-far, kind="stable").tolist()]
        self._list, self._listed = iter(ranked), set(ranked)
