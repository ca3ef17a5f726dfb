"""Every policy: what is logged as the propensity is how often it is drawn, under any constraint and any stickiness."""

import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate, Price
from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.objective import Objective
from beastmode.policies import POLICIES, policy_from_json, policy_to_json
from beastmode.records import Decision, Needs
from beastmode.router import Router
from beastmode.scorers import Constant
from beastmode.sessions import Sessions

DRAWS = 100_000

SAMPLES: dict[str, list[dict[str, Any]]] = {
    "greedy": [{}, {"incumbent": 2, "margin": 0.5}],
    "epsilon_greedy": [
        {"epsilon": 0.2},
        {"epsilon": 1.0},
        {"epsilon": 0.02, "base": {"incumbent": 0, "margin": 0.01}},
    ],
    "softmax": [{"temperature": 0.1}, {"temperature": 0.02, "floor": 0.05}],
}
POINTS = [(kind, known) for kind in POLICIES for known in SAMPLES[kind]]
ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "all": ({}, "abcd"),
    "allow": ({"allow": ("a", "c", "d")}, "acd"),
    "deny": ({"deny": ("b",)}, "acd"),
    "needs": ({"needs": Needs(tools=True)}, "abd"),
    "context": ({"needs": Needs(output_tokens=60_000)}, "bcd"),
    "region": ({"needs": Needs(regions=("eu",))}, "ab"),
    "budget": ({"needs": Needs(budget_usd=0.05)}, "ac"),
    "deadline": ({"needs": Needs(deadline_ms=1000.0)}, "bc"),
    "together": ({"allow": ("a", "b", "c"), "needs": Needs(regions=("eu", "us"), deadline_ms=1000.0)}, "b"),
}
"""What a request asks for, and who is left."""
SESSIONS = {"none": None, "cold": "b", "warm, worth a switch": "a", "warm": "b"}
"""What a turn may find of its session, and whom its first turn went to."""
CASES = [(asked, session) for asked in ASKED for session, first in SESSIONS.items() if (first or "") in ASKED[asked][1]]
"""Whom the constraints refuse no turn can stay with; that it is left then, the tests of sessions show."""
WARM = [{"role": "user", "content": "word " * 8_000}]
"""10,000 tokens: at `a` their cache saves .004 of utility, at `b` .16."""


def bundle_of(kind: str, known: dict[str, Any]) -> Bundle:
    candidates = (
        Candidate("a", price=Price(1, 4, cache_read_per_mtok=0.96), context_tokens=64_000, region="eu"),
        Candidate("b", price=Price(2, 8, cache_read_per_mtok=0.4), region="eu"),
        Candidate("c", price=Price(per_request=0.004), tools=False),
        Candidate("d"),
    )
    spread = np.array([0.5, 1.0, 2.0])[:, None]
    return Bundle(
        name="contract",
        candidates=candidates,
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(
            np.array([0.6, 0.65, 0.62, 0.9]),
            np.full(4, 100.0),
            np.full(4, 100.0),
            spread * np.array([100.0, 5000.0, 100.0, 100.0]),
            spread * np.array([900.0, 200.0, 300.0, np.nan]),
        ),
        policy=policy_from_json({"kind": kind, **known}),
        objective=Objective(per_dollar=10.0),
        created="2026-01-01",
        code_version="0",
    )


def chi_square(counts: Counter[int], chances: list[float], n: int) -> tuple[float, int]:
    """Return the statistic and its degrees of freedom; a draw of what has no chance is infinitely unlikely."""
    if any(counts[i] for i, p in enumerate(chances) if p == 0):
        return math.inf, 1
    likely = [(counts[i], n * p) for i, p in enumerate(chances) if p > 0]
    return sum((seen - expected) ** 2 / expected for seen, expected in likely), max(len(likely) - 1, 1)


def critical(freedom: int) -> float:
    """Return the value a chi-square exceeds once in a million, by Wilson and Hilferty (1931)."""
    return freedom * (1 - 2 / (9 * freedom) + 4.7534 * math.sqrt(2 / (9 * freedom))) ** 3


def turn(router: Router, session: str, known: dict[str, Any]) -> Decision:
    """Return the decision of a turn that finds its session as it is said."""
    said = [*WARM, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "What is 2+2?"}]
    first = SESSIONS[session]
    if first is None:
        return router.route(said, **known)
    clock = iter((0.0, 1e6 if session == "cold" else 1.0, 2.0))
    router._sessions = Sessions(4, lambda: next(clock))
    router.route(WARM, session_id="s", allow=[first])
    return router.route(said, session_id="s", **known)


