"""A running table of follow-ups: what is asked soon after what, and how often."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RARELY = 0.05
"""Shares below this are not told."""
NEXT = 64
"""Of the requests that follow in time, how many are looked at, the first ones: it bounds the work of a request."""
PAIRS = 2_000_000
"""Pairs that are remembered at most, those that came most often."""
_SHIFT = 32


class FollowUps:
    """Counts, for each key, which keys are asked for `after` to `within` seconds later.

    Time is cut into slots of `within` seconds, and a key's first request in a slot is one trial of it, so that many
    requests at once are one. A share is of trials, with two more that nothing followed: what came once says little.
    """

    def __init__(self, after: float = 5.0, within: float = 60.0) -> None:
        if not 0 <= after < within:
            raise ValueError(f"follow-ups: after = {after} must be at least 0 and below within = {within}")
        self.after, self.within = after, within
        self._key, self._at = np.zeros(0, dtype=np.int64), np.zeros(0)
        self._counted = 0
        """Rows of these whose followers are counted already, or that are no trials."""
        self._slot = np.zeros(0)
        self._trials = np.zeros(0)
        self._pair, self._count = np.zeros(0, dtype=np.int64), np.zeros(0)
        self._told: tuple[Ints, Floats] | None = None

    def __len__(self) -> int:
        """Return how many pairs are remembered."""
        return len(self._pair)

    def add(self, key: Ints, at: Floats) -> None:
        """Take the next requests, (n,), in time order; keys are from 0 to 2^31 - 1.

        What follows a request is counted once `within` seconds have passed.
        """
        if not len(key):
            return
        self._grow(int(key.max()) + 1)
        self._key, self._at = np.concatenate([self._key, key]), np.concatenate([self._at, at])
        done = int(np.searchsorted(self._at, self._at[-1] - self.within))
        if done > self._counted:
            self._count_followers(self._counted, done)
        # Followers of what is not counted yet are later than it.
        self._key, self._at, self._counted = self._key[done:], self._at[done:], 0

    def followers(self, keys: Ints) -> tuple[Ints, Ints, Floats, Floats]:
        """Return (place in `keys`, follower, share of the key's trials that it followed, trials), (m,) each."""
        if self._told is None:
            share = self._count / (self._trials[self._pair >> _SHIFT] + 2)
            often = share >= RARELY
            self._told = self._pair[often], share[often]
        pair, share = self._told
        begin, end = np.searchsorted(pair, keys << _SHIFT), np.searchsorted(pair, (keys + 1) << _SHIFT)
        place = np.repeat(np.arange(len(keys)), end - begin)
        row = spans(begin, end)
        return place, pair[row] & ((1 << _SHIFT) - 1), share[row], self._trials[pair[row] >> _SHIFT]

    def _count_followers(self, begin: int, end: int) -> None:
        key, at = self._key[begin:end], self._at[begin:end]
        slot = np.floor(at / self.within)
        _, first = np.unique(np.stack([key, slot.astype(np.int64)]), axis=1, return_index=True)
        first = first[slot[first] > self._slot[key[first]]]
        np.maximum.at(self._slot, key[first], slot[first])
        np.add.at(self._trials, key[first], 1)
        low = np.searchsorted(self._at, at[first] + self.after)
        high = np.minimum(np.searchsorted(self._at, at[first] + self.within, side="right"), low + NEXT)
        trial, follower = np.repeat(np.arange(len(first)), high - low), self._key[spans(low, high)]
        came = np.unique((trial << _SHIFT) | follower)
        leader, follower = key[first][came >> _SHIFT], came & ((1 << _SHIFT) - 1)
        other = leader != follower
        pair, count = np.unique((leader[other] << _SHIFT) | follower[other], return_counts=True)
        place = np.searchsorted(self._pair, pair)
        known = np.zeros(len(pair), dtype=bool)
        known[place < len(self._pair)] = (
            self._pair[place[place < len(self._pair)]] == pair[place < len(self._pair)]
        )  # fmt: skip
        self._count[place[known]] += count[known]
        self._pair = np.insert(self._pair, place[~known], pair[~known])
        self._count = np.insert(self._count, place[~known], count[~known])
        if len(self._pair) > PAIRS:
            stay = np.sort(np.argpartition(-self._count, PAIRS // 2)[: PAIRS // 2])
            self._pair, self._count = self._pair[stay], self._count[stay]
        self._told = None

    def _grow(self, keys: int) -> None:
        more = max(keys - len(self._trials), 0)
        self._trials = np.concatenate([self._trials, np.zeros(more)])
        self._slot = np.concatenate([self._slot, np.full(more, -np.inf)])


def spans(begin: Ints, end: Ints) -> Ints:
    """Return the numbers from each `begin` to before its `end`, (m,), one after the other.

    >>> spans(np.array([3, 8]), np.array([5, 9])).tolist()
    [3, 4, 8]
    """
    length = end - begin
    return np.asarray(np.arange(int(length.sum())) + np.repeat(begin - np.cumsum(length) + length, length))
