"""A cache whose answers die, replayed over demand under several warmers at once."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from features.demand import Demand, windows
from features.demand_tally import Tally
from features.followups import FollowUps
from models.warmers.coming import Coming
from models.warmers.contest import Contestant, Played, Replay, Scoring
from models.warmers.settings import WarmerSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


WHOLE = 0.9
"""The share of a window after which it counts as a whole one."""


def play(
    demand: Demand, start: float, settings: WarmerSettings, contestants: Mapping[str, Contestant],
    share: Ints | None = None,
) -> dict[str, Played]:  # fmt: skip
    """Replay demand, with prefills in the windows of `judged`, and count those.

    An answer lives `ttl_seconds` from when it was fetched. A prefill is made when the held answer dies, or at the
    beginning of the window where none is held: a fresh one is never replaced. A window may spend the budget of all
    requests so far, and of as many to come as its predecessor had, less what was spent; what a window leaves over,
    later ones have. With a flush, its period takes the place of the window. Keys of one number in `share`, (k,), are
    served each other's answers.
    """
    table = FollowUps(settings.follow_after, settings.follow_within)
    caches = {name: Replay(demand, settings, one, share) for name, one in contestants.items()}
    follows = any(one.warmer is not None and one.warmer.follows for one in contestants.values())
    tally = Tally(demand.tenant, settings.window_seconds)
    expected = 0
    begin, end = judged(demand, start, settings.window_seconds)
    for window in windows(demand, settings.window_seconds):
        counted = begin <= window.begin and window.end <= end and window.start >= start
        for cache in caches.values():
            cache.begin(window)
            if counted:
                cache.warm(tally, window, expected)
                cache.follow(table, tally, window)
            cache.serve(window, counted=counted)
        expected = window.end - window.begin
        tally.add(demand, window)
        if follows:
            table.add(demand.key[window.begin : window.end], demand.at[window.begin : window.end])
    return {name: cache.told() for name, cache in caches.items()}


class Oracle(Scoring):
    """Knows when each key that was asked for before is asked for next, and fetches the soonest first."""

    def __init__(self, demand: Demand, settings: WarmerSettings) -> None:
        self._coming, self._ttl = Coming(demand), settings.ttl_seconds

    def score(self, tally: Tally, keys: Ints) -> Floats:
        """Return minus the seconds until the next request, (keys,), -inf where none comes in time."""
        wait = self._coming.wait(keys, tally.now)
        return np.where(wait < self._ttl, -wait, -np.inf)


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
