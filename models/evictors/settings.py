"""What an evictor is trained on, and how."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Past:
    """Requests to a cache of so many entries."""

    key: NDArray[np.int64]
    """(n,) In their order."""
    capacity: int
    """Entries."""


@dataclass(frozen=True, slots=True)
class EvictorSettings:
    """Of the learned evictor; the rules have none."""

    moments: int = 60
    """Looks at the past from which is learned, evenly spread."""
    rows: int = 1600
    """Most keys that are learned from at one moment."""
    wide: float = 2.0
    """Keys are learned from that were used as recently as the latest `wide` times capacity."""
    farthest: float = 30.0
    """Next uses beyond so many times the capacity are all the same: too far."""
    growth: float = 1.5
    """Learned anew whenever the past has grown so many times."""
    rounds: int = 150
    leaves: int = 7
    rate: float = 0.05
