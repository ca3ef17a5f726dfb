"""Every constraint removes whom it must, says why, and names what would let somebody in again."""

import re
from typing import Any

import numpy as np
import pytest

from beastmode.candidates import Candidate, Price, Tier
from beastmode.constraints import Constraints
from beastmode.errors import RoutingError
from beastmode.policies import Greedy
from beastmode.records import Needs, Request
from beastmode.router import Router
from beastmode.scorers import Constant

CANDIDATES = (
    Candidate("eu", price=Price(1, 4), context_tokens=1_000, region="eu"),
    Candidate("us", price=Price(2, 8), vision=True, region="us"),
    Candidate("somewhere", price=Price(1, 4), tools=False),
    Candidate("unpriced", region="eu"),
)
TOKENS = np.array([[50.0] * 4, [100.0] * 4, [1000.0, 200.0, 400.0, 100.0]])
LATENCY = np.array([[100.0] * 4, [200.0] * 4, [4000.0, 800.0, 1500.0, np.nan]])


@pytest.fixture
def router(make_bundle: Any) -> Router:
    scorer = Constant(np.array([0.6, 0.7, 0.65, 0.7]), np.full(4, 100.0), np.full(4, 200.0), TOKENS, LATENCY)
    return Router(make_bundle(scorer=scorer, candidates=CANDIDATES, operating_points=()), seed=0)


def cost(column: int, tokens: float, prompt: str = "x" * 400) -> float:
    usd = CANDIDATES[column].price.cost_usd(len(prompt) / 4, tokens)
    assert usd is not None
    return usd


UNKNOWN = "cost is not known, so within no budget"


@pytest.mark.parametrize(
    ("needs", "excluded"),
    [
        (Needs(regions=("eu",)), {"us": "region us is not allowed", "somewhere": "its region is not known"}),
        (Needs(regions=("us", "eu")), {"somewhere": "its region is not known"}),
        (
            Needs(budget_usd=0.002),
            {"eu": "cost may reach $0.004100, over the budget of $0.002000", "unpriced": UNKNOWN},
        ),
        (Needs(budget_usd=0.002, output_tokens=300), {"unpriced": UNKNOWN}),
        (
            Needs(deadline_ms=1000),
            {
                "eu": "latency may reach 4000 ms, over the deadline of 1000 ms",
                "somewhere": "latency may reach 1500 ms, over the deadline of 1000 ms",
                "unpriced": "latency is not known, so within no deadline",
            },
        ),
        (
            Needs(tools=True, regions=("eu", "us"), deadline_ms=1000),
            {
                "eu": "latency may reach 4000 ms, over the deadline of 1000 ms",
                "somewhere": "lacks tools",
                "unpriced": "latency is not known, so within no deadline",
            },
        ),
    ],
)
def test_each_constraint_says_whom_it_removes_and_why(router: Router, needs: Needs, excluded: dict[str, str]) -> None:
    decision = router.route("x" * 400, needs=needs)
    assert decision.excluded == excluded
    assert set(decision.probabilities) == {c.name for c in CANDIDATES} - set(excluded)
    assert sum(decision.probabilities.values()) == pytest.approx(1)


def test_what_a_tool_was_called_with_counts_against_context_and_budget(router: Router) -> None:
    said = [{"role": "user", "content": "Fix it."}, {"role": "tool", "content": "done"}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "x" * 4_000_000}}]}
    router.route(said, needs=Needs(budget_usd=1.0))
    with pytest.raises(RoutingError, match="context of"):
        router.route([*said, call], needs=Needs(budget_usd=1.0))


def test_the_quantile_that_is_held_against_a_limit_is_the_one_that_is_told(router: Router) -> None:
    known = router.route("x" * 400).predictions[0]
    assert known.cost_usd_high == pytest.approx(cost(0, 1000))
    at = router.route("x" * 400, needs=Needs(budget_usd=known.cost_usd_high, deadline_ms=known.latency_ms_high))
    assert "eu" in at.probabilities, "what is exactly at the limit is within it"
    assert "eu" not in router.route("x" * 400, needs=Needs(budget_usd=cost(0, 999))).probabilities


