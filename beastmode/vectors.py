"""Tables that hold a vector for each word: what a text's words add up to, and how a bundle stores them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """A vector for each row, in int8 with a scale for each row: row i is table[i] * scale[i]."""

    table: NDArray[np.int8]
    """(rows, columns)"""
    scale: NDArray[np.float32]
    """(rows,)"""

    @classmethod
    def rounded(cls, values: Floats) -> Self:
        """Make it of real numbers, shape (rows, columns); each is kept to a 254th of its row's range."""
        scale = (np.abs(values).max(axis=1, initial=0.0) / 127).astype(np.float32)
        scale = np.where(scale > 0, scale, np.float32(1))
        steps = np.round(values / scale[:, None].astype(np.float64))
        return cls(steps.clip(-127, 127).astype(np.int8), scale)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], name: str, rows: int) -> Self:
        """Return the vectors stored under a name; raises ValueError where they are not of that many rows."""
        table, scale = arrays.get(f"{name}_table"), arrays.get(f"{name}_scale")
        if table is None or table.ndim != 2 or len(table) != rows or table.dtype != np.int8:
            raise ValueError(f"encoder: {name}_table is not an int8 table of {rows} rows; the arrays are damaged")
        if scale is None or scale.shape != (rows,) or scale.dtype != np.float32 or not np.isfinite(scale).all():
            raise ValueError(f"encoder: {name}_scale is not {rows} finite float32; the arrays are damaged")
        return cls(table, scale)

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the vectors as arrays to store under a name."""
        return {f"{name}_table": self.table, f"{name}_scale": self.scale}

    @property
    def columns(self) -> int:
        """The width of a vector."""
        return int(self.table.shape[1])

    def added(self, counts: Mapping[int, int]) -> Floats:
        """Return the sum of the rows, each times the root of its count, shape (columns,).

        In double precision: the order in which a processor adds then changes nothing that the encoding's grid shows.
        """
        rows = np.fromiter(counts, np.intp, len(counts))
        weight = np.sqrt(np.fromiter(counts.values(), np.float64, len(counts))) * self.scale.take(rows)
        return np.asarray(weight.dot(self.table.take(rows, axis=0).astype(np.float64)))


def in_order(index: Mapping[str, int]) -> list[str]:
    """Return the strings of an index in the order of their places."""
    return sorted(index, key=index.__getitem__)


def packed(strings: Sequence[str]) -> NDArray[np.uint8]:
    """Return strings without line breaks as one array of bytes.

    >>> unpacked(packed(["to", "be"]))
    {'to': 0, 'be': 1}
    """
    return np.frombuffer("\n".join(strings).encode(), dtype=np.uint8)


def unpacked(data: NDArray[np.uint8]) -> dict[str, int]:
    """Return the place of each string that `packed` wrote; raises ValueError on doubled strings or broken UTF-8."""
    if data.dtype != np.uint8 or data.ndim != 1:
        raise ValueError(f"encoder: strings of type {data.dtype} and shape {data.shape}; the arrays are damaged")
    text = data.tobytes().decode()
    strings = text.split("\n") if text else []
    index = {string: i for i, string in enumerate(strings)}
    if len(index) != len(strings):
        raise ValueError("encoder: a string stands twice in a vocabulary; the arrays are damaged")
    return index
