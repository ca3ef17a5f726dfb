"""Which answers to fetch ahead: what each is expected to save, less what it costs, under a budget."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prefills:
    """The chosen keys, the best use of a dollar first."""

    rows: NDArray[np.int64]
    saving_usd: Floats
    """Expected of each, before its cost."""
    cost_usd: Floats
    worthless: int
    """How many keys would cost more than they save."""
    beyond: int
    """How many are worth it, and not in the budget."""


def useful(p: Floats, uncovered: Floats) -> Floats:
    """Return P(a prefill is used): some request falls into the share of its life that no held answer covers.

    `p` is P(any request in its life); requests are taken to come evenly over it (a Poisson stream), so that the part
    `uncovered` has 1 - (1 - p)^uncovered.
    """
    return np.asarray(1 - (1 - np.clip(p, 0, 1)) ** np.clip(uncovered, 0, 1))


def choose(
    p: Floats, miss_usd: Floats, prefill_usd: Floats, hit_usd: Floats, *, budget_usd: float, most: int
) -> Prefills:
    """Choose prefills, all arguments (keys,): P(used), what a miss and a prefill cost, what a hit is worth beside.

    A prefill saves p (miss + hit), and costs what it costs whether it is used or not. Only what saves more than it
    costs is taken, by net saving a dollar until the budget or `most` is reached: the greedy rule for a knapsack, which
    loses at most the value of one item (Dantzig 1957). An answer whose price is unknown is never taken.
    """
    saving = p * (miss_usd + hit_usd)
    net = saving - prefill_usd
    good = np.flatnonzero(np.isfinite(net) & (net > 0))
    ratio = net[good] / np.maximum(prefill_usd[good], 1e-12)
    ranked = good[np.lexsort((good, -ratio))]
    taken: list[int] = []
    left = budget_usd
    for row in ranked.tolist():
        # What does not fit is passed over, for cheaper ones behind it may still fit.
        if len(taken) < most and prefill_usd[row] <= left:
            taken.append(row)
            left -= float(prefill_usd[row])
    rows = np.array(taken, dtype=np.int64)
    return Prefills(rows, saving[rows], prefill_usd[rows], len(p) - len(good), len(good) - len(rows))
