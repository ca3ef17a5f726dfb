"""The memory tier."""

import threading

import pytest

from beastmode.cache import Memory
from beastmode.errors import CacheError
from beastmode.eviction import RULES
from tests.beastmode.cache.test_entry import entry


def put(tier: Memory, name: str, size: int = 1000) -> list[bytes]:
    return [gone.key for gone in tier.put(entry("x" * size, key=name.encode()))]


def test_bytes_bound_it_and_what_was_not_used_for_longest_goes() -> None:
    tier = Memory(max_bytes=5000, eviction="lru")
    for name in "abc":
        put(tier, name)
    tier.get(b"a")
    put(tier, "d")
    assert [name for name in "abcd" if tier.get(name.encode())] == ["a", "c", "d"]
    assert tier.bytes == sum(held.size for name in "acd" if (held := tier.get(name.encode()))) <= 5000


def test_an_answer_that_is_fetched_again_is_as_much_in_demand_as_before() -> None:
    tier = Memory(15_000, "gdsf")
    put(tier, "popular")
    for _ in range(20):
        tier.get(b"popular")
    put(tier, "popular", 900)
    for number in range(40):
        put(tier, str(number))
    assert tier.get(b"popular") is not None
    assert tier.get(b"0") is None
    assert tier.bytes == sum(entry("x" * size, key=b"1").size + RULES["gdsf"]().overhead
                             for size in (900, *[1000] * (len(tier) - 1)))  # fmt: skip


def test_only_what_was_used_is_handed_down() -> None:
    tier = Memory(max_bytes=3000, eviction="lru")
    put(tier, "a")
    put(tier, "b")
    tier.get(b"a")
    assert put(tier, "c", 2500) == [b"a"]


def test_one_that_is_larger_than_the_tier_is_not_held_and_its_former_self_is_gone() -> None:
    tier = Memory(max_bytes=3000)
    put(tier, "a")
    put(tier, "a", 9000)
    assert tier.get(b"a") is None
    assert tier.bytes == 0


@pytest.mark.parametrize("rule", RULES)
def test_threads_keep_its_books_straight(rule: str) -> None:
    tier = Memory(50_000, rule)

    def work(seed: int) -> None:
        for number in range(500):
            name = str((seed * 7 + number * 13) % 90)
            put(tier, name, 10 * (number % 100))
            tier.get(name.encode())
            if number % 5 == 0:
                tier.remove(name.encode())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [found for number in range(90) if (found := tier.get(str(number).encode()))]
    assert len(held) == len(tier)
    assert tier.bytes == sum(each.size + RULES[rule]().overhead for each in held) <= 50_000


def test_keys_that_come_once_do_not_drive_out_what_is_used() -> None:
    tier = Memory(max_bytes=15_000)
    for number in range(300):
        for name in ("often", "too"):
            if tier.get(name.encode()) is None:
                put(tier, name)
        put(tier, f"once {number}")
        put(tier, f"and once {number}")
    hits = [tier.get(name.encode()) is not None for name in ("often", "too")]
    assert all(hits)


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_remembers_counts_towards_the_size(rule: str) -> None:
    tier = Memory(20_000, rule)
    for number in range(60):
        put(tier, str(number), 600)
        tier.get(str(number % 5).encode())
    weight = entry("x" * 600, key=b"1").size + RULES[rule]().overhead
    assert len(tier) == 20_000 // weight
    assert tier.bytes == len(tier) * weight
    tier.close()
    assert tier.bytes == 0 == len(tier)


def test_a_rule_of_no_known_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(CacheError, match="'mru' is unknown; name one of lru, ghost_lfu"):
        Memory(1000, "mru")


def test_a_size_that_holds_nothing_is_refused() -> None:
    with pytest.raises(CacheError, match="max_bytes = 0"):
        Memory(0)
