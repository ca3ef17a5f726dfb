"""When each key is asked for next: what is known in hindsight, for labels and for the oracle."""

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand
from models.warmers.settings import WarmerSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Coming:
    """Finds the next request for a key after any moment."""

    def __init__(self, demand: Demand) -> None:
        # Requests by key and then time in one number, so that a next one is one binary search.
        self._begin = float(demand.at[0]) if len(demand) else 0.0
        self._span = 2 * (float(demand.at[-1]) - self._begin + 1.0) if len(demand) else 1.0
        self._uses = np.sort(demand.key * self._span + (demand.at - self._begin))

    def wait(self, keys: Ints, at: float | Floats) -> Floats:
        """Return the seconds from a moment, or each from its own, to the next request, (keys,), inf where none is."""
        if not len(self._uses):
            return np.full(len(keys), np.inf)
        now = keys * self._span + np.minimum(at - self._begin, self._span / 2)
        place = np.searchsorted(self._uses, now)
        following = self._uses[np.minimum(place, len(self._uses) - 1)]
        there = (place < len(self._uses)) & (following // self._span == keys)
        return np.where(there, following - now, np.inf)

    def left(self, keys: Ints, at: Floats, settings: WarmerSettings) -> Floats:
        """Return which share of its life is left to an answer fetched `at` a moment when it is first asked for."""
        wait, every = self.wait(keys, at), settings.flush_seconds
        lives = settings.ttl_seconds if every is None else np.minimum(settings.ttl_seconds, every - at % every)
        return np.where(wait < lives, 1 - wait / settings.ttl_seconds, 0.0)
