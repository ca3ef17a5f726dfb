"""What a cache without bound holds: each answer until it dies, by its time to live or by a flush."""

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand, Window
from features.demand_tally import Tally
from models.warmers.settings import WarmerSettings

Ints = NDArray[np.int64]


class Held:
    """Until when the answer to each key lives. Take windows in order: `begin`, then `due` and `fetch`, then `serve`."""

    def __init__(self, demand: Demand, settings: WarmerSettings) -> None:
        self._demand, self._settings = demand, settings
        self._dies = np.full(demand.keys, -np.inf)

    def begin(self, window: Window) -> bool:
        """Flush where it is time to; returns whether it was."""
        every = self._settings.flush_seconds
        flushed = every is not None and window.start % every == 0
        if flushed:
            self._dies[:] = -np.inf
        return flushed

    def due(self, tally: Tally, window: Window) -> Ints:
        """Return the keys that a prefill may be for: asked for before, and not held for the whole window."""
        keys = tally.seen
        return keys[self._dies[keys] < window.start + self._settings.window_seconds]

    def fetch(self, keys: Ints, window: Window) -> None:
        """Fetch answers ahead: each when the held one dies, or at the beginning of the window where none is held."""
        self._dies[keys] = np.maximum(self._dies[keys], window.start) + self._settings.ttl_seconds

    def serve(self, window: Window) -> Ints:
        """Answer the window's requests, and return the keys that missed: each at most once, for answers outlive it."""
        rows = slice(window.begin, window.end)
        key, at = self._demand.key[rows], self._demand.at[rows]
        late = np.flatnonzero(at >= self._dies[key])
        missed, first = np.unique(key[late], return_index=True)
        self._dies[missed] = at[late[first]] + self._settings.ttl_seconds
        return missed
