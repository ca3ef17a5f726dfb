"""Time that a clock set back cannot make young again."""

from pathlib import Path

import pytest

from beastmode.cache import Cache, CacheSettings, Memory, Sqlite
from beastmode.cache.clock import Clock
from tests.beastmode.cache.parts import Dial


def test_it_is_the_wall_s_time_where_nobody_sets_it(dial: Dial) -> None:
    clock = Clock(**dial.clocks())
    for seconds in (0.0, 1.0, 3600.0, 86_400.0 * 40):
        dial.pass_(seconds)
        assert clock.now() == dial.wall


def test_what_a_clock_set_back_lost_is_added(dial: Dial) -> None:
    clock = Clock(**dial.clocks())
    before = clock.now()
    dial.wall -= 3600
    dial.pass_(10)
    assert clock.now() == before + 10
    dial.pass_(5)
    assert clock.now() == before + 15


def test_a_clock_set_forward_is_believed_and_its_way_back_makes_nothing_young(dial: Dial) -> None:
    clock = Clock(**dial.clocks())
    start = clock.now()
    dial.wall += 1000
    assert clock.now() == start + 1000
    dial.wall -= 1000
    assert clock.now() == start + 1000


def test_what_was_added_is_forgotten_when_all_that_was_made_before_has_died(dial: Dial) -> None:
    clock = Clock(**dial.clocks(), forget_after=100)
    dial.wall -= 50
    assert clock.now() == dial.wall + 50
    dial.pass_(101)
    assert clock.now() == dial.wall


def test_a_thread_put_to_sleep_between_two_readings_is_no_jump() -> None:
    walls, steadies = iter([0.0, 1.0, 2.0, 8.0]), iter([0.0, 1.0, 1.0, 2.0, 7.0, 8.0, 8.0])
    clock = Clock(lambda: next(walls), lambda: next(steadies))
    assert [clock.now() for _ in range(3)] == [1.0, 2.0, 8.0]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_answer_that_lives_longer_than_the_settings_say_dies_in_time_under_a_clock_set_back(
    tmp_path: Path, dial: Dial, elsewhere: bool
) -> None:
    day, settings = 86_400.0, CacheSettings(ttl_seconds=60, jitter=0)
    caches = [Cache([Memory(), Sqlite(tmp_path / "c.sqlite")], settings, **dial.clocks()) for _ in range(2)]
    caches[elsewhere].put("q", "a", model="m", ttl_seconds=7 * day)
    dial.wall -= 5 * day
    served = []
    for number in range(1, 20):
        dial.pass_(day)
        if caches[0].get("q", model="m") is not None:
            served.append(number)
    assert served == [1, 2, 3, 4, 5, 6]
    for cache in caches:
        cache.close()
