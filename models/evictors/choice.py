"""Evictors compared: each replays the past, and is judged on what came later from the same contents."""

from collections.abc import Sequence

from beastmode.eviction import hand_over
from models.evictors import EVICTORS
from models.evictors.replay import Replayed, replay
from models.evictors.settings import EvictorSettings, Past

CHOSEN = "adaptive"
"""What serves. No choice by the past holds where traffic changes: this one goes on choosing."""


def past_rates(past: Past, settings: EvictorSettings, seed: int) -> dict[str, float]:
    """Return each evictor's hit rate on the later half of the past, after the earlier one."""
    return {name: each.hit_rate for name, each in compare(past, len(past.key) // 2, settings, seed).items()}


def compare(
    past: Past, split: int, settings: EvictorSettings, seed: int, names: Sequence[str] = tuple(EVICTORS)
) -> dict[str, Replayed]:
    """Return what each evictor earns after `split` requests, all from the contents that least recently used has there.

    Each has replayed the requests before, and keeps what it remembers of them; learners go on learning.
    """
    before, after = past.key[:split], past.key[split:]
    warm = replay(before, EVICTORS["lru"](past.capacity, settings, seed).rule, past.capacity).held
    told = {}
    for name in names:
        prepared = EVICTORS[name](past.capacity, settings, seed)
        has = replay(before, prepared.rule, past.capacity, watch=prepared.learner).held
        if prepared.learner is not None:
            prepared.learner.teach()
        hand_over(prepared.rule, has, warm)
        told[name] = replay(after, prepared.rule, past.capacity, warm, prepared.learner)
    return told
