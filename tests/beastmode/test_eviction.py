"""Eviction rules: against literal re-implementations, on streams that also remove keys, and inside the memory tier."""

import random

import pytest

from beastmode.cache import Memory
from beastmode.eviction import GHOSTS, Gdsf, GhostLfu, Ranked, S3Fifo, Sieve
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
         "ghost_lfu": (GhostLfu, PlainLfu), "ranked_without_a_list": (Ranked, PlainLru)}  # fmt: skip


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


@pytest.mark.parametrize("rule", [GhostLfu, Gdsf, Sieve, S3Fifo, Ranked])
def test_what_is_removed_is_never_evicted_and_removing_twice_is_harmless(rule):
    made = rule()
    for key in range(5):
        made.insert(key, 1, 1.0)
    made.hit(2), made.remove(2), made.remove(2), made.remove(99)
    assert sorted(made.evict() for _ in range(4)) == [0, 1, 3, 4]


@pytest.mark.parametrize("rule", [GhostLfu, Gdsf, Sieve, S3Fifo, Ranked])
def test_what_a_rule_remembers_stays_bounded(rule):
    made, capacity = rule(), 20
    for key in range(5000):
        if key >= capacity:
            made.evict()
        made.insert(key, 1, 1.0)
        made.hit(key)
    sizes = [len(part) for part in vars(made).values() if hasattr(part, "__len__")]
    heap = getattr(made, "_heap", None)
    sizes += [] if heap is None else [len(heap._pairs)]
    assert max(sizes) <= 64 + (GHOSTS + 2) * (capacity + 1)


def test_a_list_goes_first_and_what_was_used_since_is_spared():
    rule = Ranked()
    for key in "abcdef":
        rule.insert(key, 1, 1.0)
    rule.load(["e", "unknown", "c", "a"])
    rule.hit("e")
    assert [rule.evict() for _ in range(5)] == ["c", "a", "b", "d", "f"]


def test_costs_that_are_not_known_count_as_the_usual_one():
    rule = Gdsf()
    rule.insert("dear", 1, 9.0)
    rule.insert("cheap", 1, 1.0)
    rule.insert("unknown", 1, 0.0)
    assert [rule.evict() for _ in range(3)] == ["cheap", "unknown", "dear"]


@pytest.mark.parametrize("rule", [GhostLfu, Gdsf, Sieve, S3Fifo, Ranked])
def test_the_memory_tier_takes_every_rule(rule):
    memory = Memory(10_000, eviction=rule)
    for number in range(300):
        memory.put(entry("x" * 300, key=str(number % 90).encode()))
        memory.get(str(number % 7).encode())
        assert 0 < memory.bytes <= 10_000
    assert len(memory) == 10_000 // entry("x" * 300, key=b"1").size
