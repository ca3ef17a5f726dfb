"""A conversation stays where its prompt is cached, unless a switch is worth more."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from beastmode.candidates import Candidate, Price
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy, Greedy, Softmax
from beastmode.records import Request
from beastmode.router import Router
from beastmode.scorers import Constant
from beastmode.sessions import Sessions

BASE = {"role": "user", "content": "word " * 8_000}
"""40,000 characters: 10,000 tokens."""
DISCOUNT = Price(2.0, 8.0, cache_read_per_mtok=0.5)
SAVING = 10_000 * 1.5e-6


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def turns(count: int) -> list[dict[str, str]]:
    """Return a conversation whose last message is its `count`-th turn of the user."""
    said = [BASE]
    for i in range(1, count):
        said += [{"role": "assistant", "content": f"answer {i}"}, {"role": "user", "content": f"and then? {i}"}]
    return said


def router_of(
    make_bundle: Any, quality: tuple[float, float], policy: Any = None, price: Price = DISCOUNT, **known: Any
) -> tuple[Router, Clock]:
    candidates = (replace(Candidate("a", price=price), **known), Candidate("b", price=price))
    scorer = Constant(np.array(quality), np.full(2, 100.0), np.full(2, 100.0))
    objective = Objective(per_dollar=10.0)
    bundle = make_bundle(scorer=scorer, candidates=candidates, policy=policy or Greedy(), objective=objective,
                         operating_points=())  # fmt: skip
    router = Router(bundle, seed=1, remember_sessions=100)
    clock = Clock()
    router._sessions = Sessions(100, clock)
    return router, clock


def test_a_turn_stays_while_the_saving_outweighs_the_switch(make_bundle: Any) -> None:
    """`b` promises .10 more and `a`'s cache is worth 10 * .015 = .15 of quality: a turn stays, though `b` is better."""
    router, _ = router_of(make_bundle, (0.6, 0.7))
    first = router.route(turns(1), allow=["a"], session_id="s")
    turn = router.route(turns(2), session_id="s")
    assert (turn.candidate, turn.propensity, turn.sticky_from) == ("a", None, first.decision_id)
    assert f"its cached prompt saves ${SAVING:.6f}" in turn.reason
    fresh = router.route(turns(2))
    assert fresh.candidate == "b"
    assert turn.prediction is not None
    assert fresh.predictions[0].cost_usd == pytest.approx(turn.prediction.cost_usd + SAVING)
    assert turn.prediction.utility == pytest.approx(fresh.predictions[0].utility + 10 * SAVING)
    third = router.route(turns(3), session_id="s")
    assert third.sticky_from == first.decision_id, "it names the decision that drew the candidate"


def test_a_switch_that_is_worth_more_is_drawn(make_bundle: Any) -> None:
    router, _ = router_of(make_bundle, (0.6, 0.8))
    router.route(turns(1), allow=["a"], session_id="s")
    turn = router.route(turns(2), session_id="s")
    assert (turn.candidate, turn.propensity, turn.sticky_from) == ("b", 1.0, None)
    back = router.route(turns(3), session_id="s")
    assert back.sticky_from == turn.decision_id, "now it is warm there"


@pytest.mark.parametrize(
    ("seconds", "known", "price", "second"),
    [
        (301, {}, DISCOUNT, turns(2)),
        (61, {"cache_ttl_seconds": 60}, DISCOUNT, turns(2)),
        (1, {"cache_minimum_tokens": 20_000}, DISCOUNT, turns(2)),
        (1, {}, Price(2.0, 8.0), turns(2)),
        (1, {}, Price(per_request=0.03), turns(2)),
        (1, {}, DISCOUNT, [{"role": "user", "content": "the history was cut"}, *turns(2)[1:]]),
        (1, {}, DISCOUNT, turns(1)),
        (1, {}, DISCOUNT, turns(2)[-1:]),
    ],
    ids=["forgotten", "by its own ttl", "too short", "no discount", "flat price", "other history", "repeated", "alone"],
)
def test_where_nothing_is_saved_the_policy_draws(
    make_bundle: Any, seconds: float, known: Any, price: Price, second: Any
) -> None:
    router, clock = router_of(make_bundle, (0.6, 0.7), EpsilonGreedy(0.5, Greedy()), price, **known)
    router.route(turns(1), allow=["a"], session_id="s")
    clock.now += seconds
    turn = router.route(second, session_id="s")
    assert turn.sticky_from is None
    assert turn.propensity == turn.probabilities[turn.candidate]
    assert turn.predictions[0].cost_usd == pytest.approx(turn.predictions[1].cost_usd)


