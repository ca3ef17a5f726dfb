"""The learned evictor: LightGBM predicts how far away each key's next use is, and learns anew as time passes."""

from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from beastmode.eviction import NextUse
from beastmode.eviction.uses import Uses
from beastmode.forest import Forest
from models.evictors.settings import EvictorSettings, Past

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST = 200
"""Examples below which nothing is learned: the rule is then least recently used."""


def train(past: Past, settings: EvictorSettings, seed: int) -> str | None:
    """Learn the logarithm of the distance to the next use, in requests (as LRB does, Song et al. 2020, section 3).

    None counts as farther than `settings.farthest` capacities, or a quarter of the past. Returns LightGBM's text, or
    None where there is too little to learn from.
    """
    seen, far = _examples(past, settings, seed)
    if len(far) < FEWEST:
        return None
    known = {
        "objective": "regression", "num_leaves": settings.leaves, "learning_rate": settings.rate, "lambda_l2": 1.0,
        "min_data_in_leaf": 50, "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "seed": seed,
        "num_threads": 1, "deterministic": True, "verbose": -1,
    }  # fmt: skip
    return str(lgb.train(known, lgb.Dataset(seen, far), settings.rounds).model_to_string())


class Learner:
    """Follows a cache's requests, and teaches its rule anew whenever there is half as much again to learn from."""

    def __init__(self, rule: NextUse[Any], capacity: int, settings: EvictorSettings, seed: int) -> None:
        self._rule = rule
        self._capacity = capacity
        self._settings = settings
        self._seed = seed
        self._keys: list[Ints] = []
        self._count = 0
        self._due = 4.0 * capacity

    def __call__(self, keys: Ints) -> None:
        """Take the requests since the last call."""
        self._keys.append(keys)
        self._count += len(keys)
        if self._count >= self._due:
            self.teach()

    def teach(self) -> None:
        """Learn from all requests so far."""
        self._due = self._settings.growth * self._count
        if not self._keys:
            return
        text = train(Past(np.concatenate(self._keys), self._capacity), self._settings, self._seed)
        if text is not None:
            self._rule.learn(Forest.parse(text))


def _examples(past: Past, settings: EvictorSettings, seed: int) -> tuple[NDArray[np.float32], Floats]:
    """Return what was known of keys at moments of the past, (rows, columns), and the log distance to their next use."""
    rng = np.random.default_rng(seed)
    n = len(past.key)
    # Requests by key and then time in one number, so that a next use is one binary search.
    uses = np.sort(past.key * (n + 1) + np.arange(n))
    known = Uses(float(past.capacity))
    # With no moment nearer to the end than what counts as far, every label is known. Labels that the end cuts short
    # would be far ones just where ages and totals are highest, and trees would learn that. A young log tells little.
    farthest = min(settings.farthest * past.capacity, n / 4)
    moments = np.unique(np.linspace(n / 5, n - farthest, settings.moments).astype(np.int64))
    order: list[int] = []  # the key at each place
    there: set[int] = set()
    seen, far, begin = [], [], 0
    for moment in moments.tolist():
        block = past.key[begin:moment].tolist()
        known.add(block)
        begin = moment
        for key in block:
            if key not in there:
                there.add(key)
                order.append(key)
        place = known.latest(int(settings.wide * past.capacity))
        if len(place) > settings.rows:
            place = rng.choice(place, settings.rows, replace=False)
        keys = np.array(order, dtype=np.int64)[place]
        found = np.searchsorted(uses, keys * (n + 1) + moment)
        following = uses[np.minimum(found, n - 1)]
        comes = (found < n) & (following // (n + 1) == keys)
        distance = np.where(comes, following % (n + 1) - moment, n)
        seen.append(known.features(place))
        far.append(np.log1p(np.minimum(distance, farthest)))
    if not seen:
        return np.zeros((0, 0), dtype=np.float32), np.zeros(0)
    return np.concatenate(seen), np.concatenate(far)
