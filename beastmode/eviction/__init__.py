"""What a full cache lets go of: rules for `Memory(eviction=...)` and for replays of the past."""

from collections.abc import Callable
from typing import Any

from beastmode.eviction.counts import Gdsf, GhostLfu
from beastmode.eviction.next_use import NextUse
from beastmode.eviction.queues import LeastRecent, S3Fifo, Sieve
from beastmode.eviction.rule import Eviction, hand_over
from beastmode.eviction.uses import NAMES
from beastmode.eviction.voting import Adaptive
from beastmode.forest import Forest

__all__ = [
    "DEFAULT", "FIXED", "RULES", "Adaptive", "Eviction", "Gdsf", "GhostLfu", "LeastRecent", "NextUse", "S3Fifo",
    "Sieve", "hand_over", "taught",
]  # fmt: skip

FIXED: dict[str, Callable[[], Any]] = {
    "lru": LeastRecent,
    "ghost_lfu": GhostLfu,
    "s3_fifo": S3Fifo,
    "sieve": Sieve,
    "gdsf": Gdsf,
}
"""Those that need no training, by the names that a bundle and a benchmark use."""
RULES: dict[str, Callable[[], Any]] = {
    **FIXED,
    "adaptive": lambda: Adaptive({name: rule() for name, rule in FIXED.items()}),
}
"""And the vote of them all."""
DEFAULT = "gdsf"
"""Of a memory tier: of the fixed rules it has the least regret, at worst and on average, over the traces of
`docs/eviction.md`."""


def taught(text: str, pace: float) -> Callable[[], Adaptive[Any]]:
    """Return what makes the vote with a learned rule among them, by LightGBM's text over `Uses.features` of a pace.

    Raises ValueError where the text is no forest over these features.
    """
    forest = Forest.parse(text)
    if forest.columns != len(NAMES) or not pace > 0:
        raise ValueError(f"evictor: {forest.columns} columns at pace {pace!r}, expected {len(NAMES)} and more than 0")
    return lambda: Adaptive({**{name: rule() for name, rule in FIXED.items()}, "next_use": NextUse(forest, pace)})
