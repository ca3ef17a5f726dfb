"""Requests per minute: each provider is asked at an even pace, whoever asks."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """Hands out moments at which a provider may be asked; safe for threads."""

    requests_per_minute: float
    providers: Mapping[str, float] = field(default_factory=dict)
    """Of single providers, by name."""
    clock: Callable[[], float] = time.monotonic
    _next: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self, provider: str) -> float:
        """Take the next moment for a provider, and return how many seconds away it is."""
        gap = 60.0 / self.providers.get(provider, self.requests_per_minute)
        with self._lock:
            now = self.clock()
            at = max(self._next.get(provider, now), now)
            self._next[provider] = at + gap
        return at - now

    def wait(self, provider: str, stop: threading.Event) -> None:
        """Return at the next moment, or at once when `stop` is set."""
        stop.wait(self.turn(provider))
