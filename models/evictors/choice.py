"""The evictor for a cache: each is replayed on the past, and the one with the most hits is chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evictors import EVICTORS
from models.evictors.replay import Replayed, hand_over, replay
from models.evictors.settings import EvictorSettings, Past

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen evictor, and what each would have earned."""

    name: str
    hit_rates: Mapping[str, float]
    """On the second half of the past, after the first."""


def choose(past: Past, settings: EvictorSettings, seed: int, names: Sequence[str] = tuple(EVICTORS)) -> Choice:
    """Replay each evictor on the later half of the past, trained on and warm from the earlier; the first of equals."""
    half = len(past.key) // 2
    rates = {
        name: played.hit_rate
        for name, played in compare(past, half, settings, seed, names).items()
    }  # fmt: skip
    return Choice(max(rates, key=lambda name: rates[name]), rates)


def compare(
    past: Past, split: int, settings: EvictorSettings, seed: int, names: Sequence[str] = tuple(EVICTORS)
) -> dict[str, Replayed]:
    """Return what each evictor earns after `split` requests, all from the contents that least recently used has there.

    Each has replayed the requests before, and keeps what it remembers of them.
    """
    before = Past(past.key[:split], past.keys, past.capacity)
    warm = replay(before.key, EVICTORS["lru"](before, settings, seed).make(), past.capacity)
    told = {}
    for name in names:
        prepared = EVICTORS[name](before, settings, seed)
        rule = prepared.make()
        has = replay(before.key, rule, past.capacity).held
        hand_over(rule, has, warm.held)
        told[name] = replay(
            past.key[split:], rule, past.capacity, warm.held, watch=prepared.watch, every=prepared.every
        )  # fmt: skip
    return told
