"""How long answers live and how long anyone waits: the cache's policy as data."""

from dataclasses import dataclass, fields

from beastmode.errors import CacheError


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """The policy over all tiers. Times are in seconds, sizes in bytes."""

    ttl_seconds: float = 3600.0
    jitter: float = 0.1
    """Share of its time that an answer may die early, drawn at random, so that what was made together dies apart."""
    stale_seconds: float = 0.0
    """How long after its time an answer may still be served, while one caller fetches a new one."""
    error_seconds: float = 2.0
    """How long a provider's refusal answers for the provider."""
    lease_seconds: float = 60.0
    """The longest that a fill takes; after that another process may begin one."""
    wait_seconds: float = 60.0
    """How long to wait for another's fill before asking all the same."""
    tag_lag_seconds: float = 1.0
    """How long an invalidation may take to be seen by other processes."""
    half_life_seconds: float | None = None
    """The age at which half of the answers are no longer true; None where the TTL says it all."""
    max_entry_bytes: int = 1 << 20
    """Larger answers pass through and are not held."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise CacheError(f"cache settings: {name} = {value!r} must be zero or more")
        if not self.jitter < 1:
            raise CacheError(f"cache settings: jitter = {self.jitter!r} must be under 1, as a share of the TTL")
        if self.half_life_seconds == 0:
            raise CacheError("cache settings: half_life_seconds = 0 holds nothing; leave the cache out instead")
