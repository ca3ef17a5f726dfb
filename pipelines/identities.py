"""Which identities the lake already holds, a day at a time, in memory that stays small."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.columns import KEYS
from pipelines.lake import Lake

Words = NDArray[np.uint64]
DIGITS = 32
"""Hexadecimal digits that are kept of an identity: 128 bits."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Identities as pairs of numbers, each vector (n,)."""

    high: Words
    low: Words

    def __len__(self) -> int:
        return len(self.high)

    @classmethod
    def of(cls, identities: pa.Array | pa.ChunkedArray) -> Self:
        """Return the keys of hexadecimal identities of 32 digits or more; the first 32 count."""
        cut = pc.utf8_slice_codeunits(identities, 0, DIGITS).cast(pa.binary(DIGITS))
        whole = cut.combine_chunks() if isinstance(cut, pa.ChunkedArray) else cut
        if isinstance(whole, pa.ChunkedArray):
            whole = pa.concat_arrays(whole.chunks)
        digits = np.frombuffer(whole.buffers()[1], dtype=np.uint8)[DIGITS * whole.offset :][: DIGITS * len(whole)]
        # '0' to '9' are 48 to 57 and 'a' to 'f' 97 to 102: the lower four bits, and nine more for a letter.
        nibbles = (digits & 15) + 9 * (digits >> 6)
        words = ((nibbles[0::2] << 4) | nibbles[1::2]).reshape(-1, 16).view(">u8").astype(np.uint64)
        return cls(words[:, 0], words[:, 1])

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """Return some of them, given as a mask."""
        return type(self)(self.high[rows], self.low[rows])

    def sorted(self) -> Self:
        """Return them in order, each once."""
        if not len(self):
            return self
        order = np.lexsort((self.low, self.high))
        high, low = self.high[order], self.low[order]
        new = np.ones(len(high), dtype=bool)
        new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        return type(self)(high[new], low[new])

    def joined(self, other: Self) -> Self:
        """Return both, sorted."""
        return type(self)(np.concatenate([self.high, other.high]), np.concatenate([self.low, other.low])).sorted()

    def first(self) -> NDArray[np.bool_]:
        """Return where each identity stands for the first time."""
        order = np.lexsort((np.arange(len(self)), self.low, self.high))
        high, low = self.high[order], self.low[order]
        new = np.ones(len(self), dtype=bool)
        new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        first = np.zeros(len(self), dtype=bool)
        first[order[new]] = True
        return first

    def find(self, wanted: Self) -> NDArray[np.bool_]:
        """Return which of some identities are among these, which must be sorted."""
        found = np.zeros(len(wanted), dtype=bool)
        if not len(self):
            return found
        place = np.searchsorted(self.high, wanted.high)
        # Equal first halves are one in 2^64 unless the identities are equal, so the loop runs once.
        while (open_ := (place < len(self)) & ~found).any():
            at = np.minimum(place, len(self) - 1)
            same = open_ & (self.high[at] == wanted.high)
            found |= same & (self.low[at] == wanted.low)
            place = np.where(same & ~found, place + 1, len(self))
        return found


class Seen:
    """The identities of one table: loaded for a day when the day is first met, sorted, 16 bytes each."""

    def __init__(self, lake: Lake, table: str, column: str | None = None, only: tuple[str, str] | None = None) -> None:
        """`only` restricts to rows in which a column has a value, such as ("format", "journal")."""
        self.lake, self.table, self.only = lake, table, only
        self.column = column or KEYS[table]
        self._days: dict[date, list[Keys]] = {}

    def any(self, day: date) -> bool:
        """Return whether a day holds anything."""
        return any(map(len, self._of(day)))

    def _of(self, day: date) -> list[Keys]:
        """Return the identities of a day, in sorted runs."""
        if day not in self._days:
            columns = [self.column] if self.only is None else [self.column, self.only[0]]
            rows = self.lake.read(self.table, [day], columns)
            if self.only is not None:
                rows = rows.filter(pc.equal(rows[self.only[0]], self.only[1]))
            listed = rows[self.column]
            known = Keys.of(listed) if self.column == KEYS[self.table] else hashed(listed.to_pylist())
            self._days[day] = [known.sorted()]
        return self._days[day]

    def has(self, day: date, wanted: Keys) -> NDArray[np.bool_]:
        """Return which of some identities a day holds."""
        found = np.zeros(len(wanted), dtype=bool)
        for run in self._of(day):
            found |= run.find(wanted)
        return found

    def add(self, day: date, new: Keys) -> None:
        """Remember identities that have been written."""
        runs = self._of(day)
        runs.append(new.sorted())
        # Runs of like length are joined, so that there are few of them and none is sorted often.
        while len(runs) > 1 and len(runs[-2]) <= 2 * len(runs[-1]):
            runs[-2:] = [runs[-2].joined(runs[-1])]


def hashed(identities: Sequence[str]) -> Keys:
    """Return the keys of identities of any length and alphabet."""
    digests = [hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest() for identity in identities]
    return Keys.of(pa.array(digests, pa.string()))
