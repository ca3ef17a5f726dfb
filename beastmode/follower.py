"""Keep a router at a store's champion and experiment: a thread that reads the pointer and swaps what verifies."""

import logging
import threading
from collections.abc import Callable

from beastmode.bundle import Bundle
from beastmode.errors import BeastmodeError, StoreError
from beastmode.experiment import Challenge, Experiment
from beastmode.signing import PublicKey
from beastmode.store import Pointer, Store

_LOG = logging.getLogger("beastmode")

Swap = Callable[[Bundle, Challenge | None], None]


class Follower:
    """Watches one store; what does not verify is reported once, and the last good champion goes on serving.

    An experiment whose challenger does not verify, or whose file is damaged, does not run: the champion serves alone.
    """

    def __init__(self, store: Store, every_seconds: float, public_key: PublicKey | None = None) -> None:
        if not every_seconds > 0:
            raise StoreError(f"follow: every_seconds = {every_seconds!r} must be positive")
        self.store = store
        self.every_seconds = every_seconds
        self.public_key = public_key
        self._bundle: Bundle | None = None
        self._served: tuple[str | None, Experiment | None] = (None, None)
        """The manifest of the champion, and the experiment, which the router has."""
        self._rival: tuple[str, Bundle] | None = None
        """The challenger that was read last, so that a ramp reads it once."""
        self._complaints: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def first(self) -> Bundle:
        """Read the champion to begin with; raises StoreError or BundleError where there is no good one."""
        pointer = self.store.champion()
        self._bundle = self.store.load_champion(self.public_key) if pointer is None else self._read(pointer)
        self._served = (self._bundle.sha256, None)
        return self._bundle

    def start(self, swap: Swap) -> None:
        """Watch from a daemon thread, until `close`; a forked child starts its own."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(swap, self._stop), name="beastmode-follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching, and wait until the thread has ended."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self, swap: Swap, stop: threading.Event) -> None:
        while not stop.wait(self.every_seconds):
            self.look(swap)

    def look(self, swap: Swap) -> bool:
        """Read the store once, and swap where it moved to what verifies; returns whether it did."""
        return self._try("champion", lambda: self._champion(swap)) | self._try("trial", lambda: self._trial(swap))

    def _champion(self, swap: Swap) -> bool:
        pointer = self.store.champion()
        if pointer is None or pointer.manifest_sha256 == self._served[0]:
            return False
        bundle = self._read(pointer)
        swap(bundle, None)
        self._bundle, self._served = bundle, (pointer.manifest_sha256, None)
        _LOG.info("%s: now serving %s", self.store.path, pointer.bundle)
        return True

    def _trial(self, swap: Swap) -> bool:
        bundle = self._bundle
        if bundle is None:
            return False
        try:
            known = self.store.experiment()
        except StoreError:
            self._alone(swap, bundle)
            raise
        if known is not None and known.champion_sha256 != self._served[0]:
            # It was started against another champion: a promotion ends it.
            known = None
        if known == self._served[1]:
            return False
        if known is None:
            return self._alone(swap, bundle)
        try:
            swap(bundle, Challenge(self._challenger(known), known.dealing))
        except Exception:
            self._alone(swap, bundle)
            raise
        self._served = (self._served[0], known)
        _LOG.info("%s: %s on trial (%s)", self.store.path, known.challenger, known.dealing.mode)
        return True

    def _alone(self, swap: Swap, bundle: Bundle) -> bool:
        if self._served[1] is None:
            return False
        swap(bundle, None)
        self._served = (self._served[0], None)
        return True

    def _challenger(self, known: Experiment) -> Bundle:
        if self._rival is None or self._rival[0] != known.manifest_sha256:
            rival = self.store.read(known.challenger, known.manifest_sha256, self.public_key)
            self._rival = (known.manifest_sha256, rival)
        return self._rival[1]

    def _read(self, pointer: Pointer) -> Bundle:
        return self.store.read(pointer.bundle, pointer.manifest_sha256, self.public_key)

    def _try(self, what: str, work: Callable[[], bool]) -> bool:
        try:
            done = work()
        except BeastmodeError as error:
            return self._complain(what, str(error))
        except Exception as error:
            # A thread that died would leave the router at this champion for ever, without a word.
            return self._complain(what, f"{type(error).__name__}: {error}")
        self._complaints.pop(what, None)
        return done

    def _complain(self, what: str, text: str) -> bool:
        if text != self._complaints.get(what):
            self._complaints[what] = text
            _LOG.warning("%s; the last good bundle goes on serving", text)
        return False
