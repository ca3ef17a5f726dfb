"""Fills under way in this process: one for each key, and whoever else asks waits for it."""

import threading
from concurrent.futures import Future

from beastmode.cache.entry import Entry
from beastmode.forks import renew_after_fork


class Flight(Future["Entry | None"]):
    """Ends with the new entry; with None where there is none and whoever waits should try; or with the fill's error."""

    def __init__(self, began: float) -> None:
        super().__init__()
        self.began = began
        """In seconds since 1970: what it brings is no older."""


class Flights:
    """The fills under way by key; safe for threads, and empty in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[bytes, Flight] = {}
        renew_after_fork(self)

    def board(self, key: bytes, now: float) -> tuple[Flight, bool]:
        """Return the fill of a key, and whether the caller is the one who does it and must land it."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(now)
            # From here on nobody who waits can cancel it for the others.
            flight.set_running_or_notify_cancel()
            return flight, True

    def busy(self, key: bytes) -> bool:
        """Return whether a fill of the key is under way."""
        return key in self._flights

    def land(self, key: bytes, flight: Flight, entry: Entry | None = None, error: BaseException | None = None) -> None:
        """End a fill; those who wait go on."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        if error is not None:
            flight.set_exception(error)
        else:
            flight.set_result(entry)

    def after_fork(self) -> None:
        """Forget what the parent fills: nobody would land it here."""
        self._lock = threading.Lock()
        self._flights = {}
