"""A few clusters, each with the candidates' mean scores, as Avengers routes (Zhang et al. 2025, arXiv 2505.19797)."""

from typing import Any

from beastmode.neighbours import Kernel
from models.examples import Examples
from models.fitted import Fitted, Learning
from models.prototypes import Memory
from models.selectors import neighbours

GROUPS = (16, 32, 64)
TEMPERATURE = 40.0
"""All but the nearest cluster alone, without a jump where two are as near."""


def train(known: Examples, settings: Learning, seed: int, study: Any = None) -> Fitted:
    """Fit clusters, their number chosen by cross-validated policy value."""
    memories = (Memory.of(known, groups, seed) for groups in GROUPS)
    tried = [(memory, Kernel(TEMPERATURE, len(memory.whole.centre))) for memory in memories if memory is not None]
    return neighbours.fit(known, settings, seed, tried)
