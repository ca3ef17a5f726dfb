"""An SQLite file that processes share: replaced by an empty one when it is damaged, and closed before every fork."""

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from beastmode.cache.entry import Damaged
from beastmode.cache.tiers import Unavailable

_LOG = logging.getLogger("beastmode")
T = TypeVar("T")
Act = Callable[[sqlite3.Connection], T]

_DAMAGE = (11, 26, 522)
"""SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_IOERR_SHORT_READ."""
_LOOK_SECONDS = 1.0
"""How often to look whether another process has replaced a damaged file."""


class Database:
    """One connection in WAL mode, opened when it is needed; `prepare` makes the tables in it. Safe for threads."""

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None], timeout: float) -> None:
        self.path = path
        self.replaced = 0
        """How often this process put an empty file in the place of a damaged one."""
        self._prepare = prepare
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._looked = 0.0
        _close_before_fork(self)

    def run(self, act: Act[T]) -> T:
        """Return what `act` makes of the connection, on an empty file where the present one is damaged.

        Raises Unavailable on whatever else is wrong. What `act` began it must commit; where it raises, it is undone.
        """
        with self._lock:
            try:
                return self._attempt(act)
            except (Damaged, sqlite3.Error, OSError) as error:
                if not _is_damage(error):
                    raise Unavailable(f"{self.path}: {error}") from error
                _LOG.error("cache %s: %s; it is emptied and used again", self.path, error)
            try:
                self._replace()
                return self._attempt(act)
            except (Damaged, sqlite3.Error, OSError) as error:
                raise Unavailable(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            self._close()

    def _attempt(self, act: Act[T]) -> T:
        connection = self._connected()
        try:
            return act(connection)
        except BaseException:
            if connection.in_transaction:
                connection.rollback()
            raise

    def _connected(self) -> sqlite3.Connection:
        now = time.monotonic()
        if self._connection is not None and now - self._looked > _LOOK_SECONDS:
            self._looked = now
            if _file(self.path) != self._file:
                self._close()
        if self._connection is None:
            self._connection = self._open()
            self._file, self._looked = _file(self.path), now
        return self._connection

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():
            # Answers are private. Only where there is no file: closing one would drop SQLite's own locks on it.
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(self.path, self._timeout, isolation_level=None, check_same_thread=False)
        try:
            # One at a time: where two switch a new file to WAL mode SQLite refuses one at once, whatever its timeout.
            with self._alone():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _replace(self) -> None:
        """Put an empty file in the place of a damaged one, unless another process has done it."""
        mine = _file(self.path) if self._connection is None else self._file
        self._close()
        with self._alone():
            if _file(self.path) == mine:
                for end in ("", "-wal", "-shm"):
                    self.path.with_name(self.path.name + end).unlink(missing_ok=True)
                self.replaced += 1

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one at a time in; the system frees the lock when its holder dies."""
        path = self.path.with_name(self.path.name + ".lock")
        with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "a") as lock:
            if os.name == "posix":
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def before_fork(self) -> None:
        """Let go of the file: SQLite forbids a connection to cross a fork."""
        self._lock.acquire()
        self._close()

    def after_fork_in_parent(self) -> None:
        """Go on; the next call opens the file again."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on, with a lock of its own."""
        self._lock = threading.Lock()


def _file(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, Damaged) or (code is not None and (code in _DAMAGE or code & 0xFF in _DAMAGE))


_DATABASES: "weakref.WeakSet[Database]" = weakref.WeakSet()
_held: list[Database] = []
"""Those that a fork under way has closed."""
_hooks: list[bool] = []


def _close_before_fork(database: Database) -> None:
    _DATABASES.add(database)
    if not _hooks and hasattr(os, "register_at_fork"):
        _hooks.append(True)
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    for database in list(_DATABASES):
        database.before_fork()
        _held.append(database)


def _after_in_parent() -> None:
    while _held:
        _held.pop().after_fork_in_parent()


def _after_in_child() -> None:
    while _held:
        _held.pop().after_fork_in_child()
