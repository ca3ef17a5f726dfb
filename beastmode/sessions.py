"""Who was sent where: the memory that keeps a conversation with the candidate it began with."""

import threading
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """The choice that a session stays with."""

    candidate: str
    decision_id: str


class Sessions:
    """The last so many sessions and their first choices; safe for threads."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def get(self, session_id: str | None) -> Kept | None:
        """Return what a session stays with, or None where it is new or forgotten."""
        if not self.most or session_id is None:
            return None
        with self._lock:
            kept = self._kept.get(session_id)
            if kept is not None:
                self._kept.move_to_end(session_id)
            return kept

    def keep(self, session_id: str | None, kept: Kept) -> None:
        """Remember a session's choice, and forget the session that was silent longest where there are too many."""
        if not self.most or session_id is None:
            return
        with self._lock:
            self._kept[session_id] = kept
            self._kept.move_to_end(session_id)
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held."""
        self._lock = threading.Lock()
