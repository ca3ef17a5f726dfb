"""What every eviction rule promises to the cache that it serves."""

from collections.abc import Collection, Hashable, Iterable
from typing import Any, Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Eviction(Protocol[Key]):
    """Decides what has to go from a full cache."""

    @property
    def overhead(self) -> int:
        """Bytes that it takes for each held key beyond what least recently used does, ghosts included."""

    def hit(self, key: Key) -> None:
        """Note that a held key was used."""

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Note a new key, its bytes, and what it would cost to make it again: zero where that is not known."""

    def evict(self) -> Key:
        """Choose a held key, and forget it."""

    def remove(self, key: Key) -> None:
        """Forget a key that is gone for another reason; one that is not held is passed over."""


def hand_over(rule: Any, has: Iterable[Key], held: Collection[Key]) -> None:
    """Make a rule that holds `has` hold `held` instead, so that rules are compared from the same contents.

    What it remembers of keys that are not there (ghosts, counts) stays. A rule for which to be handed a key and to be
    asked for one differ has a way of its own, `adopt`.
    """
    if hasattr(rule, "adopt"):
        rule.adopt(held)
        return
    wanted, there = set(held), set(has)
    for key in there - wanted:
        rule.remove(key)
    for key in held:
        if key not in there:
            rule.insert(key, 1, 1.0)
