"""A cache whose answers die, replayed over demand under several warmers at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from features.demand import Demand, Window, windows
from features.demand_tally import Tally
from models.warmers.held import Held
from models.warmers.settings import WarmerSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


WHOLE = 0.9
"""The share of a window after which it counts as a whole one."""


class Scoring(Protocol):
    """Who says which keys to fetch first."""

    def score(self, tally: Tally, keys: Ints) -> Floats:
        """Return a score of each key, the highest first, -inf for what is not worth a prefill."""


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


def play(
    demand: Demand, start: float, settings: WarmerSettings, contestants: Mapping[str, Contestant]
) -> dict[str, Played]:
    """Replay demand, with prefills in the windows of `judged`, and count those.

    An answer lives `ttl_seconds` from when it was fetched. A prefill is made when the held answer dies, or at the
    beginning of the window where none is held: a fresh one is never replaced. A window may spend the budget of all
    requests so far, and of as many to come as its predecessor had, less what was spent; what a window leaves over,
    later ones have. With a flush, its period takes the place of the window.
    """
    caches = {name: _Cache(demand, settings, one) for name, one in contestants.items()}
    tally = Tally(demand.tenant, settings.window_seconds)
    expected = 0
    begin, end = judged(demand, start, settings.window_seconds)
    for window in windows(demand, settings.window_seconds):
        counted = begin <= window.begin and window.end <= end and window.start >= start
        for cache in caches.values():
            cache.begin(window)
            if counted:
                cache.warm(tally, window, expected)
            cache.serve(window, counted=counted)
        expected = window.end - window.begin
        tally.add(demand, window)
    return {name: cache.told() for name, cache in caches.items()}


class _Cache:
    def __init__(self, demand: Demand, settings: WarmerSettings, contestant: Contestant) -> None:
        self.demand, self.contestant = demand, contestant
        self.held = Held(demand, settings)
        self.ahead = np.zeros(demand.keys, dtype=bool)
        self.rows: list[tuple[int, int, int]] = []
        self.useful = 0
        self.misses_usd = self.prefills_usd = 0.0
        self.requests = self.spent = self.now_spent = 0

    def begin(self, window: Window) -> None:
        if self.held.begin(window):
            self.ahead[:] = False

    def warm(self, tally: Tally, window: Window, expected: int) -> None:
        """Fetch ahead what the budget allows, the highest scores first."""
        warmer = self.contestant.warmer
        allowed = int(self.contestant.budget * (self.requests + expected) - self.spent + 1e-9)
        self.now_spent = 0
        if warmer is None or allowed <= 0:
            return
        keys = self.held.due(tally, window)
        score = warmer.score(tally, keys)
        keys, score = keys[score > -np.inf], score[score > -np.inf]
        chosen = keys if len(keys) <= allowed else keys[np.argsort(-score, kind="stable")[:allowed]]
        self.held.fetch(chosen, window)
        self.ahead[chosen] = True
        self.now_spent = len(chosen)
        self.spent += len(chosen)
        self.prefills_usd += float(self.demand.miss_usd[chosen].sum())

    def serve(self, window: Window, *, counted: bool) -> None:
        missed = self.held.serve(window)
        if counted:
            key = self.demand.key[window.begin : window.end]
            asked = np.unique(key)
            self.useful += int(np.setdiff1d(asked[self.ahead[asked]], missed).size)
            self.ahead[asked] = False
            self.misses_usd += float(self.demand.miss_usd[missed].sum())
            self.requests += len(key)
            self.rows.append((len(key) - len(missed), len(key), self.now_spent))

    def told(self) -> Played:
        rows = np.array(self.rows, dtype=np.int64).reshape(-1, 3)
        return Played(rows[:, 0], rows[:, 1], rows[:, 2], self.useful, self.misses_usd, self.prefills_usd)


class Oracle:
    """Knows when each key that was asked for before is asked for next, and fetches the soonest first."""

    def __init__(self, demand: Demand, settings: WarmerSettings) -> None:
        self._span = float(demand.at[-1] - demand.at[0]) + 4 * settings.ttl_seconds if len(demand) else 1.0
        self._begin = float(demand.at[0]) if len(demand) else 0.0
        self._ttl = settings.ttl_seconds
        self._uses = np.sort(demand.key * self._span + (demand.at - self._begin))

    def score(self, tally: Tally, keys: Ints) -> Floats:
        """Return minus the seconds until the next request, (keys,), -inf where none comes in time."""
        now = keys * self._span + (tally.now - self._begin)
        place = np.searchsorted(self._uses, now)
        following = self._uses[np.minimum(place, len(self._uses) - 1)]
        left = np.where(place < len(self._uses), following - now, np.inf)
        return np.where(left < self._ttl, -left, -np.inf)


def judged(demand: Demand, start: float, seconds: float) -> tuple[int, int]:
    """Return the rows, from and to, of the windows that begin at or after `start`.

    A last window that the log cuts short is left out: its budget was planned for a whole one.
    """
    later = [window for window in windows(demand, seconds) if window.start >= start]
    if len(later) > 1 and demand.at[-1] - later[-1].start < WHOLE * seconds:
        later.pop()
    return (later[0].begin, later[-1].end) if later else (len(demand), len(demand))


def ceiling(demand: Demand, start: float, seconds: float) -> float:
    """Return the share of judged requests whose key was asked for before: what an infinite cache would serve."""
    begin, end = judged(demand, start, seconds)
    first = np.full(demand.keys, len(demand), dtype=np.int64)
    first[demand.key[::-1]] = np.arange(len(demand))[::-1]
    later = np.arange(begin, end)
    return float((first[demand.key[later]] < later).mean()) if len(later) else 0.0


def pooled(played: Sequence[Played]) -> Played:
    """Return several replays of the same windows as one, window by window."""
    return Played(
        sum((one.hits for one in played), np.zeros_like(played[0].hits)),
        sum((one.requests for one in played), np.zeros_like(played[0].requests)),
        sum((one.prefills for one in played), np.zeros_like(played[0].prefills)),
        sum(one.useful for one in played),
        sum(one.misses_usd for one in played),
        sum(one.prefills_usd for one in played),
    )


def proven(
    demand: Demand, start: float, settings: WarmerSettings, usual: Scoring, rivals: Sequence[Scoring], seed: int
) -> Scoring:
    """Return the rival that leads the usual warmer most over all budgets, if its lower bound is above zero.

    Else the usual one, and also where the rival has fewer hits at any single budget: what wins much at one must not
    lose at another. A choice by the highest hit rate alone changes with every new day of a short log, and loses by it.
    """
    everyone = [usual, *rivals]
    contestants = {
        f"{place} {budget}": Contestant(one, budget)
        for place, one in enumerate(everyone)
        for budget in settings.budgets
    }
    played = play(demand, start, settings, contestants)
    series = [pooled([played[f"{place} {budget}"] for budget in settings.budgets]) for place in range(len(everyone))]
    # Bonferroni's share of the error for each rival: one of several leads by luck more often than one alone.
    leads = [lead(one, series[0], settings.alpha / max(len(rivals), 1), seed) for one in series]
    hits = [
        [int(played[f"{place} {budget}"].hits.sum()) for budget in settings.budgets] for place in range(len(everyone))
    ]
    able = [
        place for place in range(1, len(everyone))
        if leads[place][1] > 0 and all(mine >= his for mine, his in zip(hits[place], hits[0], strict=True))
    ]  # fmt: skip
    return everyone[max(able, key=lambda place: leads[place][0])] if able else usual


def lead(ours: Played, theirs: Played, alpha: float, seed: int, resamples: int = 2000) -> tuple[float, float, float]:
    """Return the difference in hits a request with its one-sided bounds, each of which errs with `alpha`.

    Paired, by a bootstrap over blocks of consecutive windows (Künsch 1989), for what is asked in one is asked in the
    next; the block is twice the cube root of the number of windows. Few blocks vary less in the bootstrap than they do:
    the percentiles are expanded to those of Student's t (Hesterberg 2015), and of under three windows nothing is known.
    """
    difference, requests = (ours.hits - theirs.hits).astype(np.float64), ours.requests
    w = len(difference)
    if not requests.sum():
        return 0.0, 0.0, 0.0
    mean = float(difference.sum() / requests.sum())
    if w < 3:
        return mean, -1.0, 1.0
    length = max(1, min(round(2 * w ** (1 / 3)), w // 4))
    blocks = w / length
    alpha = float(norm.cdf(-np.sqrt(blocks / (blocks - 1)) * t.ppf(1 - alpha, blocks - 1)))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, w, (resamples, -(-w // length)))
    drawn = ((starts[:, :, None] + np.arange(length)) % w).reshape(resamples, -1)[:, :w]
    means = difference[drawn].sum(axis=1) / np.maximum(requests[drawn].sum(axis=1), 1)
    low, high = np.quantile(means, [alpha, 1 - alpha])
    return mean, float(low), float(high)


def middle(demand: Demand, share: float) -> float:
    """Return the moment after which the later `share` of the time lies."""
    return float(demand.at[-1] - share * (demand.at[-1] - demand.at[0])) if len(demand) else 0.0
