"""Which identities the lake already holds, a day at a time, in memory that stays small."""

import hashlib
from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.lake import KEYS, Lake

Keys = NDArray[np.bytes_]
WIDTH = 32
"""Hexadecimal digits that are kept of an identity: 128 bits."""


class Seen:
    """The identities of one table: loaded for a day when the day is first met, sorted, 32 bytes each."""

    def __init__(self, lake: Lake, table: str, column: str | None = None, only: tuple[str, str] | None = None) -> None:
        """`only` restricts to rows in which a column has a value, such as ("format", "journal")."""
        self.lake, self.table, self.only = lake, table, only
        self.column = column or KEYS[table]
        self._days: dict[date, Keys] = {}

    def of(self, day: date) -> Keys:
        """Return the sorted identities of a day."""
        if day not in self._days:
            columns = [self.column] if self.only is None else [self.column, self.only[0]]
            rows = self.lake.read(self.table, [day], columns)
            if self.only is not None:
                rows = rows.filter(pc.equal(rows[self.only[0]], self.only[1]))
            listed = rows[self.column].to_pylist()
            self._days[day] = np.unique(keys(listed) if self.column == KEYS[self.table] else hashed(listed))
        return self._days[day]

    def has(self, day: date, wanted: Keys) -> NDArray[np.bool_]:
        """Return which of some identities a day holds."""
        known = self.of(day)
        if not len(known) or not len(wanted):
            return np.zeros(len(wanted), dtype=bool)
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.asarray(known[place] == wanted)

    def add(self, day: date, new: Keys) -> None:
        """Remember identities that have been written."""
        self._days[day] = np.union1d(self.of(day), new)


def keys(identities: Sequence[str]) -> Keys:
    """Return identities that are hashes already as fixed-width bytes."""
    return np.array([identity[:WIDTH].encode() for identity in identities], dtype=f"S{WIDTH}")


def hashed(identities: Sequence[str]) -> Keys:
    """Return identities of any length as fixed-width bytes."""
    return keys([hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest() for identity in identities])
