"""Tuning a cache by replay: the replay against the real cache's rules, and choices whose best is known."""

from collections import OrderedDict

import numpy as np
import pytest

from models.cache_tuning import GIGABYTE, SMALLEST, Choice, Demand, Prices, best, replay

HOUR = 3600.0


def demand(seed: int = 0, n: int = 3000, k: int = 60, hours: float = 240.0, weight: float = 500.0) -> Demand:
    rng = np.random.default_rng(seed)
    key = rng.choice(k, n, p=(p := 1 / np.arange(1, k + 1)) / p.sum())
    return Demand(key, np.sort(rng.uniform(0, hours * HOUR, n)), np.full(k, 0.01), np.full(k, weight))


def test_an_answer_serves_for_its_time_to_live_and_no_longer():
    known = Demand(np.zeros(4, np.int64), np.array([0.0, 50.0, 99.0, 101.0]), np.array([2.0]), np.array([1.0]))
    found = replay(known, Choice(100.0, "sqlite", 10), Prices(), 0)
    assert (found.requests, found.hits, found.saved_usd) == (4, 2, 4.0)


@pytest.mark.parametrize("room", [3, 7, 20])
def test_the_least_recently_used_goes_first(room):
    known = demand(room)
    found = replay(known, Choice(1e12, "sqlite", int(room * 500)), Prices(), 0)
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in known.key.tolist():
        hits += key in cache
        cache[key] = None
        cache.move_to_end(key)
        if len(cache) > room:
            cache.popitem(last=False)
    assert found.hits == hits


def test_hits_that_are_no_longer_true_are_counted_by_their_age():
    at = np.array([0.0, HOUR, 2 * HOUR])
    known = Demand(np.zeros(3, np.int64), at, np.array([1.0]), np.array([1.0]))
    found = replay(known, Choice(1e9, "sqlite", 10), Prices(half_life_seconds=HOUR, wrong_usd=4.0), 0)
    assert found.wrong == pytest.approx(0.5 + 0.75)
    assert found.net_usd == pytest.approx(2.0 - 4 * 1.25, abs=1e-6)


def test_memories_of_several_processes_lose_what_a_shared_tier_keeps():
    known = demand()
    prices = Prices(workers=4)
    alone = replay(known, Choice(1e9, "memory", SMALLEST), prices, 0)
    shared = replay(known, Choice(1e9, "sqlite", SMALLEST), prices, 0)
    assert alone.hits < shared.hits
    choice, _ = best(known, prices, Choice(HOUR, "memory", SMALLEST), 15, 0)
    assert choice.tier == "sqlite"


def test_answers_that_stay_true_live_long_and_those_that_turn_costly_do_not():
    known = demand()
    default = Choice(HOUR, "sqlite", SMALLEST)
    lasting = Prices(half_life_seconds=1e5 * HOUR, wrong_usd=0.001)
    forever, tried = best(known, lasting, default, 25, 1)
    assert forever.ttl_seconds > 20 * HOUR
    assert len(tried) == 25
    careful = Prices(half_life_seconds=2 * HOUR, wrong_usd=0.1)
    short, _ = best(known, careful, default, 25, 1)
    # A hit saves .01 and a wrong one costs ten times that: from an age of about .3 h on it loses.
    assert short.ttl_seconds < HOUR
    assert replay(known, short, careful, 1).net_usd >= replay(known, default, careful, 1).net_usd


@pytest.mark.parametrize("prices", [Prices(), Prices(half_life_seconds=HOUR), Prices(wrong_usd=1.0)])
def test_where_nothing_is_known_of_going_stale_the_time_to_live_stays(prices):
    choice, _ = best(demand(n=300), prices, Choice(HOUR, "sqlite", SMALLEST), 5, 0)
    assert choice.ttl_seconds == pytest.approx(HOUR)


def test_the_size_is_no_larger_than_what_it_holds_is_worth():
    known = demand(weight=GIGABYTE / 60)
    dear = Prices(disk_gigabyte_month_usd=50.0, memory_gigabyte_month_usd=60.0)
    large = replay(known, Choice(1e9, "sqlite", int(GIGABYTE)), dear, 0)
    choice, _ = best(known, dear, Choice(1e9, "sqlite", int(GIGABYTE)), 30, 0)
    assert choice.max_bytes < GIGABYTE
    assert replay(known, choice, dear, 0).net_usd > large.net_usd


def test_the_past_chooses_and_the_later_part_judges():
    known = demand()
    past, later = known.split(0.3)
    assert (len(past.key), len(later.key)) == (2100, 900)
    assert past.at[-1] <= later.at[0]
