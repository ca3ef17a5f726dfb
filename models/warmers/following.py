"""Follow-ups: what is fetched between two plans, because it mostly follows what was asked for just now."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.logistic import sigmoid
from features.demand import Demand, Window
from features.followups import FollowUps
from models.warmers.held import Held

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Rates = tuple[tuple[float, float], ...]
"""(price, follow-ups a request that are made at this price), the highest price first."""
STEPS = 64
"""Prices that this is told at."""
LATELY = 24
"""Windows from which it is told."""
LEAST = 1e-4
"""So that a share of zero has log odds."""


@dataclass(frozen=True, slots=True)
class Follower:
    """What an answer is worth that is fetched ahead: the share of its life that is left when it is first asked for.

    An answer that is asked for at once saves a whole miss and lives on as that miss's answer would have; one that is
    asked for as it dies has saved one miss and brings the next one forward. So plans and follow-ups are paid alike.
    """

    after: float
    within: float
    """Seconds; see `FollowUps`."""
    levels: tuple[float, ...]
    worths: tuple[float, ...]
    """Of a planned prefill at rising scores of the warmer; straight lines between them."""
    line: tuple[float, ...]
    """(4,) Log odds of a follow-up's worth: by the log odds of its share, the logarithm of its support, and what a
    planned prefill of the key is worth; and what is added."""
    expected: Rates
    """As training saw them lately."""

    def planned(self, score: Floats) -> Floats:
        """Return what planned prefills are worth by the warmer's scores, (k,), from 0 to 1."""
        return np.interp(score, self.levels, self.worths)

    def worth(self, share: Floats, support: Floats, planned: Floats) -> Floats:
        """Return what follow-ups are worth, (m,), from 0 to 1; the columns are those of `FollowUps.followers`."""
        return np.asarray(sigmoid(columns(share, support, planned) @ np.array(self.line[:3]) + self.line[3]))

    def price(self, planned: Floats, requests: float, allowed: float, expected: Rates) -> tuple[float, int]:
        """Return the worth from which prefills are made in a window, and how many are planned.

        At this price, planned prefills and the follow-ups that so many `requests` should bring spend what is `allowed`.
        """
        worth, rate = np.array(expected).reshape(-1, 2).T
        levels = np.unique(np.concatenate([planned, worth]))[::-1]
        plan = len(planned) - np.searchsorted(np.sort(planned), levels)
        follow = requests * np.concatenate([[0.0], rate])[np.searchsorted(-worth, -levels, side="right")]
        over = np.flatnonzero(plan + follow > allowed)
        if not len(over):
            return 0.0, len(planned)
        return float(levels[over[0]]), int(min(plan[over[0]], max(allowed - follow[over[0]], 0.0)))


@dataclass(frozen=True, slots=True)
class Triggers:
    """Follow-ups that could be fetched in a window, (m,): before each is asked for, and once it is dead."""

    key: Ints
    at: Floats
    """When the answer is there, if it is fetched for this trigger."""
    share: Floats
    support: Floats

    def of(self, rows: NDArray[np.bool_] | Ints) -> "Triggers":
        """Return some of them."""
        return Triggers(self.key[rows], self.at[rows], self.share[rows], self.support[rows])


def triggers(table: FollowUps, held: Held, seen: NDArray[np.bool_], demand: Demand, window: Window) -> Triggers:
    """Return the follow-ups in a window, of keys that were `seen` before it, (k,), as the table knew them before it."""
    rows = slice(window.begin, window.end)
    place, key, share, support = table.followers(demand.key[rows])
    at = demand.at[rows][place] + table.after
    missed = np.full(demand.keys, np.inf)
    missing, when = held.missing(window)
    missed[missing] = when
    use = seen[key] & (at >= held.until(key)) & (at <= missed[key])
    return Triggers(key, at, share, support).of(use)


@dataclass(frozen=True, slots=True)
class Brought:
    """What a window's requests could have had fetched, (m,), each key once, at its best."""

    requests: int
    best: Floats
    """Worth of the follow-up."""
    own: Floats
    """Worth of a planned prefill of the key: at a price below it is planned, and nothing follows."""

    @classmethod
    def of(cls, requests: int, key: Ints, worth: Floats, planned: Floats) -> "Brought":
        """Return it of all triggers of a window."""
        order = np.lexsort((-worth, key))
        first = order[np.r_[True, np.diff(key[order]) != 0][: len(key)]]
        return cls(requests, worth[first], np.minimum(planned, worth)[first])


def rates(lately: Sequence[Brought]) -> Rates:
    """Return how many follow-ups a request are made at falling prices, by what the last windows brought."""
    best = np.sort(np.concatenate([one.best for one in lately]))
    own = np.sort(np.concatenate([one.own for one in lately]))
    requests = sum(one.requests for one in lately)
    if not len(best) or not requests:
        return ()
    prices = np.unique(np.quantile(best, np.linspace(0, 1, STEPS)))[::-1]
    made = np.searchsorted(own, prices) - np.searchsorted(best, prices)
    return tuple(zip(prices.tolist(), (made / requests).tolist(), strict=True))


def columns(share: Floats, support: Floats, planned: Floats) -> Floats:
    """Return what the worth of follow-ups is told by, (m, 3)."""
    return np.stack([_odds(share), np.log1p(support), planned], axis=1)


def _odds(p: Floats) -> Floats:
    p = np.clip(p, LEAST, 1 - LEAST)
    return np.log(p / (1 - p))
