"""What the same traffic would cost at other prices: another list's, or those of another day."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.costs import computed
from features.ledger import entries
from features.prices import PriceBook


@dataclass(frozen=True, slots=True)
class Change:
    """What one model's traffic would cost under other prices, in US dollars."""

    model: str
    rows: int
    before_usd: float
    after_usd: float

    @property
    def difference_usd(self) -> float:
        """After less before."""
        return self.after_usd - self.before_usd


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The same traffic under two price books, by model, the largest difference first."""

    changes: tuple[Change, ...]
    unpriced: int
    """Rows that one of the books cannot price; they are in no sum."""

    @property
    def before_usd(self) -> float:
        """The whole traffic as it is priced now."""
        return sum(change.before_usd for change in self.changes)

    @property
    def after_usd(self) -> float:
        """The whole traffic under the other prices."""
        return sum(change.after_usd for change in self.changes)


def what_if(frame: pd.DataFrame, before: PriceBook, after: PriceBook) -> WhatIf:
    """Return what the same traffic, caches' answers aside, costs under two price books."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
    unpriced = 0
    for entry in entries(frame):
        if entry.cache_tier is not None:
            continue
        (was, _), (would, _) = computed(entry, before), computed(entry, after)
        if was is None or would is None:
            unpriced += entry.status == "success"
            continue
        row = sums[entry.model]
        row[0], row[1], row[2] = row[0] + 1, row[1] + was, row[2] + would
    changes = [Change(model, int(n), was, would) for model, (n, was, would) in sums.items()]
    return WhatIf(tuple(sorted(changes, key=lambda c: (-abs(c.difference_usd), c.model))), unpriced)


def at_prices_of(day: date, frame: pd.DataFrame, book: PriceBook) -> NDArray[np.float64]:
    """Return what each row (n,) would cost at the prices of a day (UTC), NaN where nobody knows.

    What was paid is scaled by the two days' prices for its tokens, so that a discount that the log knows of stays. A
    cost that was not known is computed, where it can be by now. A cache's answers, and calls that no list prices on
    both days, keep theirs. Prices by the hour are those of the row's own hour.
    """
    costs: NDArray[np.float64] = frame["cost_usd"].to_numpy(dtype=np.float64, na_value=np.nan).copy()
    for i, entry in enumerate(entries(frame)):
        if entry.cache_tier is not None or entry.at.date() == day:
            continue
        usd, _ = computed(entry._replace(at=datetime.combine(day, entry.at.time(), UTC)), book)
        if usd is None:
            continue
        if np.isnan(costs[i]):
            costs[i] = usd
        elif (paid := computed(entry, book)[0]) is not None and paid > 0:
            costs[i] *= usd / paid
    return costs
