"""Wall time that a clock set back cannot make young again."""

import time
from collections.abc import Callable

TOLERANCE = 1.0
"""Seconds that wall time may fall behind before it counts as set back: more than a daemon ever slews at once."""


class Clock:
    """Seconds since 1970 that never run slower than time itself.

    Where the wall clock is set back, what it lost is added from then on, so that no answer outlives its time; where it
    is set forward, answers only grow old early. What was added is dropped again after `forget_after` seconds at least,
    when every answer from before has died.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        forget_after: float = 86_400.0,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._forget_after = forget_after
        # One tuple, replaced as a whole: (wall, monotonic, what is added, monotonic moment of the last jump).
        self._seen = (wall(), monotonic(), 0.0, 0.0)

    def now(self) -> float:
        """Return the present moment in seconds since 1970."""
        before, wall, after = self._monotonic(), self._wall(), self._monotonic()
        last_wall, last, added, jumped = self._seen
        if after - before > TOLERANCE / 2:
            # The thread was put to sleep between the readings: they do not belong together.
            return wall + added
        lost = last_wall + (before - last) - wall
        if lost > TOLERANCE:
            added, jumped = added + lost, before
        elif added and before - jumped > self._forget_after:
            added = 0.0
        self._seen = (wall, before, added, jumped)
        return wall + added

    def remember_for(self, seconds: float) -> None:
        """Keep what is added until an answer has died that lives for so many seconds."""
        self._forget_after = max(self._forget_after, 2 * seconds)

    def monotonic(self) -> float:
        """Return seconds since some moment, which nobody sets."""
        return self._monotonic()
