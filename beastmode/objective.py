"""How predictions become one number: utility = quality - price of money - price of time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Objective:
    """The exchange rates of an application.

    `per_dollar` is the quality that one US dollar a request is worth: at 100, a candidate that costs a cent more must
    answer better by 1.0, which is everything; at 1, by 0.01. `per_second` is the same for a second of latency.
    """

    per_dollar: float = 0.0
    per_second: float = 0.0
    quality_floor: float | None = None
    """Candidates predicted under it are taken only where none reaches it."""

    def __post_init__(self) -> None:
        for name in ("per_dollar", "per_second"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"objective: {name} = {getattr(self, name)!r} must be zero or more")

    def utility(self, quality: Floats, cost_usd: Floats | None, latency_ms: Floats | None) -> Floats:
        """Return the utility of outcomes or predictions, elementwise; shapes broadcast.

        An unknown cost or latency (NaN, or None for all) is not charged where its price is zero, and makes the
        utility NaN where it is not: an unpriced candidate is never free.

        >>> Objective(per_dollar=10).utility(np.array([.7]), np.array([.01]), None)
        array([0.6])
        """
        utility = np.asarray(quality, dtype=np.float64)
        if self.per_dollar:
            utility = utility - self.per_dollar * (np.nan if cost_usd is None else cost_usd)
        if self.per_second:
            utility = utility - self.per_second * (np.nan if latency_ms is None else latency_ms) / 1000
        return np.asarray(utility, dtype=np.float64)

    def reaching(self, quality: Floats, eligible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return who stays eligible under the floor: those that reach it, or all where none does; shapes (n, m)."""
        if self.quality_floor is None:
            return eligible
        reached = eligible & (quality >= self.quality_floor)
        return np.where(reached.any(axis=1, keepdims=True), reached, eligible)
