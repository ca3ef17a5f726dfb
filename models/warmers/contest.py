"""One contestant's cache in a replay: what it fetches ahead, between plans too, and what came of it."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand, Window
from features.demand_tally import Tally
from features.followups import FollowUps
from models.warmers.following import LATELY, Brought, Follower, rates, triggers
from models.warmers.held import Held
from models.warmers.settings import WarmerSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Scoring(Protocol):
    """Who says which keys to fetch first."""

    def score(self, tally: Tally, keys: Ints) -> Floats:
        """Return a score of each key, the highest first, -inf for what is not worth a prefill."""

    @property
    def follows(self) -> bool:
        """Whether anybody ever fetches between plans: nothing is counted for it where nobody does."""
        return False

    def following(self, tally: Tally) -> Follower | None:
        """Return who fetches between plans in the window to come; None where nobody does."""
        return None


@dataclass(frozen=True, slots=True)
class Contestant:
    """A warmer at a budget; no prefills are made where there is no warmer."""

    warmer: Scoring | None = None
    budget: float = 0.0
    """Prefills a request."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it in each of `w` windows."""

    hits: Ints
    """(w,)"""
    requests: Ints
    """(w,)"""
    prefills: Ints
    """(w,)"""
    useful: int
    """Prefills whose answer was asked for before it died."""
    misses_usd: float
    prefills_usd: float
    """At the price of a miss each."""

    @property
    def hit_rate(self) -> float:
        """Hits a request."""
        return float(self.hits.sum() / max(self.requests.sum(), 1))

    @property
    def spent(self) -> float:
        """Prefills a request."""
        return float(self.prefills.sum() / max(self.requests.sum(), 1))

    @property
    def useful_share(self) -> float:
        """Useful prefills, of all."""
        return self.useful / max(int(self.prefills.sum()), 1)


class Replay:
    """A cache, and its contestant's prefills. Take windows in order: `begin`, `warm` and `follow` if any, `serve`."""

    def __init__(self, demand: Demand, settings: WarmerSettings, contestant: Contestant, share: Ints | None) -> None:
        self.contestant = contestant
        self._demand = demand
        self._held = Held(demand, settings, share)
        self._ahead = np.full(demand.keys, np.inf)
        """From when a prefill serves, of those that were of no use yet."""
        self._rows: list[tuple[int, int, int]] = []
        self._useful = 0
        self._misses_usd = self._prefills_usd = 0.0
        self._requests = self._spent = self._now_spent = 0
        self._follower: Follower | None = None
        self._price = 0.0
        self._left = 0
        """Prefills that the window's follow-ups may be."""
        self._worth = np.zeros(0)
        self._brought: deque[Brought] = deque(maxlen=LATELY)

    def begin(self, window: Window) -> None:
        """Flush where it is time to."""
        self._now_spent, self._follower = 0, None
        if self._held.begin(window):
            self._ahead[:] = np.inf

    def warm(self, tally: Tally, window: Window, expected: int) -> None:
        """Fetch ahead what the budget allows, the highest scores first; what follow-ups should cost is left to them."""
        warmer = self.contestant.warmer
        allowed = int(self.contestant.budget * (self._requests + expected) - self._spent + 1e-9)
        if warmer is None or allowed <= 0:
            return
        keys = self._held.due(tally, window)
        score = warmer.score(tally, keys)
        keys, score = keys[score > -np.inf], score[score > -np.inf]
        planned = allowed
        self._follower = warmer.following(tally)
        if self._follower is not None:
            worth = self._follower.planned(score)
            self._price, planned = self._follower.price(
                worth, expected, allowed, rates(self._brought) if self._brought else self._follower.expected
            )  # fmt: skip
            self._worth = np.zeros(self._demand.keys)
            self._worth[keys] = worth
        chosen = keys if len(keys) <= planned else keys[np.argsort(-score, kind="stable")[:planned]]
        self._fetch(chosen, np.full(len(chosen), window.start))
        self._left = allowed - len(chosen)

    def follow(self, table: FollowUps, tally: Tally, window: Window) -> None:
        """Fetch what follows the window's requests, as they come, where it is worth the window's price."""
        if self._follower is None:
            return
        known = triggers(table, self._held, tally.total > 0, self._demand, window)
        planned = self._worth[known.key]
        worth = self._follower.worth(known.share, known.support, planned)
        self._brought.append(Brought.of(window.end - window.begin, known.key, worth, planned))
        known = known.of(worth >= self._price)
        known = known.of(np.argsort(known.at, kind="stable"))
        first = np.sort(np.unique(known.key, return_index=True)[1])[: self._left]
        self._fetch(known.key[first], known.at[first])

    def serve(self, window: Window, *, counted: bool) -> None:
        """Answer the window's requests, and count what came of them."""
        missed = self._held.serve(window)
        if not counted:
            return
        rows = slice(window.begin, window.end)
        share = self._held.share[self._demand.key[rows]]
        last = np.full(len(self._ahead), -np.inf)
        last[share] = self._demand.at[rows]  # of equal indices numpy keeps the last, and requests are in time order
        used = np.flatnonzero(last >= self._ahead)
        gone = self._held.share[missed]
        self._useful += int(np.setdiff1d(used, gone).size)
        self._ahead[used] = self._ahead[gone] = np.inf
        self._misses_usd += float(self._demand.miss_usd[missed].sum())
        self._requests += len(share)
        self._rows.append((len(share) - len(missed), len(share), self._now_spent))

    def told(self) -> Played:
        """Return what came of it."""
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, 3)
        return Played(rows[:, 0], rows[:, 1], rows[:, 2], self._useful, self._misses_usd, self._prefills_usd)

    def _fetch(self, keys: Ints, at: Floats) -> None:
        self._ahead[self._held.share[keys]] = np.maximum(self._held.until(keys), at)
        self._held.fetch(keys, at)
        self._now_spent += len(keys)
        self._spent += len(keys)
        self._prefills_usd += float(self._demand.miss_usd[keys].sum())
