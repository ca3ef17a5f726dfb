"""The second tier on one machine: an SQLite file that its processes share."""

import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from beastmode.cache.database import Database
from beastmode.cache.entry import Entry, Snapshot
from beastmode.cache.tiers import RECALLS, Unavailable
from beastmode.errors import CacheError

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, used INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON entries (used);
CREATE TABLE IF NOT EXISTS leases (key BLOB PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (tag TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recalls (count INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS life (one INTEGER PRIMARY KEY CHECK (one = 1), incarnation TEXT, count INTEGER);
"""
_NEXT = "(SELECT coalesce(max(used), 0) + 1 FROM entries)"
_FULL = 13
"""SQLITE_FULL."""
_TOUCHES = 64
"""Uses that are written down together, so that reading seldom writes."""


class Sqlite:
    """At most `max_bytes` in the file at `path`, the least recently used entries going first.

    Safe for threads, processes and forks. A damaged file is replaced by an empty one; entries carry their own digest,
    so that not even damage that SQLite does not notice is served.
    """

    name = "sqlite"

    def __init__(self, path: str | Path, max_bytes: int = 1 << 30, timeout: float = 2.0) -> None:
        """Open the file, which is made where it is missing; `timeout` is in seconds, for another's write lock.

        Raises CacheError where the file cannot be written.
        """
        self.max_bytes = max_bytes
        self._touched: set[bytes] = set()
        self.database = Database(Path(path), _prepare, timeout)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.database.run(_life)
        except (OSError, Unavailable) as error:
            raise CacheError(f"Sqlite {path}: {error}; name a file that this process may write") from error

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under a key, fresh or not, or None."""
        entry = self.database.run(lambda connection: _read(connection, key))
        if entry is not None:
            self._touched.add(key)
        return entry

    def put(self, entry: Entry) -> Sequence[Entry]:
        """Hold an entry, evicting others where the file is full; what goes from here goes nowhere."""
        data = entry.to_bytes()
        self.database.run(lambda connection: self._write(connection, entry.key, data))
        return ()

    def remove(self, key: bytes) -> None:
        """Forget a key."""
        self.database.run(lambda connection: connection.execute("DELETE FROM entries WHERE key = ?", (key,)))

    def lease(self, key: bytes, owner: str, seconds: float, now: float) -> bool:
        """Return whether `owner` may fill the key."""
        return self.database.run(lambda connection: _lease(connection, key, owner, seconds, now))

    def release(self, key: bytes, owner: str) -> None:
        """Give a lease back, where it is still the owner's."""
        sql = "DELETE FROM leases WHERE key = ? AND owner = ?"
        self.database.run(lambda connection: connection.execute(sql, (key, owner)))

    def snapshot(self) -> Snapshot:
        """Return how many invalidations there were so far."""
        return self.database.run(_life)

    def invalidations(self, tags: Sequence[str]) -> tuple[str, list[int]]:
        """Return the file's incarnation, and of each tag the count at which it was invalidated last; 0 for never."""

        def look(connection: sqlite3.Connection) -> tuple[str, list[int]]:
            sql = "SELECT count FROM tags WHERE tag = ?"
            found = [connection.execute(sql, (tag,)).fetchone() for tag in tags]
            return _life(connection).incarnation, [row[0] if row else 0 for row in found]

        return self.database.run(look)

    def invalidate(self, tag: str) -> None:
        """Count an invalidation of a tag."""

        def count(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE life SET count = count + 1")
            connection.execute("INSERT OR REPLACE INTO tags SELECT ?, count FROM life", (tag,))
            connection.execute("COMMIT")

        self.database.run(count)

    def recall(self, key: bytes) -> None:
        """Forget a key, and note it for the processes that may hold a copy."""

        def note(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            last = connection.execute("INSERT INTO recalls (key) VALUES (?)", (key,)).lastrowid
            connection.execute("DELETE FROM recalls WHERE count <= ?", ((last or 0) - RECALLS,))
            connection.execute("COMMIT")

        self.database.run(note)

    def recalled(self, since: int | None) -> tuple[int, Sequence[bytes] | None]:
        """Return how many recalls there were so far, and the keys after `since`; None where they are not known."""

        def look(connection: sqlite3.Connection) -> tuple[int, Sequence[bytes] | None]:
            found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'recalls'").fetchone()
            count = found[0] if found else 0
            # A file that took the place of a damaged one counts anew.
            if since is None or count <= since:
                return count, ()
            if count - since > RECALLS:
                return count, None
            return count, [row[0] for row in connection.execute("SELECT key FROM recalls WHERE count > ?", (since,))]

        return self.database.run(look)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self.database.close()

    def _write(self, connection: sqlite3.Connection, key: bytes, data: bytes) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            full = _bytes(connection) + len(data) > self.max_bytes
            if full or len(self._touched) >= _TOUCHES:
                used, self._touched = self._touched, set()
                connection.executemany(f"UPDATE entries SET used = {_NEXT} WHERE key = ?", [(each,) for each in used])
            many = 16
            while full and _evict(connection, many):
                full, many = _bytes(connection) + len(data) > self.max_bytes, 2 * many
            _insert(connection, key, data)
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != _FULL:
                raise
            # The disk is smaller than `max_bytes`: a quarter has to go, and its pages are used again.
            if connection.in_transaction:
                connection.rollback()
            _evict(connection, connection.execute("SELECT count(*) / 4 + 1 FROM entries").fetchone()[0])
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            _insert(connection, key, data)


def _prepare(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'recalls'").fetchone()[0] == 0:
        connection.executescript(_TABLES)
    # A life of its own for each file: counts of invalidations in the one before it mean nothing here.
    connection.execute("INSERT OR IGNORE INTO life VALUES (1, ?, 0)", (secrets.token_hex(8),))


def _read(connection: sqlite3.Connection, key: bytes) -> Entry | None:
    row = connection.execute("SELECT data FROM entries WHERE key = ?", (key,)).fetchone()
    return None if row is None else Entry.from_bytes(key, row[0])


def _insert(connection: sqlite3.Connection, key: bytes, data: bytes) -> None:
    connection.execute(f"INSERT OR REPLACE INTO entries VALUES (?, {_NEXT}, ?)", (key, data))


def _evict(connection: sqlite3.Connection, many: int) -> int:
    chosen = "SELECT key FROM entries ORDER BY used LIMIT ?"
    return connection.execute(f"DELETE FROM entries WHERE key IN ({chosen})", (many,)).rowcount


def _lease(connection: sqlite3.Connection, key: bytes, owner: str, seconds: float, now: float) -> bool:
    # One that ends too far in the future was given under a clock that has been set back since.
    far = now + 2 * seconds
    held = connection.execute("SELECT until FROM leases WHERE key = ?", (key,)).fetchone()
    if held is not None and now < held[0] <= far:
        return False
    given = connection.execute(
        "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, "
        "until = excluded.until WHERE until <= ? OR until > ?",
        (key, owner, now + seconds, now, far),
    )
    return given.rowcount == 1


def _life(connection: sqlite3.Connection) -> Snapshot:
    return Snapshot(*connection.execute("SELECT incarnation, count FROM life").fetchone())


def _bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
