"""The choice of an evictor: rhythms that only a learner sees, traffic that suits one rule, and nothing to learn."""

import numpy as np
import pytest

from models.evictors import EVICTORS
from models.evictors.choice import choose, compare
from models.evictors.replay import belady, replay
from models.evictors.settings import EvictorSettings, Past

SETTINGS = EvictorSettings()


def rhythms(n: int, seed: int) -> np.ndarray:
    """Sixty keys that come every 80 requests, among keys that come once: recency and counts rank the wrong way."""
    rng = np.random.default_rng(seed)
    keys = np.arange(n) + 1000
    for key in range(60):
        at = np.arange(key, n, 80)
        keys[at] = key
    noise = rng.random(n) < 0.2
    keys[noise] = n + 2000 + np.arange(int(noise.sum()))
    return np.unique(keys, return_inverse=True)[1]


def test_the_learned_evictor_sees_a_rhythm_that_least_recent_does_not():
    keys = rhythms(8000, 0)
    past = Past(keys, int(keys.max()) + 1, 40)
    told = compare(past, 4000, SETTINGS, 0, ["lru", "next_use"])
    assert told["lru"].hit_rate < 0.05
    assert told["next_use"].hit_rate > 0.25
    assert choose(Past(keys[:4000], past.keys, 40), SETTINGS, 0, ["lru", "next_use"]).name == "next_use"


def test_everybody_starts_from_the_contents_of_least_recent():
    keys = np.random.default_rng(1).zipf(1.2, 3000) % 400
    past = Past(keys, 400, 25)
    alone = replay(keys[:1500], EVICTORS["lru"](past, SETTINGS, 0).make(), 25)
    # The first request of a key that least recent holds is a hit for all.
    held = alone.held[-1]
    future = Past(np.append(keys[:1500], held), 400, 25)
    assert all(played.hits == 1 for played in compare(future, 1500, SETTINGS, 0).values())


@pytest.mark.parametrize("name", sorted(EVICTORS))
def test_an_evictor_gives_the_same_hits_for_the_same_seed_and_no_more_than_belady(name):
    keys = np.random.default_rng(2).zipf(1.2, 3000) % 500
    past = Past(keys, 500, 30)
    once, again = (compare(past, 1500, SETTINGS, 3, [name])[name] for _ in range(2))
    warm = replay(keys[:1500], EVICTORS["lru"](past, SETTINGS, 0).make(), 30).held
    assert once.hits == again.hits <= belady(keys[1500:], 30, warm).hits


def test_with_next_to_no_past_the_learned_evictor_is_least_recent():
    keys = np.array([1, 2, 3, 1, 2, 3, 4, 1, 2, 5, 1, 2])
    past = Past(keys, 6, 2)
    told = compare(past, 6, SETTINGS, 0, ["lru", "next_use"])
    assert told["lru"].hits == told["next_use"].hits


def test_the_best_fixed_rule_for_scans_is_not_least_recent():
    rng = np.random.default_rng(4)
    hot = rng.integers(0, 20, 6000)
    keys = np.where(np.arange(6000) % 100 < 60, np.arange(6000) + 20, hot)
    found = choose(Past(np.unique(keys, return_inverse=True)[1], 6020, 30), SETTINGS, 0)
    assert found.name != "lru"
    assert found.hit_rates[found.name] > found.hit_rates["lru"] + 0.05
