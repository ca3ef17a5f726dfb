"""Keep a router at a store's champion: a thread that reads the pointer and swaps what verifies."""

import logging
import threading
from collections.abc import Callable

from beastmode.bundle import Bundle
from beastmode.errors import BeastmodeError, StoreError
from beastmode.store import Pointer, Store

_LOG = logging.getLogger("beastmode")


class Follower:
    """Watches one store; a champion that does not verify is reported once, and the last good one goes on serving."""

    def __init__(self, store: Store, every_seconds: float) -> None:
        if not every_seconds > 0:
            raise StoreError(f"follow: every_seconds = {every_seconds!r} must be positive")
        self.store = store
        self.every_seconds = every_seconds
        self._served: tuple[str, str] | None = None
        self._complaint = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def first(self) -> Bundle:
        """Read the champion to begin with; raises StoreError or BundleError where there is no good one."""
        pointer = self.store.champion()
        bundle = self.store.load_champion() if pointer is None else self._read(pointer)
        self._served = None if pointer is None else (pointer.bundle, pointer.manifest_sha256)
        return bundle

    def start(self, swap: Callable[[Bundle], None]) -> None:
        """Watch from a daemon thread, until `close`; a forked child starts its own."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(swap, self._stop), name="beastmode-follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching, and wait until the thread has ended."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self, swap: Callable[[Bundle], None], stop: threading.Event) -> None:
        while not stop.wait(self.every_seconds):
            self.look(swap)

    def look(self, swap: Callable[[Bundle], None]) -> bool:
        """Read the pointer once, and swap where it moved to a bundle that verifies; returns whether it did."""
        try:
            pointer = self.store.champion()
            if pointer is None or (pointer.bundle, pointer.manifest_sha256) == self._served:
                return False
            swap(self._read(pointer))
        except BeastmodeError as error:
            self._complain(str(error))
            return False
        except Exception as error:
            # A thread that died would leave the router at this champion for ever, without a word.
            self._complain(f"{type(error).__name__}: {error}")
            return False
        self._served = (pointer.bundle, pointer.manifest_sha256)
        self._complaint = ""
        _LOG.info("%s: now serving %s", self.store.path, pointer.bundle)
        return True

    def _read(self, pointer: Pointer) -> Bundle:
        return self.store.read(pointer.bundle, pointer.manifest_sha256)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            _LOG.warning("%s; the last good bundle goes on serving", text)
