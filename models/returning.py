"""Which keys come back in the next window: the heuristics' scores, and a learner that has them among its features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR = 3600.0
DECAYS_HOURS = (1.0, 6.0, 24.0, 48.0, 168.0)
GAPS = 3
ROWS = 400_000
"""The most rows that a learner takes: more windows add little, and time to every training."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests in time order over `k` keys."""

    key: Ints
    """(n,)"""
    at: Floats
    """(n,) Seconds since 1970, UTC."""
    tenant: Ints
    """(k,)"""

    @property
    def k(self) -> int:
        """How many keys there are."""
        return len(self.tenant)

    def until(self, now: float) -> "Requests":
        """Return the requests before a moment."""
        n = int(np.searchsorted(self.at, now))
        return Requests(self.key[:n], self.at[:n], self.tenant)

    def within(self, start: float, end: float) -> Ints:
        """Return how often each key is asked for in [start, end), (k,)."""
        low, high = np.searchsorted(self.at, [start, end])
        return np.bincount(self.key[low:high], minlength=self.k)


def last_window(past: Requests, now: float, window: float) -> Floats:
    """Score keys by how often they were asked for in the last window, then by how lately, (k,)."""
    return past.within(now - window, now) + 1e-6 / (1 + _age(past, now) / HOUR)


def ewma(past: Requests, now: float, window: float) -> Floats:
    """Score keys by their requests, each worth half as much every 48 hours, (k,)."""
    return _decayed(past, now, 48.0)


def lfu(past: Requests, now: float, window: float) -> Floats:
    """Score keys by how often they were ever asked for, (k,)."""
    return np.bincount(past.key, minlength=past.k).astype(np.float64)


Score = Callable[[Requests, float, float], Floats]
HEURISTICS: Mapping[str, Score] = {"last_window": last_window, "ewma": ewma, "lfu": lfu}
"""Each scores the keys at a moment from the requests before it; the highest are the likeliest to return."""


