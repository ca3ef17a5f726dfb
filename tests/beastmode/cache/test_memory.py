"""The memory tier."""

import threading

import pytest

from beastmode.cache import Memory
from beastmode.errors import CacheError
from tests.beastmode.cache.test_entry import entry


def put(tier: Memory, name: str, size: int = 1000) -> list[bytes]:
    return [gone.key for gone in tier.put(entry("x" * size, key=name.encode()))]


def test_bytes_bound_it_and_what_was_not_used_for_longest_goes() -> None:
    tier = Memory(max_bytes=5000)
    for name in "abc":
        put(tier, name)
    tier.get(b"a")
    put(tier, "d")
    assert [name for name in "abcd" if tier.get(name.encode())] == ["a", "c", "d"]
    assert tier.bytes == sum(held.size for name in "acd" if (held := tier.get(name.encode()))) <= 5000


def test_only_what_was_used_is_handed_down() -> None:
    tier = Memory(max_bytes=3000)
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


def test_threads_keep_its_books_straight() -> None:
    tier = Memory(max_bytes=50_000)

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
    assert tier.bytes == sum(each.size for each in held) <= 50_000


def test_a_size_that_holds_nothing_is_refused() -> None:
    with pytest.raises(CacheError, match="max_bytes = 0"):
        Memory(0)
