"""What an evictor is trained on, and how."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Past:
    """Requests to a cache of so many entries."""

    key: NDArray[np.int64]
    """(n,) In their order."""
    keys: int
    """How many keys there are, those to come included: a key is a number below it."""
    capacity: int
    """Entries."""


@dataclass(frozen=True, slots=True)
class EvictorSettings:
    """Of the learned evictor; the rules have none."""

    lists_a_capacity: int = 8
    """New lists in the time of as many requests as the cache has entries."""
    rows: int = 1600
    """Most keys that are learned from at one moment."""
    wide: float = 2.0
    """Keys are learned from that were used as recently as the latest `wide` times capacity."""
    farthest: float = 30.0
    """Next uses beyond so many times the capacity are all the same: too far."""
    rounds: int = 150
    leaves: int = 15
    rate: float = 0.05

    def every(self, capacity: int) -> int:
        """Return the requests from one list to the next."""
        return max(1, capacity // self.lists_a_capacity)