def test_each_turn_keeps_the_cache_warm(make_bundle: Any) -> None:
    router, clock = router_of(make_bundle, (0.6, 0.7))
    router.route(turns(1), allow=["a"], session_id="s")
    for count in range(2, 6):
        clock.now += 299
        assert router.route(turns(count), session_id="s").candidate == "a"


def test_what_may_not_serve_is_left(make_bundle: Any) -> None:
    router, _ = router_of(make_bundle, (0.6, 0.7))
    router.route(turns(1), allow=["a"], session_id="s")
    turn = router.route(turns(2), session_id="s", deny=["a"])
    assert (turn.candidate, turn.propensity, turn.sticky_from) == ("b", 1.0, None)


def test_softmax_draws_from_the_costs_as_they_are_and_says_so(make_bundle: Any) -> None:
    """Where the switch is preferred, the saving still counts: the propensity is that of the warm utilities."""
    router, _ = router_of(make_bundle, (0.6, 0.8), Softmax(0.1))
    router.route(turns(1), allow=["a"], session_id="s")
    turn = router.route(turns(2), session_id="s")
    utility = np.array([p.utility for p in turn.predictions])
    expected = np.exp(utility / 0.1) / np.exp(utility / 0.1).sum()
    assert [turn.probabilities[name] for name in "ab"] == pytest.approx(expected.tolist())
    assert utility[1] - utility[0] == pytest.approx(0.2 - 10 * SAVING)
    assert turn.propensity == turn.probabilities[turn.candidate]


def test_an_explanation_counts_the_warm_prompt(make_bundle: Any) -> None:
    router, _ = router_of(make_bundle, (0.6, 0.7))
    router.route(turns(1), allow=["a"], session_id="s")
    assert router.explain(turns(2), session_id="s").preferred == "a"
    assert router.explain(turns(2)).preferred == "b"


def test_the_session_that_was_silent_longest_is_forgotten(make_bundle: Any) -> None:
    router, clock = router_of(make_bundle, (0.6, 0.7))
    router._sessions = Sessions(2, clock)
    for session in ("s1", "s2", "s3"):
        router.route(turns(1), allow=["a"], session_id=session)
    assert router.route(turns(2), session_id="s1").sticky_from is None
    assert router.route(turns(2), session_id="s3").sticky_from is not None


def test_no_text_is_remembered(make_bundle: Any) -> None:
    router, _ = router_of(make_bundle, (0.6, 0.7))
    router.route([{"role": "user", "content": "canary-4711 " * 900}], session_id="s")
    assert "canary" not in repr(router._sessions._kept)
    assert Sessions(0).warm(Request.of("x", session_id="s")) is None


def test_a_session_that_is_forgotten_is_drawn_anew(make_bundle: Any) -> None:
    """Its call failed: nothing is cached there, and to stay would be to ask a dead provider again."""
    router, _ = router_of(make_bundle, (0.6, 0.7))
    router.route(turns(1), allow=["a"], session_id="s")
    router.forget("s")
    turn = router.route(turns(2), session_id="s")
    assert (turn.candidate, turn.propensity, turn.sticky_from) == ("b", 1.0, None)
    router.forget("never seen")
