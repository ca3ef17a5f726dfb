"""Demand: which key was asked for when, by whom, and what an answer to it costs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """`n` requests in time order, over `k` keys."""

    key: Ints
    """(n,) Number of the key, 0 to k - 1."""
    at: Floats
    """(n,) Seconds, rising; since 1970 where hours of the day shall mean something."""
    tenant: Ints
    """(k,) Number of each key's tenant."""
    miss_usd: Floats
    """(k,) What a model's answer costs, US dollars."""

    def __post_init__(self) -> None:
        if self.key.shape != self.at.shape or self.tenant.shape != self.miss_usd.shape:
            raise ValueError(
                f"demand: key {self.key.shape} and at {self.at.shape} are of the requests, "
                f"tenant {self.tenant.shape} and miss_usd {self.miss_usd.shape} of the keys: "
                "each pair must be of one length"
            )
        if len(self.at) and not (np.isfinite(self.at).all() and (np.diff(self.at) >= 0).all()):
            raise ValueError("demand: at must be finite and rise: sort the requests by time")
        if len(self.key) and not (self.key.min() >= 0 and self.key.max() < len(self.tenant)):
            raise ValueError(
                f"demand: key holds {self.key.min()} to {self.key.max()}, but there are {len(self.tenant)} keys: "
                "number them from 0"
            )

    @classmethod
    def of(cls, key: Ints, at: Floats, tenant: Ints | None = None, miss_usd: Floats | None = None) -> "Demand":
        """Return demand of a stream; `tenant` and `miss_usd`, (k,), are 0 and 1 where they are not known."""
        keys = int(key.max()) + 1 if len(key) else 0
        return cls(
            key.astype(np.int64),
            at.astype(np.float64),
            np.zeros(keys, dtype=np.int64) if tenant is None else tenant,
            np.ones(keys) if miss_usd is None else miss_usd,
        )

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self.tenant)

    def __len__(self) -> int:
        return len(self.key)

    def until(self, at: float) -> "Demand":
        """Return the requests before a moment; keys keep their numbers."""
        end = int(np.searchsorted(self.at, at))
        return Demand(self.key[:end], self.at[:end], self.tenant, self.miss_usd)


@dataclass(frozen=True, slots=True)
class Window:
    """Some time, and the requests in it: rows `begin` to `end` of a Demand."""

    start: float
    """Seconds."""
    begin: int
    end: int


def windows(demand: Demand, seconds: float, until: float | None = None) -> Iterator[Window]:
    """Yield windows of so many seconds, from the one with the first request to the one with the last, empty ones too.

    They begin at whole multiples of their length, so that windows of a day are days. Those `until` a moment end there,
    the last of them at that very moment.
    """
    if seconds <= 0:
        raise ValueError(f"windows: seconds = {seconds!r} must be positive")
    if not len(demand):
        return
    origin = 0.0 if until is None else until
    number = np.floor((demand.at - origin) / seconds).astype(np.int64)
    first, last = int(number[0]), -1 if until is not None else int(number[-1])
    edges = np.searchsorted(number, np.arange(first, last + 2))
    for place, (begin, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        yield Window(origin + (first + place) * seconds, begin, end)
