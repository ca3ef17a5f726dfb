"""Ways to let go of entries: each is given the past of a cache, and gives a rule for its future."""

from collections.abc import Callable

from models.evictors import next_use, rules
from models.evictors.rules import Prepared
from models.evictors.settings import EvictorSettings, Past

EVICTORS: dict[str, Callable[[Past, EvictorSettings, int], Prepared]] = {
    "lru": rules.lru,
    "ghost_lfu": rules.ghost_lfu,
    "s3_fifo": rules.s3_fifo,
    "sieve": rules.sieve,
    "gdsf": rules.gdsf,
    "next_use": next_use.train,
}
