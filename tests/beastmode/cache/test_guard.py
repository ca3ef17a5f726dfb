"""The circuit breaker of a tier."""

from typing import Any

import pytest

from beastmode.cache.guard import FIRST_SECONDS, Guard
from tests.beastmode.cache.parts import Dial


class Flaky:
    name = "flaky"

    def __init__(self) -> None:
        self.broken = False
        self.calls = 0

    def get(self, key: bytes) -> Any:
        self.calls += 1
        if self.broken:
            raise OSError("no such luck")
        return "entry"


def test_a_tier_that_fails_is_left_alone_ever_longer_and_tried_by_one_caller(
    dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    tier = Flaky()
    guard = Guard(tier, lambda: dial.steady)
    assert guard.call(tier.get, b"k", otherwise=None) == "entry"
    tier.broken = True
    for _ in range(10):
        assert guard.call(tier.get, b"k", otherwise=None) is None
    assert (tier.calls, guard.health.up, guard.health.failures) == (2, False, 1)
    dial.pass_(FIRST_SECONDS)
    for _ in range(10):
        guard.call(tier.get, b"k", otherwise=None)
    assert tier.calls == 3
    dial.pass_(FIRST_SECONDS)
    guard.call(tier.get, b"k", otherwise=None)
    assert tier.calls == 3
    tier.broken = False
    dial.pass_(FIRST_SECONDS)
    assert guard.call(tier.get, b"k", otherwise=None) == "entry"
    assert guard.health.up
    assert "OSError: no such luck" in str(guard.health.last_error)
    assert [("is down" in text, "is back" in text) for text in caplog.messages] == [(True, False), (False, True)]
