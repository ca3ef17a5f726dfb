"""Teachers that remember on disk: prompts are embedded once, however often the loop trains on them."""

import hashlib
import io
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from beastmode.folder import replace_file
from beastmode.transformer import Transformer
from beastmode.wordpiece import WordPiece
from models import onnx_export
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
        return recalled(self.name, self.folder, texts, lambda missing: self.load().embed(missing))

    def vocabulary(self) -> list[str]:
        """Return the word pieces in the order of their ids."""
        return [str(piece) for piece in self._kept("vocabulary", lambda: np.array(self.load().vocabulary(), dtype=str))]

    def piece_vectors(self) -> Vectors:
        """Return the unit vector of each word piece, shape (pieces, width)."""
        return np.asarray(self._kept("pieces", lambda: self.load().piece_vectors()), dtype=np.float32)

    def _kept(self, what: str, make: Callable[[], NDArray]) -> NDArray:  # type: ignore[type-arg]
        path = self.folder / f"{slug(self.name)}-{what}.npy"
        if not path.is_file():
            stream = io.BytesIO()
            np.save(stream, make(), allow_pickle=False)
            replace_file(path, stream.getvalue())
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]


def recalled(name: str, folder: Path, texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors]) -> Vectors:
    """Return the vectors of texts, shape (texts, width), as they are remembered under a name, else by `embed`."""
    keys = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in texts]
    with closing(_open(folder, name)) as database:
        known = dict(_found(database, keys))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        for start in range(0, len(missing), CHUNK):
            part = dict(list(missing.items())[start : start + CHUNK])
            fresh = np.asarray(embed(list(part.values())), dtype=np.float32)
            rows = [(key, row.tobytes()) for key, row in zip(part, fresh, strict=True)]
            with database:
                database.executemany("insert or ignore into vectors values (?, ?)", rows)
            known |= dict(rows)
    width = len(next(iter(known.values()))) // 4 if known else 0
    joined = b"".join(known[key] for key in keys)
    return np.frombuffer(joined, dtype=np.float32).reshape(len(keys), width)


def _open(folder: Path, name: str) -> sqlite3.Connection:
    folder.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder / f"{slug(name)}.db", timeout=60)
    database.execute("pragma journal_mode = wal")
    database.execute("create table if not exists vectors (key blob primary key, vector blob) without rowid")
    return database


def sentence_transformer(folder: Path) -> Remembered:
    """Return the default teacher with its memory in a folder; the model is loaded once, at the first miss."""
    return Remembered(NAME, folder, cache(SentenceTransformerTeacher.load))


def graph_file(folder: Path) -> Path:
    """Return where the exported graph of the default teacher is kept."""
    return folder / f"{slug(NAME)}-int8-v{onnx_export.VERSION}.onnx"


def exported(folder: Path, limit: int) -> Transformer:
    """Return the default teacher's transformer for a bundle, in int8; it reads `limit` pieces of a text.

    The graph and its vectors are kept in a folder, so that the loop exports once and embeds a prompt once: what is
    remembered was said by the very bytes that go into the bundle. Raises ValueError with the remedy where a library
    or the weights are missing.
    """
    teacher = sentence_transformer(folder)
    path = graph_file(folder)
    if not path.is_file():
        replace_file(path, onnx_export.export(SentenceTransformerTeacher.load()))
    model = path.read_bytes()
    pieces = WordPiece.of({piece: i for i, piece in enumerate(teacher.vocabulary())})
    transformer = Transformer(pieces, model, limit)
    name = f"{NAME} int8 {hashlib.sha256(model).hexdigest()[:12]} {limit}"
    return replace(transformer, memory=lambda texts: recalled(name, folder, texts, transformer.embed))


def _found(database: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield what is known of some keys; SQLite takes a limited number of parameters at a time."""
    for start in range(0, len(keys), 500):
        part = list(set(keys[start : start + 500]))
        marks = ",".join("?" * len(part))
        yield from database.execute(f"select key, vector from vectors where key in ({marks})", part)


def slug(name: str) -> str:
    """Return a name as files spell it.

    >>> slug("sentence-transformers/all-MiniLM-L6-v2")
    'sentence-transformers-all-minilm-l6-v2'
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
