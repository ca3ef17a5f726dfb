"""Follow: when a request comes, fetch what mostly follows it and is not held, until the window ends."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from beastmode.objective import Objective
from features.followups import FollowUps
from models.warmers.warmer import tallied
from pipelines.context import Context
from pipelines.logs import sources
from pipelines.progress import Counts
from pipelines.warm_bundle import WarmerBundle, demand_of
from pipelines.warm_clusters import CLUSTERS, EXACT
from pipelines.warm_demand import Logged, demand
from pipelines.warm_filling import Filled, Filling, Prefill
from pipelines.warm_plan import Following, WarmPlan, hit_usd
from pipelines.warm_tail import Tail

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS = 20_000
"""Requests that the table of follow-ups takes at once, so that memory stays bounded."""
FILLED = "filled"


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of following a window's requests."""

    requests: int
    """Requests that the journals had."""
    filled: Filled
    used: int
    """Of the answers that were fetched, how many were asked for afterwards, until the run ended."""

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be done in this window."""
        return self.filled.ended

    def lines(self) -> Iterator[str]:
        """Yield it in words."""
        told = self.filled
        share = f": {self.used / told.filled:.0%}" if told.filled else ""
        yield (
            f"followed {self.requests} requests: {told.filled} follow-ups fetched, {self.used} of them asked for by "
            f"the end of the run{share}"
        )
        yield from (f"no follow-up, {keys} keys: {why}" for why, keys in told.skipped.most_common())
        if told.stopped:
            yield f"stopped following: {told.stopped}"


def tailed(context: Context, warmer: WarmerBundle) -> Tail | str | None:
    """Return the tail of the application's journals, or why nothing is followed; None where that is not wanted."""
    if not context.settings.warming.follow:
        return None
    if warmer.warmer.follower is None:
        return (
            "warming.follow is set, but following is not proven to help on this demand, or the warmer is of an older "
            "version: nothing is followed; `python -m pipelines train-warmer` tries again"
        )
    if context.settings.warming.keys != EXACT and warmer.training.get("keys") == CLUSTERS:
        return 'warming.follow is set, but the warmer foresees clusters: set warming.keys = "exact" to follow keys'
    tail = Tail(sources(context), context.settings.ingest.keeping())
    if tail.lacking is not None:
        return f"warming.follow is set, but {tail.lacking}: name your application's in [[ingest.sources]]"
    return tail


def following(warmer: WarmerBundle, known: Logged, at: datetime) -> Following | None:
    """Return who follows, with what planned prefills are worth by its word: zero for keys that were never asked for."""
    follower = warmer.warmer.follower
    if follower is None:
        return None
    tally = tallied(demand_of(known), at.timestamp(), warmer.window_seconds)
    worth = np.zeros(len(known.keys))
    worth[tally.seen] = follower.planned(warmer.warmer.score(tally, tally.seen))
    return Following(follower, worth)


def follow(
    tail: Tail, known: Logged, following: Following, plan: WarmPlan, filling: Filling, objective: Objective,
    progress: Counts,
) -> Followed:  # fmt: skip
    """Fetch what follows the requests of a tail until a plan's window is over, or the purse is empty, or a hand stops.

    `filling` is the plan's, whose purse, ledger and pace are shared. SIGTERM is taken as Ctrl-C is: what is under way
    ends, and the same command goes on.
    """
    again = replace(filling, told=Filled())
    watch = _Watch(tail, known, following, plan, again, objective)
    with closing(tail), _terminable():
        told = again.run(watch.prefills(), progress)
        watch.look()
    return Followed(watch.requests, told, watch.used)


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM while the block runs, where a handler can be set: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@dataclass(slots=True)
class _Wanted:
    """A follow-up that is worth fetching, for a while."""

    worth: float
    at: float
    """When what it follows was asked for last, in seconds since 1970."""


