"""A tier behind a circuit breaker: when it fails the cache does without it, and tries again after a while."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from beastmode.cache.tiers import shared
from beastmode.forks import renew_after_fork

_LOG = logging.getLogger("beastmode")
T = TypeVar("T")

FIRST_SECONDS = 0.25
"""How long a tier is left alone after its first failure; twice as long after each further one."""
MOST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Health:
    """How a tier does."""

    name: str
    up: bool
    failures: int
    """Since the cache was made."""
    last_error: str | None


class Guard:
    """Calls a tier, or does not while it is down; nothing that the tier raises gets out."""

    def __init__(self, tier: Any, monotonic: Callable[[], float]) -> None:
        self.tier = tier
        self.name: str = tier.name
        self.shared = shared(tier)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pause = 0.0
        self._until = 0.0
        self._failures = 0
        self._error: str | None = None
        renew_after_fork(self)

    @property
    def health(self) -> Health:
        """How the tier does now."""
        return Health(self.name, not self._pause, self._failures, self._error)

    def call(self, act: Callable[..., T], *arguments: Any, otherwise: T) -> T:
        """Return what `act(*arguments)` returns, or `otherwise` where the tier is down or goes down by it."""
        if self._pause and not self._may_try():
            return otherwise
        try:
            result = act(*arguments)
        except Exception as error:
            self._down(error)
            return otherwise
        if self._pause:
            self._up()
        return result

    def _may_try(self) -> bool:
        """Let one caller at a time find out whether the tier is back."""
        with self._lock:
            now = self._monotonic()
            if now < self._until:
                return False
            self._until = now + self._pause
            return True

    def _down(self, error: Exception) -> None:
        with self._lock:
            before = self._pause
            self._pause = min(max(2 * before, FIRST_SECONDS), MOST_SECONDS)
            self._until = self._monotonic() + self._pause
            self._failures += 1
            self._error = f"{type(error).__name__}: {error}"
        if not before:
            _LOG.warning("cache tier %s is down (%s); requests go on without it", self.name, self._error)

    def _up(self) -> None:
        with self._lock:
            was, self._pause = self._pause, 0.0
        if was:
            _LOG.warning("cache tier %s is back after %d failures", self.name, self._failures)

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held."""
        self._lock = threading.Lock()
