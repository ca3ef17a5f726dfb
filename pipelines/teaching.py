"""A teacher that remembers on disk: prompts are embedded once, however often the loop trains on them."""

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.teachers import NAME, SentenceTransformerTeacher

Vectors = NDArray[np.float32]
CHUNK = 512
"""Texts that are embedded between two commits: what an interruption loses at most."""


class Whole(Protocol):
    """Everything that a sentence-transformer can be asked for."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (texts, width)."""

    def vocabulary(self) -> list[str]:
        """Return the word pieces in the order of their ids."""

    def piece_vectors(self) -> Vectors:
        """Return the unit vector of each word piece, shape (pieces, width)."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A teacher whose answers are kept in a folder, by the hash of the text; the model is loaded on a miss only.

    The folder holds vectors and hashes, no prompt. Several processes may use it at once.
    """

    name: str
    folder: Path
    load: Callable[[], Whole]

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (texts, width)."""
        keys = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in texts]
        with closing(self._open()) as database:
            known = dict(_found(database, keys))
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            for start in range(0, len(missing), CHUNK):
                part = dict(list(missing.items())[start : start + CHUNK])
                fresh = np.asarray(self.load().embed(list(part.values())), dtype=np.float32)
                rows = [(key, row.tobytes()) for key, row in zip(part, fresh, strict=True)]
                with database:
                    database.executemany("insert or ignore into vectors values (?, ?)", rows)
                known |= dict(rows)
        width = len(next(iter(known.values()))) // 4 if known else 0
        joined = b"".join(known[key] for key in keys)
        return np.frombuffer(joined, dtype=np.float32).reshape(len(keys), width)

    def vocabulary(self) -> list[str]:
        """Return the word pieces in the order of their ids."""
        return [str(piece) for piece in self._kept("vocabulary", lambda: np.array(self.load().vocabulary(), dtype=str))]

    def piece_vectors(self) -> Vectors:
        """Return the unit vector of each word piece, shape (pieces, width)."""
        return np.asarray(self._kept("pieces", lambda: self.load().piece_vectors()), dtype=np.float32)

    def _kept(self, what: str, make: Callable[[], NDArray]) -> NDArray:  # type: ignore[type-arg]
        path = self.folder / f"{_slug(self.name)}-{what}.npy"
        if path.is_file():
            return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
        values = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{id(values):x}.draft")
        with draft.open("wb") as stream:
            np.save(stream, values, allow_pickle=False)
        draft.replace(path)
        return values

    def _open(self) -> sqlite3.Connection:
        self.folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.folder / f"{_slug(self.name)}.db", timeout=60)
        database.execute("pragma journal_mode = wal")
        database.execute("create table if not exists vectors (key blob primary key, vector blob) without rowid")
        return database


def sentence_transformer(folder: Path) -> Remembered:
    """Return the default teacher with its memory in a folder; the model is loaded once, at the first miss."""
    return Remembered(NAME, folder, cache(SentenceTransformerTeacher.load))


def _found(database: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield what is known of some keys; SQLite takes a limited number of parameters at a time."""
    for start in range(0, len(keys), 500):
        part = list(set(keys[start : start + 500]))
        marks = ",".join("?" * len(part))
        yield from database.execute(f"select key, vector from vectors where key in ({marks})", part)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