def features(past: Requests, now: float, window: float) -> Floats:
    """Return what a learner sees of every key at `now`, (k, features); never-asked keys have infinite ages."""
    age = _age(past, now)
    count = np.bincount(past.key, minlength=past.k).astype(np.float64)
    gaps = _gaps(past)
    mean_gap = np.where(count > 1, _span(past) / np.maximum(count - 1, 1), np.nan)
    # Requests of one second have no gap between them, and no age in gaps.
    in_gaps = age / np.where(mean_gap > 0, mean_gap, np.nan)
    hour, day = ((now + window / 2) // HOUR) % 24, ((now + window / 2) // (24 * HOUR)) % 7
    of_hour = np.abs((past.at // HOUR) % 24 - hour)
    near_hour = np.bincount(past.key, np.minimum(of_hour, 24 - of_hour) <= 1, past.k)
    same_day = np.bincount(past.key, (past.at // (24 * HOUR)) % 7 == day, past.k)
    a_day_ago = past.within(now - 24 * HOUR, now - 24 * HOUR + window)
    a_week_ago = past.within(now - 168 * HOUR, now - 168 * HOUR + window)
    tenant = np.bincount(past.tenant, past.within(now - 6 * HOUR, now))[past.tenant]
    columns = [
        age, count, mean_gap, in_gaps, near_hour / np.maximum(count, 1), same_day / np.maximum(count, 1),
        a_day_ago, a_week_ago, tenant, np.full(past.k, hour), *gaps.T, *(_decayed(past, now, h) for h in DECAYS_HOURS),
        *(score(past, now, window) for score in HEURISTICS.values()),
    ]  # fmt: skip
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


@dataclass(frozen=True, slots=True)
class Warmer:
    """A warmer by name, with the chance that each of its scores stands for."""

    name: str
    window: float
    """Seconds."""
    levels: Floats
    """(c,) Rising scores."""
    chances: Floats
    """(c,) P(asked for in the window) at each level; between two levels a straight line."""
    model: str | None = None
    """LightGBM's text, where it is learned."""

    def scores(self, past: Requests, now: float) -> Floats:
        """Return a score of every key, higher for those likelier to return, (k,); zero for keys never asked for."""
        if self.model is None:
            return HEURISTICS[self.name](past, now, self.window)
        seen = np.bincount(past.key, minlength=past.k) > 0
        found = np.zeros(past.k)
        if seen.any():
            booster = lightgbm.Booster(model_str=self.model)
            found[seen] = booster.predict(features(past, now, self.window)[seen], num_threads=1)
        return found

    def chance(self, past: Requests, now: float) -> Floats:
        """Return P(asked for in the window from `now`) of every key, (k,); zero for keys never asked for."""
        seen = np.bincount(past.key, minlength=past.k) > 0
        return np.where(seen, np.interp(self.scores(past, now), self.levels, self.chances), 0.0)


def train(name: str, requests: Requests, windows: Sequence[float], window: float, seed: int) -> Warmer:
    """Train a warmer on windows that begin at `windows` (rising), the last quarter of which calibrates its scores.

    Raises ValueError where there are under eight windows, or where no key ever returns.
    """
    if len(windows) < 8:
        raise ValueError(f"train {name!r}: {len(windows)} windows are too few to learn from; it takes 8")
    cut = len(windows) - len(windows) // 4
    plain = Warmer(name, window, np.zeros(1), np.zeros(1))
    model = None if name in HEURISTICS else _learn(requests, windows[:cut], window, seed)
    uncalibrated = Warmer(name, window, plain.levels, plain.chances, model)
    scores, returned = [], []
    for start in windows[cut:]:
        past = requests.until(start)
        seen = np.bincount(past.key, minlength=past.k) > 0
        scores.append(uncalibrated.scores(past, start)[seen])
        returned.append(requests.within(start, start + window)[seen] > 0)
    score, came = np.concatenate(scores), np.concatenate(returned).astype(np.float64)
    if not came.any():
        raise ValueError(f"train {name!r}: no key returned in {len(returned)} windows; there is nothing to warm")
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, came)
    return Warmer(name, window, fitted.X_thresholds_, fitted.y_thresholds_, model)


def _learn(requests: Requests, windows: Sequence[float], window: float, seed: int) -> str:
    """Return a LightGBM model of P(asked for in the window), as text."""
    rows, came = [], []
    room = ROWS
    # The latest windows first: they are nearest to what is to be predicted.
    for start in reversed(windows):
        past = requests.until(start)
        seen = np.flatnonzero(np.bincount(past.key, minlength=past.k) > 0)
        if len(seen) > room:
            break
        room -= len(seen)
        rows.append(features(past, start, window)[seen])
        came.append(requests.within(start, start + window)[seen] > 0)
    if not rows:
        raise ValueError(f"train: a single window has more than {ROWS:,} keys; shorten warming.history_days")
    x, y = np.concatenate(rows), np.concatenate(came).astype(np.float64)
    parameters = {
        "objective": "binary", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 40, "lambda_l2": 1.0,
        "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1, "seed": seed, "verbosity": -1,
        "num_threads": 1, "deterministic": True, "force_col_wise": True,
    }  # fmt: skip
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), num_boost_round=150)
    return str(booster.model_to_string())


def _age(past: Requests, now: float) -> Floats:
    last = np.full(past.k, -np.inf)
    last[past.key] = past.at  # in time order, so the last one stays
    return np.asarray(now - last)


def _span(past: Requests) -> Floats:
    first, last = np.full(past.k, np.nan), np.full(past.k, np.nan)
    first[past.key[::-1]] = past.at[::-1]
    last[past.key] = past.at
    return np.asarray(last - first)


def _gaps(past: Requests) -> Floats:
    """Return the last gaps between requests of each key, the latest first, (k, GAPS); NaN where there were fewer."""
    order = np.lexsort((past.at, past.key))
    key, at = past.key[order], past.at[order]
    gaps = np.full((past.k, GAPS), np.nan)
    end = np.searchsorted(key, np.arange(past.k), side="right")
    start = np.searchsorted(key, np.arange(past.k))
    for i in range(GAPS):
        there = end - start > i + 1
        gaps[there, i] = at[end[there] - 1 - i] - at[end[there] - 2 - i]
    return gaps


def _decayed(past: Requests, now: float, half_life_hours: float) -> Floats:
    weight = 0.5 ** ((now - past.at) / (half_life_hours * HOUR))
    return np.asarray(np.bincount(past.key, weight, past.k), dtype=np.float64)
