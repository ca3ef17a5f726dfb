"""The choice of an evictor: rhythms that only a learner sees, traffic that suits one rule, and nothing to learn."""

import math

import numpy as np
import pytest

from beastmode.eviction.voting import RATE, SHARE
from models.evictors import EVICTORS
from models.evictors.choice import compare, past_rates
from models.evictors.next_use import train
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
    told = compare(Past(keys, 40), 4000, SETTINGS, 0, ["lru", "next_use", "adaptive"])
    assert told["lru"].hit_rate < 0.05
    assert told["next_use"].hit_rate > 0.25
    assert told["adaptive"].hit_rate > told["next_use"].hit_rate - 0.03


def test_a_vote_turns_when_traffic_does_and_a_choice_by_the_past_cannot():
    rng = np.random.default_rng(4)
    n = 6000
    # A stable taste with scans between; then a walk through ever new keys, each asked for again within a moment.
    stable = np.where(np.arange(n) % 100 < 60, np.arange(n) + 1000, rng.integers(0, 20, n))
    walk = 100_000 + np.arange(n) // 3 - rng.integers(0, 24, n)
    keys = np.unique(np.concatenate([stable, walk]), return_inverse=True)[1]
    past = Past(keys[:n], 30)
    before = past_rates(past, SETTINGS, 0)
    told = compare(Past(keys, 30), n, SETTINGS, 0)
    fixed = [name for name in EVICTORS if name not in ("next_use", "adaptive")]
    preferred = max(fixed, key=lambda name: before[name])
    best = max(told[name].hit_rate for name in fixed)
    assert told[preferred].hit_rate < best - 0.05
    # To turn from the worst rule to the best takes so many misses at most, and then the contents have to change.
    assert told["adaptive"].hits > best * n - math.log(len(EVICTORS) / SHARE) / RATE - past.capacity
    assert before["adaptive"] > before["lru"] + 0.05


def test_everybody_starts_from_the_contents_of_least_recent():
    keys = np.random.default_rng(1).zipf(1.2, 3000) % 400
    alone = replay(keys[:1500], EVICTORS["lru"](25, SETTINGS, 0).rule, 25)
    # The first request of a key that least recent holds is a hit for all.
    future = Past(np.append(keys[:1500], alone.held[-1]), 25)
    assert all(played.hits == 1 for played in compare(future, 1500, SETTINGS, 0).values())


@pytest.mark.parametrize("name", sorted(EVICTORS))
def test_an_evictor_gives_the_same_hits_for_the_same_seed_and_no_more_than_belady(name):
    keys = np.random.default_rng(2).zipf(1.2, 3000) % 500
    past = Past(keys, 30)
    once, again = (compare(past, 1500, SETTINGS, 3, [name])[name] for _ in range(2))
    warm = replay(keys[:1500], EVICTORS["lru"](30, SETTINGS, 0).rule, 30).held
    assert once.hits == again.hits <= belady(keys[1500:], 30, warm).hits


def test_with_next_to_no_past_the_learned_evictor_is_least_recent():
    keys = np.array([1, 2, 3, 1, 2, 3, 4, 1, 2, 5, 1, 2])
    told = compare(Past(keys, 2), 6, SETTINGS, 0, ["lru", "next_use"])
    assert told["lru"].hits == told["next_use"].hits


def test_a_learner_knows_nothing_of_what_comes_after():
    keys = rhythms(6000, 1)
    other = np.concatenate([keys[:4000], keys[4000:][::-1]])
    assert train(Past(keys[:4000], 40), SETTINGS, 0) == train(Past(other[:4000], 40), SETTINGS, 0)
    seen = [compare(Past(each[:4001], 40), 4000, SETTINGS, 0, ["adaptive"])["adaptive"].held for each in (keys, other)]
    assert len(seen[0]) == len(seen[1]) == 40
    assert len(set(seen[0]) ^ set(seen[1])) <= 2  # the one request that differs
