"""Units are dealt by a salted hash: exactly at the share in force, and never back."""

from datetime import UTC, datetime, timedelta

import pytest

from beastmode.arms import CHALLENGER, CHAMPION, Dealing, Step, steps
from beastmode.errors import StoreError
from beastmode.records import Request

START = datetime(2026, 1, 1, tzinfo=UTC)
RAMP = tuple(Step(START + timedelta(hours=i), share) for i, share in enumerate((0.05, 0.2, 0.5, 1.0)))


def test_the_share_at_a_moment_is_the_last_step_s() -> None:
    dealing = Dealing("salt", RAMP)
    moments = [START - timedelta(seconds=1), START, START + timedelta(minutes=59), START + timedelta(hours=1)]
    assert [dealing.share(at) for at in moments] == [0.0, 0.05, 0.05, 0.2]
    assert dealing.share(START + timedelta(days=9)) == 1.0


def test_a_share_that_rises_sends_no_unit_back() -> None:
    dealing = Dealing("salt", RAMP)
    units = [f"u{i}" for i in range(2000)]
    before: set[str] = set()
    for step in RAMP:
        now = {unit for unit in units if dealing.arm(unit, step.at)[0] == CHALLENGER}
        assert before <= now
        assert abs(len(now) / 2000 - step.share) < 4 * (step.share * (1 - step.share) / 2000) ** 0.5 + 1e-9
        before = now
    assert before == set(units)


def test_the_probability_is_that_of_the_arm_that_was_dealt() -> None:
    dealing = Dealing("salt", (Step(START, 0.25),))
    for i in range(50):
        arm, probability = dealing.arm(f"u{i}", START)
        assert probability == {CHALLENGER: 0.25, CHAMPION: 0.75}[arm]


def test_another_salt_deals_independently() -> None:
    one, two = (Dealing(salt, (Step(START, 0.5),)) for salt in ("a", "b"))
    both = sum(one.arm(f"u{i}", START)[0] == two.arm(f"u{i}", START)[0] for i in range(4000))
    assert abs(both / 4000 - 0.5) < 0.04


def test_the_unit_is_named_or_what_the_experiment_deals_by() -> None:
    request = Request.of("x", session_id="s", tenant="t", context={"user": "me"})
    found = [Dealing("a", (Step(START, 0.5),), unit).unit_of(request) for unit in ("session", "user", "tenant")]
    assert found == ["s", "me", "t"]
    assert Dealing("a", (Step(START, 0.5),)).unit_of(Request.of("x", session_id="s", unit="named")) == "named"
    alone = Request.of("x")
    assert Dealing("a", (Step(START, 0.5),)).unit_of(alone) == alone.request_id


@pytest.mark.parametrize(
    ("ramp", "word"),
    [
        ([], "needs steps"),
        ([["2026-01-01", 0.5]], "time zone"),
        ([["2026-01-01T00:00:00+00:00", 1.5]], "share in"),
        ([["2026-01-02T00:00:00+00:00", 0.5], ["2026-01-01T00:00:00+00:00", 0.6]], "goes back"),
        ([["2026-01-01T00:00:00+00:00", 0.5], ["2026-01-02T00:00:00+00:00", 0.4]], "goes back"),
        ([["soon", 0.5]], "no list of"),
    ],
)
def test_a_ramp_that_is_none_is_refused(ramp: list[tuple[str, float]], word: str) -> None:
    with pytest.raises(StoreError, match=word):
        Dealing("salt", steps(ramp))