class _Watch:
    """What is known while a window goes on. Keys have the lake's numbers; those that the tail brings get the next."""

    def __init__(
        self, tail: Tail, known: Logged, following: Following, plan: WarmPlan, filling: Filling, objective: Objective
    ) -> None:
        self._tail, self._follower, self._plan, self._filling = tail, following.follower, plan, filling
        self._table = FollowUps(self._follower.after, self._follower.within)
        for begin in range(0, len(known), ROWS):
            rows = slice(begin, begin + ROWS)
            self._table.add(known.key[rows], known.at[rows])
        self._number = {key: place for place, key in enumerate(known.keys)}
        self._names = [key.hex() for key in known.keys]
        self._asks = list(known.requests)
        self._planned, self._miss = following.planned, known.miss_usd
        self._hit = hit_usd(known, filling.settings, objective)
        self._latest = float(known.at[-1])
        self._asked: dict[int, float] = {}
        """When keys were asked for last in this run, in seconds since 1970."""
        self._wanted: dict[int, _Wanted] = {}
        self._held: dict[int, float] = {}
        """Until when keys need not be looked up again."""
        self._fetched: dict[int, float] = {}
        """When the fetching of keys began."""
        self._used: set[int] = set()
        self.requests = 0

    @property
    def used(self) -> int:
        """How many of the answers that were fetched were asked for afterwards."""
        return sum(self._filling.ledger.ended.get(self._names[key]) == FILLED for key in self._used)

    def prefills(self) -> Iterator[Prefill]:
        """Yield what is to be fetched, the most worth first, as requests come, until the window is over."""
        settings, stop = self._filling.settings, self._filling.stop
        end, looked = self._plan.closes.timestamp(), -np.inf
        most = settings.prefills - len(self._filling.ledger.ended)
        while not stop.is_set() and (now := time.time()) < end:
            if now - looked >= settings.follow_poll_seconds:
                self.look()
                looked = now
            key = self._next()
            if key is None:
                stop.wait(min(max(looked + settings.follow_poll_seconds - time.time(), 0.0), end - now))
                continue
            if len(self._fetched) >= most:
                self._filling.told.stopped = f"the budget: warming.prefills = {settings.prefills} are made"
                return
            request = self._asks[key]
            assert request is not None
            self._fetched[key] = time.time()
            yield Prefill(self._names[key], request)

    def look(self) -> None:
        """Take the requests that have come since the last look."""
        rows = self._tail.requests()
        if not len(rows):
            return
        more, now = demand(rows, self._filling.settings), time.time()
        key = self._numbers(more)[more.key]
        # Clocks differ, and a batch may bring what is older than the last one; the table takes rising moments.
        at = np.maximum(np.minimum(more.at, now), self._latest)
        self._latest = float(at[-1])
        self._table.add(key, at)
        self.requests += len(key)
        for number, moment in zip(key.tolist(), more.at.tolist(), strict=True):
            self._asked[number] = max(self._asked.get(number, moment), moment)
            if moment >= self._fetched.get(number, np.inf):
                self._used.add(number)
        lately = at > now - self._follower.within
        self._want(key[lately], at[lately], now)

    def _numbers(self, more: Logged) -> Ints:
        """Return the numbers of the keys of other demand, (k,)."""
        for key, request in zip(more.keys, more.requests, strict=True):
            if key not in self._number:
                self._number[key] = len(self._names)
                self._names.append(key.hex())
                self._asks.append(request)
        if new := len(self._names) - len(self._planned):
            # Nobody knows yet what they cost and whether they return.
            self._planned = np.concatenate([self._planned, np.zeros(new)])
            self._miss = np.concatenate([self._miss, np.full(new, self._miss.mean())])
            self._hit = np.concatenate([self._hit, np.full(new, self._hit.mean())])
        return np.array([self._number[key] for key in more.keys], dtype=np.int64)

    def _want(self, key: Ints, at: Floats, now: float) -> None:
        """Note what follows some requests and is worth a prefill at the window's price."""
        leaders, last = np.unique(key[::-1], return_index=True)
        place, follows, share, support = self._table.followers(leaders)
        worth = self._follower.worth(share, support, self._planned[follows])
        miss, hit = self._miss[follows], self._hit[follows]
        good = (worth >= self._plan.price) & (worth * (miss + hit) > self._filling.settings.price_share * miss)
        asked = at[::-1][last][place]
        for number, each, moment in zip(
            follows[good].tolist(), worth[good].tolist(), asked[good].tolist(), strict=True
        ):
            if (
                self._asks[number] is None
                or number in self._fetched
                or self._held.get(number, 0.0) > now
                or self._names[number] in self._filling.ledger.ended
            ):
                continue
            wanted = self._wanted.setdefault(number, _Wanted(each, moment))
            wanted.worth, wanted.at = max(wanted.worth, each), max(wanted.at, moment)

    def _next(self) -> int | None:
        """Return the key that is worth most, is not held, and may still be asked for; None where there is none."""
        now, cache, scope = time.time(), self._filling.cache, self._filling.scope
        for key in sorted(self._wanted, key=lambda number: -self._wanted[number].worth):
            wanted, request = self._wanted.pop(key), self._asks[key]
            assert request is not None
            if wanted.at <= now - self._follower.within or self._asked.get(key, -np.inf) >= wanted.at:
                continue
            found = cache.get(request, **scope)
            if found is None or found.entry is None:
                return key
            # It may be removed before it dies, but that is seldom.
            self._held[key] = min(found.entry.fresh_until, now + self._follower.within)
        return None
