"""What the same traffic would cost at other prices."""

from collections import defaultdict
from dataclasses import dataclass

import pandas as pd

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
