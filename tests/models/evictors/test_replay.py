"""Replays: Belady against brute force, rules against each other from the same contents, a list from a learner."""

import numpy as np
import pytest

from beastmode.eviction import RULES, GhostLfu, LeastRecent, NextUse, hand_over
from models.evictors.replay import belady, next_use, replay


def most_hits(keys: list[int], capacity: int, held: frozenset[int]) -> int:
    """The most hits of any choice of victims, by trying all of them."""
    if not keys:
        return 0
    first, rest = keys[0], keys[1:]
    if first in held:
        return 1 + most_hits(rest, capacity, held)
    if len(held) < capacity:
        return most_hits(rest, capacity, held | {first})
    return max(most_hits(rest, capacity, (held - {victim}) | {first}) for victim in held)


@pytest.mark.parametrize("seed", range(25))
def test_belady_has_the_most_hits_that_any_choice_of_victims_has(seed):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 5, 11)
    capacity = int(rng.integers(1, 4))
    held = list(range(int(rng.integers(0, capacity + 1))))
    assert belady(keys, capacity, held).hits == most_hits(keys.tolist(), capacity, frozenset(held))


def test_the_next_use_of_each_request_is_where_its_key_comes_again():
    assert next_use(np.array([3, 1, 3, 3, 2, 1])).tolist() == [2, 5, 3, 6, 6, 6]


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_no_rule_beats_belady_and_none_holds_more_than_it_may(rule):
    keys = np.random.default_rng(0).zipf(1.3, 4000) % 300
    played = replay(keys, rule(), 30)
    assert len(played.held) == 30
    assert played.hits <= belady(keys, 30).hits
    assert 0.3 < played.hit_rate < 1


def test_least_recent_is_replayed_as_by_hand():
    assert replay(np.array([1, 2, 1, 3, 2, 1, 1]), LeastRecent(), 2).hits == 2


def test_a_rule_that_is_handed_contents_holds_just_these():
    rule = GhostLfu()
    has = replay(np.array([1, 1, 1, 2, 3]), rule, 3).held
    hand_over(rule, has, [2, 7, 8])
    assert sorted(rule.evict() for _ in range(3)) == [2, 7, 8]


def test_what_was_remembered_before_contents_were_handed_over_stays():
    rule = GhostLfu()
    has = replay(np.array([1, 1, 1, 2, 3]), rule, 3).held
    hand_over(rule, has, [2, 1, 9])
    assert [rule.evict() for _ in range(3)][-1] == 1


def test_a_vote_that_is_handed_contents_holds_just_these_and_its_rules_go_on_from_there():
    rule = RULES["adaptive"]()
    has = replay(np.array([1, 1, 1, 2, 3]), rule, 3).held
    hand_over(rule, has, [2, 7, 8])
    assert replay(np.array([2, 7, 8]), rule, 3, [2, 7, 8]).hits == 3
    assert sorted(rule.evict() for _ in range(3)) == [2, 7, 8]


def test_being_handed_a_key_is_no_use_of_it():
    rule = NextUse(pace=3.0)
    hand_over(rule, replay(np.array([1, 1, 2]), rule, 3).held, [2, 7])
    replay(np.array([2]), rule, 3, [2, 7])
    assert [rule.evict(), rule.evict()] == [7, 2]
    assert rule.uses.clock == 4
    assert rule.uses.places([7]).tolist() == [-1]


def test_a_learner_is_told_of_all_requests_in_their_order():
    told = []
    replay(np.arange(1000) % 7, LeastRecent(), 4, watch=told.append)
    assert np.concatenate(told).tolist() == [number % 7 for number in range(1000)]
    assert len(told) > 1


def test_a_cache_of_nothing_is_refused():
    with pytest.raises(ValueError, match="must be at least 1"):
        replay(np.arange(3), LeastRecent(), 0)
