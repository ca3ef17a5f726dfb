"""A learned evictor: LightGBM predicts each key's next use in the background, and the rule evicts by its list."""

from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from beastmode.eviction import Ranked
from features.demand import Demand, Window, windows
from features.demand_tally import Tally
from models.evictors.rules import Prepared
from models.evictors.settings import EvictorSettings, Past

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST = 200
"""Examples below which nothing is learned: the rule is then least recently used."""


def train(past: Past, settings: EvictorSettings, seed: int) -> Prepared:
    """Learn the logarithm of the distance to the next use, in requests (as LRB does, Song et al. 2020, section 3).

    Time is counted in requests, so that a trace without a clock will do. None counts as farther than
    `settings.farthest` capacities, or a quarter of the past.
    """
    every = settings.every(past.capacity)
    seen, far = _examples(past, settings, every, seed)
    if len(far) < FEWEST:
        return Prepared(Ranked)
    known = {
        "objective": "regression", "num_leaves": settings.leaves, "learning_rate": settings.rate, "lambda_l2": 1.0,
        "min_data_in_leaf": 50, "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "seed": seed,
        "num_threads": 1, "deterministic": True, "verbose": -1,
    }  # fmt: skip
    booster = lgb.train(known, lgb.Dataset(seen, far), settings.rounds)
    return Prepared(Ranked, Background(booster, past, every), every)


class Background:
    """Follows demand from the end of the past, and gives the rule a new list whenever it is called."""

    def __init__(self, booster: lgb.Booster, past: Past, every: int) -> None:
        self._booster = booster
        self._tally = Tally(np.zeros(past.keys, dtype=np.int64), float(every), clock=False)
        self._clock = 0
        for start in range(0, len(past.key) - every + 1, every):
            self._count(past.key[start : start + every])

    def __call__(self, rule: Any, keys: Ints) -> None:
        """Count the keys that were asked for, and rank what is held."""
        if len(keys):
            self._count(keys)
        rule.load(self.ranked(np.array(rule.held(), dtype=np.int64)).tolist())

    def ranked(self, held: Ints) -> Ints:
        """Return the held keys that were ever counted, the farthest next use first."""
        known = held[self._tally.total[held] > 0]
        if not len(known):
            return known
        far = self._booster.predict(self._tally.features(known), num_threads=1)
        return known[np.argsort(-np.asarray(far), kind="stable")]

    def _count(self, keys: Ints) -> None:
        at = self._clock + np.arange(len(keys), dtype=np.float64)
        tally = self._tally
        demand = Demand(keys, at, np.zeros(len(tally.total), dtype=np.int64), np.ones(len(tally.total)))
        tally.add(demand, Window(float(self._clock), 0, len(keys)))
        self._clock += len(keys)


def _examples(past: Past, settings: EvictorSettings, every: int, seed: int) -> tuple[NDArray[np.float32], Floats]:
    """Return what was seen of keys at the end of windows, (rows, features), and the log distance to their next use."""
    demand = Demand(
        past.key, np.arange(len(past.key), dtype=np.float64), np.zeros(past.keys, np.int64), np.ones(past.keys)
    )
    rng = np.random.default_rng(seed)
    n = len(past.key)
    # Requests by key and then time in one number, so that a next use is one binary search.
    uses = np.sort(past.key * (n + 1) + np.arange(n))
    tally = Tally(demand.tenant, float(every), clock=False)
    most = int(settings.wide * past.capacity)
    # With no moment nearer to the end than what counts as far, every label is known. Labels that the end cuts short
    # would be far ones just where ages and totals are highest, and trees would learn that.
    farthest = min(settings.farthest * past.capacity, n / 4)
    seen, far = [], []
    for window in windows(demand, float(every)):
        tally.add(demand, window)
        if window.end < n / 5 or window.end > n - farthest:  # a young tally tells little
            continue
        keys = tally.latest(most)
        if len(keys) > settings.rows:
            keys = rng.choice(keys, settings.rows, replace=False)
        place = np.searchsorted(uses, keys * (n + 1) + window.end)
        following = uses[np.minimum(place, n - 1)]
        comes = (place < n) & (following // (n + 1) == keys)
        distance = np.where(comes, following % (n + 1) - window.end, n)
        seen.append(tally.features(keys))
        far.append(np.log1p(np.minimum(distance, farthest)))
    if not seen:
        return np.zeros((0, 0), dtype=np.float32), np.zeros(0)
    return np.concatenate(seen), np.concatenate(far)
