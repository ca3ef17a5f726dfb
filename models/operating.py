"""Operating points: the price of money at which most is saved while a share of the best single's quality is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import OperatingPoint
from models.values import NEVER, best, earned

Floats = NDArray[np.float64]

RATIOS = (0.97, 0.98, 0.99, 1.0)
PRICES = 160
"""Prices of money that are tried, spread evenly on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Trade:
    """An operating point and what cross-validation says of it."""

    point: OperatingPoint
    ratio: float
    """Its quality over that of the best single candidate."""
    saving: float
    """The share of the best single candidate's cost that it saves."""

    def to_json(self) -> Mapping[str, Any]:
        """Return the trade as plain data."""
        return {"quality_ratio": self.point.quality_ratio, "ratio": self.ratio, "saving": self.saving}


def prices(quality: Floats, cost: Floats) -> Floats:
    """Return the prices of money worth trying, rising from zero: where predicted preferences change, (k,)."""
    spread = np.abs(cost - cost.mean(axis=1, keepdims=True)).mean()
    if not np.isfinite(spread) or spread <= 0:
        return np.zeros(1)
    return np.concatenate([[0.0], np.geomspace(1e-3, 30.0, PRICES) / spread])


def operating_points(
    expected: Floats,
    expected_cost: Floats,
    quality: Floats,
    cost: Floats,
    incumbent: int,
    ratios: Sequence[float],
    assurance: float,
    margin: float = 0.0,
) -> tuple[Trade, ...]:
    """Return, for each share of the incumbent's quality, the cheapest policy whose lower bound still keeps it.

    All matrices are (n, m), on requests where everything was observed: out-of-fold predictions `expected` and
    `expected_cost`, and what came true. `incumbent` is the best single candidate by quality. The bound on
    value - ratio * (incumbent's value), paired, lies `assurance` standard errors under its mean. Without a margin, and
    with `margin`, the price of money rises from zero until the bound fails for the first time: a sequence fixed
    beforehand, so that the luck of some price further up cannot be picked (Angelopoulos et al. 2021, "Learn then
    Test", section 2.2). Where nothing cheaper passes, the point stays with the incumbent.
    """
    rows = np.arange(len(quality))
    held, spent = quality[:, incumbent], cost[:, incumbent]
    due, kept = float(spent.mean()), float(held.mean())
    ladders: dict[float, list[_Tried]] = {0.0: [], margin: []}
    for per_dollar in prices(expected, expected_cost):
        utility = expected - per_dollar * expected_cost if per_dollar else expected
        choice = best(utility)
        lead = utility[rows, choice] - utility[:, incumbent]
        won, paid = earned(quality, choice), earned(cost, choice)
        for step, ladder in ladders.items():
            leaves = lead > step
            spread = np.cov(np.where(leaves, won, held), held)
            value, price = float(np.where(leaves, won, held).mean()), float(np.where(leaves, paid, spent).mean())
            ladder.append(_Tried(float(per_dollar), step, value, price, spread))
    found = []
    for ratio in ratios:
        trade = Trade(OperatingPoint(ratio, 0.0, NEVER, incumbent), 1.0, 0.0)
        holds = partial(_Tried.above, ratio=ratio, kept=kept, n=len(rows), assurance=assurance)
        safe = [tried for ladder in ladders.values() for tried in takewhile(holds, ladder)]
        cheapest = min(safe, key=lambda t: t.cost, default=None)
        if cheapest is not None and cheapest.cost < due:
            point = OperatingPoint(ratio, cheapest.per_dollar, cheapest.margin, incumbent)
            trade = Trade(point, cheapest.value / kept, 1 - cheapest.cost / due)
        found.append(trade)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Tried:
    """A policy: what it earned and paid in the mean, and the covariance of its quality with the incumbent's."""

    per_dollar: float
    margin: float
    value: float
    cost: float
    spread: Floats

    def above(self, ratio: float, kept: float, n: int, assurance: float) -> bool:
        """Return whether the lower bound of value - ratio * kept is zero or more."""
        (own, both), (_, other) = self.spread
        error = np.sqrt(max(own + ratio**2 * other - 2 * ratio * both, 0.0) / n)
        return bool(self.value - ratio * kept - assurance * error >= 0)
