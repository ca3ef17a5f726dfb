"""Nearest questions inside one partition: every vector looked at."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

FIRST = 128
"""Columns of a wide vector that are read of every question."""
MANY = 8
"""Where more than one in so many must be read whole, all are: it is faster in one go."""
ROUNDING = 1e-5
"""What a cosine in float32 may be off."""


class Index(Protocol):
    """Unit vectors by key; the cache calls it under a lock."""

    def __len__(self) -> int:
        """Return how many vectors it holds."""

    def add(self, key: bytes, vector: Vector) -> None:
        """Hold a vector of unit length, in the place of the key's former one."""

    def remove(self, key: bytes) -> None:
        """Forget a key; an unknown one is no error."""

    def nearest(self, vector: Vector, most: int, floor: float = -1.0) -> list[tuple[bytes, float]]:
        """Return at most so many keys whose cosine is at least `floor`, with their cosines, the nearest first."""


class Flat:
    """All vectors, looked at one by one: exact.

    Wide vectors are held in two parts. A product of the first ones bounds each cosine (Cauchy and Schwarz), and only
    where the bound reaches the floor is the rest read, which is seldom where the first columns are main directions, as
    in a bundle's transformer: a lookup is limited by the bytes that it reads.
    """

    def __init__(self, width: int) -> None:
        self._cut = FIRST if width >= 2 * FIRST else width
        self._front = np.zeros((4, self._cut), dtype=np.float32)
        self._back = np.zeros((4, width - self._cut), dtype=np.float32)
        self._length = np.zeros(4, dtype=np.float32)
        """Of the rest of each vector."""
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
            if row == len(self._front):
                self._front, self._back, self._length = map(_doubled, (self._front, self._back, self._length))
        rest = vector[self._cut :]
        self._front[row], self._back[row] = vector[: self._cut], rest
        self._length[row] = np.sqrt(rest @ rest)

    def remove(self, key: bytes) -> None:
        """Forget a key; the last row takes its place."""
        row = self._rows.pop(key, None)
        if row is None:
            return
        last = self._keys.pop()
        if last != key:
            self._keys[row], self._rows[last] = last, row
            for part in (self._front, self._back, self._length):
                part[row] = part[len(self._keys)]

    def nearest(self, vector: Vector, most: int, floor: float = -1.0) -> list[tuple[bytes, float]]:
        """Return at most so many keys whose cosine is at least `floor`, with their cosines, the nearest first."""
        count = len(self._keys)
        near = self._front[:count] @ vector[: self._cut]
        rest = vector[self._cut :]
        rows = np.flatnonzero(near + self._length[:count] * np.sqrt(rest @ rest) >= floor - ROUNDING)
        if len(rest) and MANY * len(rows) < count:
            near = near[rows] + self._back[rows] @ rest
        else:
            near = (near + self._back[:count] @ rest)[rows] if len(rest) else near[rows]
        if len(rows) > most:
            best = np.argpartition(near, len(rows) - most)[len(rows) - most :]
            rows, near = rows[best], near[best]
        found = [(self._keys[rows[i]], float(near[i])) for i in np.argsort(-near, kind="stable").tolist()]
        return [(key, cosine) for key, cosine in found if cosine >= floor]


def _doubled(part: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([part, np.zeros_like(part)])
