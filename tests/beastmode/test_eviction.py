"""Eviction rules: against literal re-implementations, on streams that also remove keys, and inside the memory tier."""

import random

import numpy as np
import pytest

from beastmode.cache import Memory
from beastmode.eviction import FIXED, RULES, Adaptive, Gdsf, GhostLfu, LeastRecent, NextUse, S3Fifo, Sieve
from beastmode.eviction.counts import GHOSTS
from beastmode.eviction.uses import NAMES, Uses
from models.evictors.replay import replay
from tests.beastmode.cache.test_entry import entry


class PlainLru:
    def __init__(self):
        self.queue = []

    def hit(self, key):
        self.queue.remove(key)
        self.queue.append(key)

    def insert(self, key, size, cost):
        self.queue.append(key)

    def evict(self):
        return self.queue.pop(0)

    def remove(self, key):
        self.queue.remove(key)


class PlainSieve:
    """Algorithm 1 of the paper on a list, newest first, with the hand as a place in it."""

    def __init__(self):
        self.queue, self.used, self.hand = [], {}, None

    def hit(self, key):
        self.used[key] = True

    def insert(self, key, size, cost):
        self.queue.insert(0, key)
        self.used[key] = False

    def evict(self):
        at = self.queue.index(self.hand) if self.hand in self.queue else len(self.queue) - 1
        while self.used[self.queue[at]]:
            self.used[self.queue[at]] = False
            at = at - 1 if at > 0 else len(self.queue) - 1
        key = self.queue.pop(at)
        self.hand = self.queue[at - 1] if at > 0 else None
        return key

    def remove(self, key):
        at = self.queue.index(key)
        if self.hand == key:
            self.hand = self.queue[at - 1] if at > 0 else None
        self.queue.pop(at)


class PlainS3:
    """Algorithm 1 of the paper on lists, oldest first."""

    def __init__(self):
        self.small, self.main, self.ghosts, self.uses = [], [], [], {}

    def hit(self, key):
        self.uses[key] = min(self.uses[key] + 1, 3)

    def insert(self, key, size, cost):
        if key in self.ghosts:
            self.ghosts.remove(key)
            self.main.append(key)
        else:
            self.small.append(key)
        self.uses[key] = 0

    def evict(self):
        held = len(self.small) + len(self.main)
        while self.small and (len(self.small) > 0.1 * held or not self.main):
            key = self.small.pop(0)
            if self.uses[key] > 1:
                self.main.append(key)
                self.uses[key] = 0
            else:
                self.ghosts.append(key)
                self.ghosts = self.ghosts[-held:]
                return key
        while True:
            key = self.main.pop(0)
            if self.uses[key] == 0:
                return key
            self.uses[key] -= 1
            self.main.append(key)

    def remove(self, key):
        (self.small if key in self.small else self.main).remove(key)


class PlainLfu:
    """Every count for ever; the smallest goes, the one that was counted up longest ago of equals."""

    def __init__(self):
        self.uses, self.when, self.held, self.tick = {}, {}, set(), 0

    def _count(self, key):
        self.tick += 1
        self.uses[key] = self.uses.get(key, 0) + 1
        self.when[key] = self.tick

    def hit(self, key):
        self._count(key)

    def insert(self, key, size, cost):
        self.held.add(key)
        self._count(key)

    def evict(self):
        key = min(self.held, key=lambda k: (self.uses[k], self.when[k]))
        self.held.remove(key)
        return key

    def remove(self, key):
        self.held.remove(key)


class PlainGdsf:
    def __init__(self):
        self.h, self.uses, self.worth, self.when, self.age, self.tick = {}, {}, {}, {}, 0.0, 0

    def _set(self, key):
        self.tick += 1
        self.when[key] = self.tick
        self.h[key] = self.age + self.uses[key] * self.worth[key]

    def hit(self, key):
        self.uses[key] += 1
        self._set(key)

    def insert(self, key, size, cost):
        self.uses[key], self.worth[key] = 1, cost / size
        self._set(key)

    def evict(self):
        key = min(self.h, key=lambda k: (self.h[k], self.when[k]))
        self.age = self.h.pop(key)
        return key

    def remove(self, key):
        del self.h[key]


PAIRS = {"sieve": (Sieve, PlainSieve), "s3_fifo": (S3Fifo, PlainS3), "gdsf": (Gdsf, PlainGdsf),
         "ghost_lfu": (GhostLfu, PlainLfu), "lru": (LeastRecent, PlainLru), "next_use_untaught": (NextUse, PlainLru),
         "vote_of_one": (lambda: Adaptive({"sieve": Sieve()}), PlainSieve)}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("seed", range(6))