@pytest.mark.parametrize(("asked", "session"), CASES)
@pytest.mark.parametrize(("kind", "known"), POINTS, ids=lambda value: str(value))
def test_draw_frequencies_are_the_logged_propensities(
    kind: str, known: dict[str, Any], asked: str, session: str
) -> None:
    """The decision's own draw, 10^5 times, against the vector that `route` logs for the same request and session.

    A turn that sticks is no draw: it logs no propensity, and it is only where the policy prefers the warm candidate.
    """
    router = Router(bundle_of(kind, known), seed=11)
    constraints, left = ASKED[asked]
    decision = turn(router, session, constraints)
    names = [candidate.name for candidate in router.bundle.candidates]
    chances = [decision.probabilities.get(name, 0.0) for name in names]
    assert set(decision.probabilities) == set(left)
    favourite = max(chances)
    warm = None if session == "cold" else SESSIONS[session]
    sticks = warm is not None and decision.probabilities[warm] == favourite
    assert (decision.propensity is None) == (decision.sticky_from is not None) == sticks
    if sticks:
        assert decision.candidate == warm
        return
    assert decision.propensity == decision.probabilities[decision.plan.name]
    utility = np.array([[p.utility for p in decision.predictions]])
    eligible = np.array([[name in left for name in names]])
    np.testing.assert_allclose(router.bundle.policy.probabilities(utility, eligible)[0], chances, atol=1e-12)
    if favourite == 1.0:
        assert decision.candidate == names[chances.index(1.0)], "a certain draw needs no statistics"
        return
    counts = drawn(router, chances)
    statistic, freedom = chi_square(counts, chances, DRAWS)
    assert statistic < critical(freedom), (counts, chances)


def drawn(router: Router, chances: list[float]) -> Counter[int]:
    return Counter(router._draw(chances) for _ in range(DRAWS))


def test_every_state_of_a_session_is_met() -> None:
    """What the test above walks over: with the same bundle, a turn that sticks and one whose switch is worth more."""
    router = Router(bundle_of("epsilon_greedy", {"epsilon": 0.2}), seed=11)
    found = {session: turn(router, session, {"deny": ["d"]}) for session in SESSIONS}
    assert {session for session, decision in found.items() if decision.sticky_from} == {"warm"}


@pytest.mark.parametrize(("kind", "known"), POINTS, ids=lambda value: str(value))
def test_whole_decisions_are_drawn_as_they_say(kind: str, known: dict[str, Any]) -> None:
    """Fewer draws, but through all of `route`, with sessions mixed in: turns that stick log no propensity, and the
    rest keeps its frequencies, whatever their sessions have warmed up."""
    router = Router(bundle_of(kind, known), seed=12, remember_sessions=64)
    names = [candidate.name for candidate in router.bundle.candidates]
    counts: dict[tuple[float, ...], Counter[int]] = defaultdict(Counter)
    warm: dict[str, Decision] = {}
    stuck = 0
    for i in range(3000):
        session = f"s{i % 25}-{i // 100}"
        before = warm.get(session)
        said = [*WARM, *([{"role": "user", "content": "and then?"}] * (i % 100 // 25))]
        decision = router.route(said, session_id=session)
        if decision.sticky_from is not None:
            stuck += 1
            assert before is not None
            assert decision.candidate == before.candidate
            assert decision.propensity is None
            continue
        warm[session] = decision
        chances = tuple(decision.probabilities[name] for name in names)
        counts[chances][names.index(decision.candidate)] += 1
    assert stuck > 0 or kind == "greedy", "what never explores never comes to the candidate that is cheaper warm"
    for chances, seen in counts.items():
        if seen.total() >= 100:
            statistic, freedom = chi_square(seen, list(chances), seen.total())
            assert statistic < critical(freedom), (seen, chances)
    assert max(seen.total() for seen in counts.values()) >= 100


@pytest.mark.parametrize(("kind", "known"), POINTS, ids=lambda value: str(value))
def test_rows_are_distributions_over_the_eligible(kind: str, known: dict[str, Any]) -> None:
    policy = policy_from_json({"kind": kind, **known})
    rng = np.random.default_rng(0)
    utility = rng.normal(size=(500, 4))
    utility[rng.random(utility.shape) < 0.2] = np.nan
    eligible = rng.random(utility.shape) < 0.6
    eligible[np.arange(500), rng.integers(0, 4, 500)] = True
    chances = policy.probabilities(utility, eligible)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    assert (chances >= 0).all()
    assert (chances[~eligible] == 0).all()
    np.testing.assert_allclose(chances, np.vstack([
        policy.probabilities(utility[i : i + 1], eligible[i : i + 1]) for i in range(500)
    ]), err_msg="a row does not depend on the rows beside it")  # fmt: skip


@pytest.mark.parametrize("kind", POLICIES)
def test_every_registered_policy_is_sampled_and_survives_json(kind: str) -> None:
    assert SAMPLES[kind]
    for known in SAMPLES[kind]:
        policy = policy_from_json({"kind": kind, **known})
        assert policy_from_json(policy_to_json(policy)) == policy


def test_the_seed_reaches_the_draw() -> None:
    bundle = bundle_of("softmax", {"temperature": 1.0})
    sequences = {tuple(Router(bundle, seed=seed).route("x").candidate for _ in range(1)) for seed in range(40)}
    assert len(sequences) == 3, "the unpriced candidate has no chance here, the others all do"


def test_the_statistic_finds_a_wrong_propensity() -> None:
    """The test above can fail: a log that is off by one point in a hundred is found."""
    rng = np.random.default_rng(1)
    counts = Counter(rng.choice(3, size=DRAWS, p=[0.5, 0.3, 0.2]).tolist())
    right, freedom = chi_square(counts, [0.5, 0.3, 0.2], DRAWS)
    wrong, _ = chi_square(counts, [0.49, 0.31, 0.2], DRAWS)
    assert right < critical(freedom) < wrong
