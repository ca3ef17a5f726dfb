"""Ways to let go of entries: the rules of serving, the learned one with its teacher, and the vote of all."""

from beastmode.eviction import FIXED
from models.evictors.rules import Evictor, adaptive, next_use, plain

EVICTORS: dict[str, Evictor] = {**{name: plain(name) for name in FIXED}, "next_use": next_use, "adaptive": adaptive}
