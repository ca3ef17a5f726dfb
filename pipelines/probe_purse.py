"""A budget that is never exceeded: the most that a call can cost is set aside before it, and settled after it."""

import threading
from dataclasses import dataclass, field

DUST = 1e-12
"""US dollars that rounding may add up to."""


@dataclass(slots=True)
class Purse:
    """Money for one plan, in US dollars; safe for threads."""

    budget: float
    spent: float = 0.0
    """Counted by what providers said, or by the whole reserve where they said nothing."""
    reserved: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self, most: float) -> bool:
        """Set aside the most that a call can cost; False, and nothing done, where it is not there."""
        with self._lock:
            if self.spent + self.reserved + most > self.budget + DUST:
                return False
            self.reserved += most
            return True

    def settle(self, most: float, cost: float) -> None:
        """Replace a reserve by what the call did cost."""
        with self._lock:
            self.reserved -= most
            self.spent += cost

    @property
    def left(self) -> float:
        """What is neither spent nor set aside."""
        with self._lock:
            return self.budget - self.spent - self.reserved
