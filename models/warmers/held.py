"""What a cache without bound holds: each answer until it dies, by its time to live or by a flush."""

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand, Window
from features.demand_tally import Tally
from models.warmers.settings import WarmerSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Held:
    """Until when the answer to each key lives. Take windows in order: `begin`, then `due` and `fetch`, then `serve`.

    Where keys `share`, (k,), those of one number are served each other's answers, as a semantic tier does. What is due
    stays a key's own answer.
    """

    def __init__(self, demand: Demand, settings: WarmerSettings, share: Ints | None = None) -> None:
        self._demand, self._settings = demand, settings
        self.share = np.arange(demand.keys) if share is None else share
        """(k,) Whose answers serve whom."""
        self._dies = np.full(demand.keys, -np.inf)
        self._served = np.full(int(self.share.max(initial=-1)) + 1, -np.inf)
        """Until when any answer serves those that share."""

    def begin(self, window: Window) -> bool:
        """Flush where it is time to; returns whether it was."""
        every = self._settings.flush_seconds
        flushed = every is not None and window.start % every == 0
        if flushed:
            self._dies[:] = -np.inf
            self._served[:] = -np.inf
        return flushed

    def due(self, tally: Tally, window: Window) -> Ints:
        """Return the keys that a prefill may be for: asked for before, and not held for the whole window."""
        keys = tally.seen
        return keys[self._dies[keys] < window.start + self._settings.window_seconds]

    def until(self, keys: Ints) -> Floats:
        """Return until when keys are served, (keys,), seconds; -inf where they were never."""
        return self._served[self.share[keys]]

    def fetch(self, keys: Ints, at: float | Floats) -> None:
        """Fetch answers ahead at a moment, or each at its own: when the held one dies, where one is held then."""
        self._dies[keys] = np.maximum(self._dies[keys], at) + self._settings.ttl_seconds
        np.maximum.at(self._served, self.share[keys], self._dies[keys])

    def missing(self, window: Window) -> tuple[Ints, Floats]:
        """Return the keys that the window's requests will miss, and when: each at most once, for answers outlive it."""
        rows = slice(window.begin, window.end)
        key, at = self._demand.key[rows], self._demand.at[rows]
        late = np.flatnonzero(at >= self.until(key))
        _, first = np.unique(self.share[key[late]], return_index=True)
        return key[late[first]], at[late[first]]

    def serve(self, window: Window) -> Ints:
        """Answer the window's requests, and return the keys that missed."""
        missed, at = self.missing(window)
        self._dies[missed] = self._served[self.share[missed]] = at + self._settings.ttl_seconds
        return missed
