"""Demand for questions as people word them: each key of a world is asked for in one of several wordings."""

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand

Ints = NDArray[np.int64]


def worded(world: Demand, wordings: int, seed: int) -> tuple[Demand, Ints]:
    """Return demand for wordings, each request in one of so many by lot, and the key of the world of each, (k,).

    Wordings and the keys among them are numbered from 0; those that nobody draws are left out.
    """
    drawn = np.random.default_rng(seed).integers(0, wordings, len(world))
    told, key = np.unique(world.key * wordings + drawn, return_inverse=True)
    of = np.unique(told // wordings, return_inverse=True)[1]
    return Demand.of(key, world.at), of.astype(np.int64)
