"""What is known of each key's past uses, as columns that predict how far away its next use is."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GAPS = 6
"""Gaps between uses that are remembered of each key."""
HALF_LIVES = (0.25, 1.0, 4.0, 16.0)
"""With which counts of uses fade, in paces."""
NAMES = (
    "age", *(f"gap_{i + 1}" for i in range(GAPS)), *(f"count_{h:g}" for h in HALF_LIVES), "uses", "rate", "life",
    "gap_mean", "gap_longest", "gap_shortest", "age_of_gap", "age_of_mean",
)  # fmt: skip
"""The columns of `Uses.features`, all of them logarithms; times are in paces."""
_TINY = 1e-3
_LAST, _BORN, _USES = 0, 1, 2
_COUNTS = slice(3, 3 + len(HALF_LIVES))
_GAPS = slice(_COUNTS.stop, _COUNTS.stop + GAPS)
_WIDTH = _COUNTS.stop + GAPS
"""The columns of what is kept of a key."""


class Uses:
    """Time is counted in requests, so that a log without a clock will do.

    `pace` is the number of requests that times are told in: the entries of a cache, say. Of keys that are gone the
    latest are remembered.
    """

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self.clock = 0
        self._slot: dict[Hashable, int] = {}
        self._half = np.array(HALF_LIVES) * pace
        self._rows = _empty(1024)

    def __len__(self) -> int:
        return len(self._slot)

    def add(self, keys: Sequence[Hashable]) -> None:
        """Count one request for each key, in their order."""
        slot = self._slot
        place = np.fromiter((slot.setdefault(key, len(slot)) for key in keys), dtype=np.int64, count=len(keys))
        while len(slot) > len(self._rows):
            self._rows = np.concatenate([self._rows, _empty(len(self._rows))])
        at = self.clock + np.arange(len(keys), dtype=np.float64)
        order = np.argsort(place, kind="stable")
        same = place[order]
        first = np.flatnonzero(np.r_[True, same[1:] != same[:-1]]) if len(keys) else np.zeros(0, dtype=np.int64)
        nth = np.arange(len(keys)) - np.repeat(first, np.diff(np.r_[first, len(keys)]))
        # All first uses in this block at once, then all second ones, and so on: a key is in each round at most once.
        for turn in range(int(nth.max(initial=-1)) + 1):
            rows = order[nth == turn]
            self._use(place[rows], at[rows])
        self.clock += len(keys)

    def places(self, keys: Sequence[Hashable]) -> Ints:
        """Return the place of each key, -1 where nothing is known of it."""
        return np.array([self._slot.get(key, -1) for key in keys], dtype=np.int64)

    def latest(self, most: int) -> Ints:
        """Return the places of so many keys, those that were asked for last."""
        last = self._rows[: len(self._slot), _LAST]
        return np.arange(len(last)) if len(last) <= most else np.argpartition(-last, most - 1)[:most]

    def features(self, place: Ints) -> NDArray[np.float32]:
        """Return what a learner sees of the keys at some places, (places, len(NAMES)), NaN where unknown."""
        rows = self._rows[place]
        age = (self.clock - rows[:, _LAST]) / self.pace
        gaps = rows[:, _GAPS] / self.pace
        counts = rows[:, _COUNTS] * 0.5 ** (age[:, None] * self.pace / self._half)
        uses = rows[:, _USES]
        life = np.maximum(self.clock - rows[:, _BORN], 1.0) / self.pace
        some = ~np.isnan(gaps)
        known = some.sum(axis=1)
        unknown = np.where(known > 0, 0.0, np.nan)
        mean = np.where(some, gaps, 0.0).sum(axis=1) / np.maximum(known, 1) + unknown
        longest = np.where(some, gaps, 0.0).max(axis=1) + unknown
        shortest = np.where(some, gaps, np.inf).min(axis=1, initial=1e9) + unknown
        columns = [
            age, *gaps.T, *counts.T, uses - _TINY, uses / life, life - _TINY, mean, longest, shortest,
            (age + _TINY) / (gaps[:, 0] + _TINY), (age + _TINY) / (mean + _TINY),
        ]  # fmt: skip
        return np.asarray(np.log(np.stack(columns, axis=1) + _TINY), dtype=np.float32)

    def forget(self, most: int) -> None:
        """Remember the latest so many keys only; all places change."""
        stay = np.sort(self.latest(most))
        named = list(self._slot)  # in the order of their places
        self._slot = {named[place]: number for number, place in enumerate(stay.tolist())}
        self._rows = np.concatenate([self._rows[stay], _empty(1024)])

    def _use(self, place: Ints, at: Floats) -> None:
        rows = self._rows[place]
        gap = at - rows[:, _LAST]
        new = np.isnan(gap)
        rows[:, _BORN] = np.where(new, at, rows[:, _BORN])
        rows[:, _COUNTS] = rows[:, _COUNTS] * 0.5 ** (np.where(new, 0.0, gap)[:, None] / self._half) + 1.0
        rows[:, _GAPS] = np.column_stack([gap, rows[:, _GAPS][:, :-1]])
        rows[:, _USES] += 1
        rows[:, _LAST] = at
        self._rows[place] = rows


def _empty(places: int) -> Floats:
    rows = np.full((places, _WIDTH), np.nan)
    rows[:, _USES] = 0.0
    rows[:, _COUNTS] = 0.0
    return rows
