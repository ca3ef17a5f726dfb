"""The vectors that an experiment logs against 10^5 draws; `test_whole_decisions` does so for whole calls."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beastmode.arms import CHALLENGER, CHAMPION, Dealing, Step
from beastmode.experiment import Challenge
from beastmode.records import Decision
from beastmode.router import Router
from beastmode.serving import Serving
from beastmode.sessions import Sessions
from beastmode.trial import Trial
from tests.contracts.test_policies import DRAWS, WARM, bundle_of, chi_square, critical

START = datetime(2026, 1, 1, tzinfo=UTC)
SHARES = (0.05, 0.3, 0.7)
RAMP = tuple(Step(START + timedelta(hours=i), share) for i, share in enumerate(SHARES))
ARMS: tuple[Any, ...] = (
    (("epsilon_greedy", {"epsilon": 0.2}), ("softmax", {"temperature": 0.1})),
    (("greedy", {}), ("epsilon_greedy", {"epsilon": 0.4, "base": {"incumbent": 2, "margin": 0.5}})),
)
ASKED: dict[str, dict[str, Any]] = {"all": {}, "deny": {"deny": ("b",)}}
NAMES = ("a", "b", "c", "d")


def router_at(champion: Any, challenger: Any, moment: datetime) -> tuple[Router, Dealing]:
    router = Router(bundle_of(*champion), seed=3)
    dealing = Dealing("salt", RAMP)
    rival = bundle_of(*challenger)
    router.swap(router.bundle, Challenge(rival, dealing))
    router._trial = Trial(router._serving, Serving.of(rival), dealing, lambda: moment)
    return router, dealing


def asked(router: Router, warm: bool, unit: str, known: dict[str, Any]) -> Decision:
    said = [*WARM, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "What is 2+2?"}]
    if not warm:
        return router.route(said, unit=unit, **known)
    router._sessions = Sessions(2, lambda: 1.0)
    router.route(WARM, session_id="s", unit=unit, allow=["a"])
    return router.route(said, session_id="s", unit=unit, **known)


@pytest.mark.parametrize("hour", range(len(SHARES)))
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("constraints", ASKED)
@pytest.mark.parametrize(("champion", "challenger"), ARMS, ids=("explores", "greedy"))
def test_arms_and_plans_come_as_often_as_the_log_says(
    champion: Any, challenger: Any, constraints: str, warm: bool, hour: int
) -> None:
    """10^5 units through the dealing and the draw of each arm, against both arms' vectors, shares and marginals."""
    at = START + timedelta(hours=hour, minutes=5)
    router, dealing = router_at(champion, challenger, at)
    first: dict[str, Decision] = {}
    for i in range(400):
        decision = asked(router, warm, f"probe{i}", ASKED[constraints])
        first.setdefault(decision.arm, decision)
        if len(first) == 2:
            break
    assert set(first) == {CHAMPION, CHALLENGER}
    vectors = first[CHAMPION].arm_probabilities
    assert vectors == first[CHALLENGER].arm_probabilities is not None
    assert vectors is not None
    share = SHARES[hour]
    for arm, decision in first.items():
        assert decision.arm_probability == {CHAMPION: 1 - share, CHALLENGER: share}[arm]
        if decision.sticky_from is not None:
            assert decision.propensity is None is decision.marginal_propensity
            assert vectors[arm][decision.plan.name] == 1.0
            continue
        assert decision.probabilities == vectors[arm]
        assert decision.propensity == vectors[arm][decision.plan.name]
        plan = decision.plan.name
        mixed = (1 - share) * vectors[CHAMPION].get(plan, 0.0) + share * vectors[CHALLENGER].get(plan, 0.0)
        assert decision.marginal_propensity == pytest.approx(mixed, abs=1e-12)
    cells = {arm: [vector.get(name, 0.0) for name in NAMES] for arm, vector in vectors.items()}
    counts: Counter[int] = Counter()
    for i in range(DRAWS):
        arm, _ = dealing.arm(f"unit{i}", at)
        counts[router._draw(cells[arm]) + 4 * (arm == CHALLENGER)] += 1
    joint = [(1 - share) * p for p in cells[CHAMPION]] + [share * p for p in cells[CHALLENGER]]
    statistic, freedom = chi_square(counts, joint, DRAWS)
    assert statistic < critical(freedom), (counts, joint)
    marginal = Counter({i: counts[i] + counts[i + 4] for i in range(4)})
    mixture = [joint[i] + joint[i + 4] for i in range(4)]
    statistic, freedom = chi_square(marginal, mixture, DRAWS)
    assert statistic < critical(freedom), (marginal, mixture)
