"""The rules of serving as evictors, and what every evictor gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beastmode.eviction import FIXED, Adaptive, NextUse
from models.evictors.next_use import Learner
from models.evictors.settings import EvictorSettings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rule that knows nothing yet, and who teaches it."""

    rule: Any
    """A `beastmode.eviction.Eviction`."""
    learner: Learner | None = None
    """To be called with the requests, see `replay`."""


Evictor = Callable[[int, EvictorSettings, int], Prepared]
"""Of a capacity, settings and a seed."""


def plain(name: str) -> Evictor:
    """Return the evictor of a rule that needs no training, by its name in serving."""

    def make(capacity: int, settings: EvictorSettings, seed: int) -> Prepared:
        return Prepared(FIXED[name]())

    return make


def next_use(capacity: int, settings: EvictorSettings, seed: int) -> Prepared:
    """Make the learned rule alone."""
    rule: NextUse[int] = NextUse(pace=capacity)
    return Prepared(rule, Learner(rule, capacity, settings, seed))


def adaptive(capacity: int, settings: EvictorSettings, seed: int) -> Prepared:
    """Make the vote of all rules, the learned one among them."""
    learned = next_use(capacity, settings, seed)
    rules = {**{name: make() for name, make in FIXED.items()}, "next_use": learned.rule}
    return Prepared(Adaptive(rules), learned.learner)
