"""The rules that need no training, and what every evictor gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beastmode.cache.memory import LeastRecent
from beastmode.eviction import Gdsf, GhostLfu, S3Fifo, Sieve
from models.evictors.replay import Watch
from models.evictors.settings import EvictorSettings, Past


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rule to be, and who feeds it."""

    make: Callable[[], Any]
    """Makes the rule, a `beastmode.cache.memory.Eviction`, that knows nothing yet."""
    watch: Watch | None = None
    """A background learner, see `replay`."""
    every: int = 0
    """Requests between two calls of it."""


def lru(past: Past, settings: EvictorSettings, seed: int) -> Prepared:
    """Least recently used."""
    return Prepared(LeastRecent)


def ghost_lfu(past: Past, settings: EvictorSettings, seed: int) -> Prepared:
    """Least frequently used, with counts that outlive their entries."""
    return Prepared(GhostLfu)


def s3_fifo(past: Past, settings: EvictorSettings, seed: int) -> Prepared:
    """Three queues."""
    return Prepared(S3Fifo)


def sieve(past: Past, settings: EvictorSettings, seed: int) -> Prepared:
    """A queue and a hand."""
    return Prepared(Sieve)


def gdsf(past: Past, settings: EvictorSettings, seed: int) -> Prepared:
    """Greedy-dual by uses, cost and size."""
    return Prepared(Gdsf)