def test_a_rule_evicts_what_its_literal_twin_evicts(name, seed):
    ours, plain = PAIRS[name][0](), PAIRS[name][1]()
    rng = random.Random(seed)
    capacity, keys = rng.choice([3, 10, 25]), 40
    if name == "ghost_lfu":
        keys = capacity * 2 + 6  # so few that no ghost has to be forgotten
    held, evicted = set(), 0
    for _ in range(3000):
        key = min(int(rng.expovariate(4 / keys)), keys - 1)
        if held and rng.random() < 0.02:
            gone = rng.choice(sorted(held))
            held.remove(gone)
            ours.remove(gone), plain.remove(gone)
        if key in held:
            ours.hit(key), plain.hit(key)
            continue
        if len(held) == capacity:
            one, other = ours.evict(), plain.evict()
            assert one == other
            held.remove(one)
            evicted += 1
        held.add(key)
        size, cost = 1 + key % 7, 1.0 + key % 3
        ours.insert(key, size, cost), plain.insert(key, size, cost)
    assert evicted > 100


EVERY = [*RULES.values(), NextUse]


@pytest.mark.parametrize("rule", EVERY)
def test_what_is_removed_is_never_evicted_and_removing_twice_is_harmless(rule):
    made = rule()
    for key in range(5):
        made.insert(key, 1, 1.0)
    made.hit(2), made.remove(2), made.remove(2), made.remove(99)
    assert sorted(made.evict() for _ in range(4)) == [0, 1, 3, 4]


@pytest.mark.parametrize("rule", EVERY)
def test_what_a_rule_remembers_stays_bounded(rule):
    made, capacity = rule(), 20
    for key in range(5000):
        if key >= capacity:
            made.evict()
        made.insert(key, 1, 1.0)
        made.hit(key)
    parts = [made, *(getattr(made, "rules", {}).values())]
    sizes = [len(part) for each in parts for part in vars(each).values() if hasattr(part, "__len__")]
    sizes += [len(each._heap._pairs) for each in parts if hasattr(each, "_heap")]
    assert max(sizes) <= max(64 + (GHOSTS + 2) * (capacity + 1), 8 * 512)
    assert not hasattr(made, "uses") or len(made.uses) <= 4 * (capacity + 1024) + 8 * 512


class Table:
    """Says of each key what it was told, for features whose first column is the logarithm of the age."""

    def __init__(self, far):
        self.far = far

    def predict(self, rows):
        return np.array([[self.far(*row)] for row in rows])


def test_the_learned_rule_evicts_by_what_it_predicts_and_spares_what_was_used_since():
    rule = NextUse(Table(lambda *row: -row[NAMES.index("uses")]), pace=40.0)
    for key in range(40):
        for turn in range(1 + (key * 7) % 40):  # as often as no other
            rule.hit(key) if turn else rule.insert(key, 1, 1.0)
    by_use = sorted(range(40), key=lambda key: (key * 7) % 40)
    assert [rule.evict() for _ in range(3)] == by_use[:3]
    rule.hit(by_use[3])
    assert [rule.evict() for _ in range(3)] == by_use[4:7]
    for _ in range(4):
        rule.hit(by_use[3])  # five uses: time for a new list, on which it is used more often than the next ones
    assert rule.evict() == by_use[7]


def test_uses_are_told_as_a_plain_count_tells_them():
    rng, uses, log = random.Random(0), Uses(pace=5.0), []
    for _ in range(40):
        block = [rng.randrange(12) for _ in range(rng.randrange(1, 30))]
        uses.add(block)
        log += block
    assert uses.clock == len(log)
    row = dict(zip(NAMES, np.exp(uses.features(uses.places([3]))[0].astype(float)), strict=True))
    at = [number for number, key in enumerate(log) if key == 3]
    gaps = np.diff(at)[::-1] / 5.0
    assert row["age"] == pytest.approx((len(log) - at[-1]) / 5.0 + 1e-3, rel=1e-4)
    assert [row[f"gap_{i + 1}"] for i in range(6)] == pytest.approx((gaps[:6] + 1e-3).tolist(), rel=1e-4)
    for half in (0.25, 1.0, 4.0, 16.0):
        expected = sum(0.5 ** ((len(log) - when) / 5.0 / half) for when in at)
        assert row[f"count_{half:g}"] == pytest.approx(expected + 1e-3, rel=1e-4)
    assert row["uses"] == pytest.approx(len(at), rel=1e-4)
    assert row["life"] == pytest.approx((len(log) - at[0]) / 5.0, rel=1e-4)
    assert row["gap_longest"] == pytest.approx(gaps[:6].max() + 1e-3, rel=1e-4)
    assert row["gap_shortest"] == pytest.approx(gaps[:6].min() + 1e-3, rel=1e-4)


