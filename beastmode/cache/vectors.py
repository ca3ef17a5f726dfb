"""Nearest questions inside one partition: every vector looked at."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class Index(Protocol):
    """Unit vectors by key; the cache calls it under a lock."""

    def __len__(self) -> int:
        """Return how many vectors it holds."""

    def add(self, key: bytes, vector: Vector) -> None:
        """Hold a vector of unit length, in the place of the key's former one."""

    def remove(self, key: bytes) -> None:
        """Forget a key; an unknown one is no error."""

    def nearest(self, vector: Vector, most: int) -> list[tuple[bytes, float]]:
        """Return at most so many keys with their cosines, the nearest first."""


class Flat:
    """A matrix of all vectors; a lookup is one product with it. Exact."""

    def __init__(self, width: int) -> None:
        self._matrix = np.zeros((4, width), dtype=np.float32)
        self._keys: list[bytes] = []
        self._rows: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes, vector: Vector) -> None:
        """Hold a vector of unit length, in the place of the key's former one."""
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = len(self._keys)
            self._keys.append(key)
            if row == len(self._matrix):
                self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
        self._matrix[row] = vector

    def remove(self, key: bytes) -> None:
        """Forget a key; the last row takes its place."""
        row = self._rows.pop(key, None)
        if row is None:
            return
        last = self._keys.pop()
        if last != key:
            self._keys[row], self._rows[last] = last, row
            self._matrix[row] = self._matrix[len(self._keys)]

    def nearest(self, vector: Vector, most: int) -> list[tuple[bytes, float]]:
        """Return at most so many keys with their cosines, the nearest first."""
        count = len(self._keys)
        if count == 0:
            return []
        near = self._matrix[:count] @ vector
        rows = np.argpartition(near, count - most)[count - most :] if most < count else np.arange(count)
        ordered = rows[np.argsort(-near[rows], kind="stable")]
        return [(self._keys[row], float(near[row])) for row in ordered.tolist()]