@pytest.mark.parametrize(
    "price", [Price(1, 4, reasoning_per_mtok=20), Price(0, 1, tiers=(Tier(10, 1, 4, reasoning_per_mtok=20),))]
)
def test_a_capped_answer_may_be_all_reasoning_at_its_price(make_bundle: Any, price: Price) -> None:
    """A thousand tokens of it cost two cents, as the provider will charge them."""
    scorer = Constant(np.array([0.6]), np.array([100.0]), np.array([200.0]), np.full((3, 1), 1e6))
    router = Router(
        make_bundle(scorer=scorer, candidates=(Candidate("a", price=price),), policy=Greedy(), operating_points=())
    )
    spent = price.cost_usd(100, 1000, reasoning_tokens=1000)
    assert spent is not None
    router.route("x" * 400, needs=Needs(output_tokens=1000, budget_usd=spent))
    with pytest.raises(RoutingError, match="over the budget"):
        router.route("x" * 400, needs=Needs(output_tokens=1000, budget_usd=spent / 2))


def test_an_unpriced_candidate_is_bounded_by_no_cap(router: Router) -> None:
    decision = router.route("x", needs=Needs(budget_usd=1.0, output_tokens=1))
    assert decision.excluded == {"unpriced": UNKNOWN}


def test_lists_may_be_combined(router: Router) -> None:
    decision = router.route("x", allow=["eu", "us"], deny=["us"])
    assert decision.excluded["us"] == "on the deny list"
    assert decision.excluded["somewhere"] == "not on the allow list"
    assert (decision.candidate, decision.propensity) == ("eu", 1.0)
    assert router.route("x", deny=[]).excluded == {}
    with pytest.raises(RoutingError, match="deny: unknown candidate 'uss'; the bundle has eu, us"):
        router.route("x", deny=["uss"])
    with pytest.raises(RoutingError, match=re.escape("deny = 'us' must be a list of candidates; write ['us']")):
        router.route("x", deny="us")
    with pytest.raises(RoutingError, match="deny must be a list of candidates, and a generator can be read only once"):
        router.route("x", deny=(name for name in ["us"]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "needs", "said"),
    [
        ({"allow": []}, Needs(), "relax the allow list, or add"),
        ({"deny": ["eu", "us", "somewhere", "unpriced"]}, Needs(), "relax the deny list, or add"),
        ({"deny": ["us"]}, Needs(vision=True), "relax the deny list, relax the need of vision, or add"),
        ({"allow": ["eu"]}, Needs(output_tokens=2000), "shorten the conversation or allow fewer output tokens, or add"),
        ({}, Needs(regions=("mars",)), "allow another region (known are: eu, us), or add"),
        ({}, Needs(deadline_ms=10), "raise deadline_ms to 800 or more, or add"),
        ({"allow": ["unpriced"]}, Needs(budget_usd=1.0), "relax the allow list, leave budget_usd out, or add"),
    ],
)
def test_where_nobody_is_left_the_error_names_every_reason_and_a_remedy(
    router: Router, known: Any, needs: Needs, said: str
) -> None:
    with pytest.raises(RoutingError, match=re.escape(said)) as caught:
        router.route("x", needs=needs, **known)
    for candidate in CANDIDATES:
        assert f"{candidate.name}: " in str(caught.value)


def test_the_limit_that_the_error_names_is_enough(router: Router) -> None:
    for name in ("budget_usd", "deadline_ms"):
        with pytest.raises(RoutingError) as caught:
            router.route("x" * 400, needs=Needs(**{name: 1e-9}))
        enough = re.search(rf"raise {name} to (\S+) or more", str(caught.value))
        assert enough is not None
        assert router.route("x" * 400, needs=Needs(**{name: float(enough[1])})).candidate


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"regions": "eu"}, r"regions = 'eu' must be a tuple of names; write \('eu',\)"),
        ({"budget_usd": 0}, "budget_usd = 0 must be a positive number"),
        ({"deadline_ms": float("nan")}, "deadline_ms = nan must be a positive number"),
    ],
)
def test_needs_that_cannot_be_are_refused(known: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Needs(**known)


def test_the_vectors_agree_with_what_each_candidate_says_of_itself() -> None:
    """Two spellings of one rule: every combination of needs, and contexts around the limit."""
    constraints = Constraints.of(CANDIDATES)
    for bits in range(8):
        for regions in (None, ("eu",), ("us", "eu"), ("mars",)):
            for tokens in (10.0, 1000.0, 1001.0):
                tools, json, vision = (bool(bits >> i & 1) for i in range(3))
                request = Request.of("x", needs=Needs(tools, json, vision, regions=regions))
                said = {c.name: c.refusal(request, tokens) for c in CANDIDATES}
                refused = {name: why for name, why in said.items() if why is not None}
                if len(refused) == len(CANDIDATES):
                    with pytest.raises(RoutingError):
                        constraints.standing(request, tokens, None, None)
                else:
                    assert constraints.standing(request, tokens, None, None).why == refused