def test_what_is_forgotten_is_what_was_used_longest_ago_and_the_rest_is_as_before():
    uses = Uses(pace=2.0)
    uses.add(list(range(3000)))
    before = uses.features(uses.places([2999]))
    uses.forget(10)
    assert len(uses) == 10
    assert uses.places([2989, 2990, 2999])[0] == -1
    np.testing.assert_array_equal(uses.features(uses.places([2999])), before)
    uses.add(list(range(3000)))
    assert len(uses) == 3000


def drive(rule, keys, capacity):
    held, hits = set(), 0
    for key in keys:
        if key in held:
            hits += 1
            rule.hit(key)
            continue
        if len(held) >= capacity:
            held.remove(rule.evict())
        held.add(key)
        rule.insert(key, 1, 1.0)
    return hits


def test_a_vote_gives_its_weight_to_the_rule_that_misses_least_and_takes_it_back():
    rng = random.Random(1)
    often = [rng.randrange(15) if rng.random() < 0.4 else 10_000 + n for n in range(6000)]
    recent = [20_000 + n // 3 - rng.randrange(8) for n in range(6000)]
    rules = {"lru": LeastRecent(), "ghost_lfu": GhostLfu()}
    vote = Adaptive(rules)
    drive(vote, often, 20)
    assert vote.weights["ghost_lfu"] > 0.9
    drive_on = Adaptive({"lru": LeastRecent(), "ghost_lfu": GhostLfu()})
    hits = drive(drive_on, often + recent, 20)
    assert drive_on.weights["lru"] > 0.9
    assert sum(drive_on.weights.values()) == pytest.approx(1.0)
    alone = [drive(rule(), often + recent, 20) for rule in (LeastRecent, GhostLfu)]
    assert hits > max(alone)


@pytest.mark.parametrize("seed", range(3))
def test_a_vote_keeps_its_books_straight_whatever_the_sizes(seed):
    rng, vote, held = random.Random(seed), RULES["adaptive"](), {}
    for _ in range(4000):
        key = min(int(rng.expovariate(0.05)), 80)
        if rng.random() < 0.03 and held:
            gone = rng.choice(sorted(held))
            del held[gone]
            vote.remove(gone)
        if key in held:
            vote.hit(key)
            continue
        size = 1 + (key * 7) % 13
        while sum(held.values()) + size > 100:
            del held[vote.evict()]
        held[key] = size
        vote.insert(key, size, 1.0)
        assert vote._held.keys() == held.keys()
    assert vote._bytes == sum(held.values()) <= 100
    for number, shadow in enumerate(vote._shadows):
        assert shadow.bytes == sum(shadow.held.values()) <= vote._room <= 100
        assert {
            key for key, (_, _, mask) in vote._held.items() if mask >> number & 1
        } == shadow.held.keys() & held.keys()
    assert sorted(key for group in vote._groups.values() for key in group) == sorted(held)
    assert sorted(vote.evict() for _ in range(len(held))) == sorted(held)


def test_costs_that_are_not_known_count_as_the_usual_one():
    rule = Gdsf()
    rule.insert("dear", 1, 9.0)
    rule.insert("cheap", 1, 1.0)
    rule.insert("unknown", 1, 0.0)
    assert [rule.evict() for _ in range(3)] == ["cheap", "unknown", "dear"]


@pytest.mark.parametrize("rule", EVERY)
def test_the_memory_tier_takes_every_rule(rule):
    memory = Memory(10_000, eviction=rule)
    for number in range(300):
        memory.put(entry("x" * 300, key=str(number % 90).encode()))
        memory.get(str(number % 7).encode())
        assert 0 < memory.bytes <= 10_000
    assert len(memory) == 10_000 // (rule().overhead + entry("x" * 300, key=b"1").size)


def test_a_small_cache_keeps_what_the_rules_that_win_keep_and_not_the_newest():
    rng = np.random.default_rng(0)
    keys = np.where(rng.random(6000) < 0.5, rng.integers(2, size=6000), 10 + np.arange(6000))
    rates = {name: replay(keys, make(), 3).hit_rate for name, make in FIXED.items()}
    vote = replay(keys, Adaptive({name: make() for name, make in FIXED.items()}), 3).hit_rate
    assert rates["ghost_lfu"] > rates["lru"] + 0.05
    assert vote > rates["ghost_lfu"] - 0.01
