"""A tournament of warmers: the cache is replayed under each, and the learned one must beat the best heuristic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.returning import Requests, Warmer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RESAMPLES = 2000
ORACLE, NONE = "oracle", "none"


@dataclass(frozen=True, slots=True)
class Played:
    """A cache that was warmed at the beginning of each window, replayed over `w` windows."""

    hits: Ints
    """(w,)"""
    requests: Ints
    """(w,)"""
    prefills: Ints
    """(w,)"""
    useful: int
    """Prefills that served a request which would have been a miss."""

    @property
    def hit_rate(self) -> float:
        """Hits a request."""
        return float(self.hits.sum() / max(self.requests.sum(), 1))

    @property
    def spent(self) -> float:
        """Prefills a request."""
        return float(self.prefills.sum() / max(self.requests.sum(), 1))


@dataclass(frozen=True, slots=True)
class Lead:
    """The learned warmer less the best heuristic, in hits a request."""

    difference: float
    low: float
    """The lower bound; the learned warmer is promoted where it is above zero."""
    high: float
    windows: int


def windows_of(requests: Requests, window: float) -> list[float]:
    """Return the beginnings of all whole windows but the first, aligned to the clock."""
    if not len(requests.at):
        return []
    first = np.ceil(requests.at[0] / window) * window
    return [float(start) for start in np.arange(first, requests.at[-1] - window + 1e-9, window)]


def scored(warmer: Warmer, requests: Requests, windows: Sequence[float]) -> list[Floats]:
    """Return the warmer's scores at the beginning of each window, from what was there before it."""
    return [warmer.scores(requests.until(start), start) for start in windows]


def oracle(requests: Requests, windows: Sequence[float], window: float) -> list[Floats]:
    """Return the scores of who knows which keys, of those ever asked for, are asked for in each window."""
    known = []
    for start in windows:
        seen = np.bincount(requests.until(start).key, minlength=requests.k) > 0
        known.append(np.where(seen, requests.within(start, start + window), 0).astype(np.float64))
    return known


def play(
    requests: Requests,
    windows: Sequence[float],
    window: float,
    scores: Sequence[Floats] | None,
    budget: float,
    ttl: float,
) -> Played:
    """Replay the windows with prefills of the highest scores, `budget` a request of the windows before it.

    An answer lives `ttl` seconds from when it was fetched, by a miss or ahead. Keys that are held for the whole window
    anyway are passed over, and a key without a positive score is never fetched. All but the prefills is the same
    for every `scores`, so that two replays are paired.
    """
    dies, ahead = np.full(requests.k, -np.inf), np.full(requests.k, -np.inf)
    before = requests.until(windows[0])
    for key, at in zip(before.key.tolist(), before.at.tolist(), strict=True):
        if at >= dies[key]:
            dies[key] = at + ttl
    hits, count, prefills = (np.zeros(len(windows), np.int64) for _ in range(3))
    useful, credit = 0, 0.0
    rate = len(before.at) / max((windows[0] - before.at[0]) / window, 1.0) if len(before.at) else 0.0
    for w, start in enumerate(windows):
        end = start + window
        if scores is not None:
            credit += budget * rate
            chosen = _chosen(scores[w], dies, min(end, start + ttl), int(credit))
            credit = min(credit - len(chosen), budget * rate * 2)
            # Until then the old answer would have served.
            ahead[chosen] = np.maximum(dies[chosen], start)
            dies[chosen] = start + ttl
            prefills[w] = len(chosen)
        low, high = np.searchsorted(requests.at, [start, end])
        count[w] = high - low
        hit, used = _serve(requests.key[low:high].tolist(), requests.at[low:high].tolist(), dies, ahead, ttl)
        hits[w] = hit
        useful += used
        rate += (count[w] - rate) / 10
    return Played(hits, count, prefills, useful)


def lead(learned: Played, heuristic: Played, alpha: float, seed: int) -> Lead:
    """Compare two replays of the same windows by a bootstrap over days' worth of consecutive windows.

    Blocks of consecutive windows are drawn (Künsch 1989), for what is asked in one window is asked in the next; the
    bounds are one-sided, each errs with `alpha`.
    """
    rng = np.random.default_rng(seed)
    difference, requests = (learned.hits - heuristic.hits).astype(np.float64), learned.requests
    w = len(difference)
    length = max(min(round(w ** (1 / 3)) * 2, w // 4), 1)
    starts = rng.integers(0, w, (RESAMPLES, -(-w // length)))
    drawn = ((starts[:, :, None] + np.arange(length)) % w).reshape(RESAMPLES, -1)[:, :w]
    means = difference[drawn].sum(axis=1) / np.maximum(requests[drawn].sum(axis=1), 1)
    low, high = np.quantile(means, [alpha, 1 - alpha])
    return Lead(float(difference.sum() / max(requests.sum(), 1)), float(low), float(high), w)


def ceiling(requests: Requests, windows: Sequence[float], window: float) -> float:
    """Return the share of requests whose key was asked for before: no warmer can serve more."""
    first = np.full(requests.k, np.inf)
    first[requests.key[::-1]] = requests.at[::-1]
    low, high = np.searchsorted(requests.at, [windows[0], windows[-1] + window])
    return float((requests.at[low:high] > first[requests.key[low:high]]).mean()) if high > low else 0.0


def best(played: Mapping[str, Played]) -> str:
    """Return the name of the highest hit rate; equal ones are settled by the order."""
    return max(played, key=lambda name: played[name].hit_rate)


def _chosen(scores: Floats, dies: Floats, end: float, most: int) -> Ints:
    """Return the keys to fetch: the highest positive scores among those not held until `end`."""
    open_ = np.flatnonzero((scores > 0) & (dies < end))
    ranked = open_[np.lexsort((open_, -scores[open_]))]
    return ranked[:most]


def _serve(keys: list[int], at: list[float], dies: Floats, ahead: Floats, ttl: float) -> tuple[int, int]:
    """Serve a window's requests; return hits, and how many prefills served what would have been a miss."""
    hits = useful = 0
    for key, moment in zip(keys, at, strict=True):
        if moment < dies[key]:
            hits += 1
            if ahead[key] > -np.inf and moment >= ahead[key]:
                useful += 1
                ahead[key] = -np.inf
        else:
            dies[key] = moment + ttl
            ahead[key] = -np.inf
    return hits, useful
