"""Whole `route` calls under every combination of an experiment: what is logged is how often it happens.

Each case is one false alarm in a million, by chi-square over cells of ten or more expected calls, and so is all of them
together. Random numbers come from seeds and units by number, so a passing tree passes again.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from beastmode.arms import CHALLENGER, CHAMPION, Dealing, Step
from beastmode.bundle import Bundle
from beastmode.deciding import pick
from beastmode.experiment import Challenge
from beastmode.interactions import Interaction
from beastmode.journal import Journal
from beastmode.records import Decision
from beastmode.router import Router
from beastmode.sessions import Sessions
from features.formats import Row, Source, read
from tests.contracts.test_policies import ASKED, SESSIONS, WARM, bundle_of

FALSE_ALARM = 1e-6
LEAST = 10
"""Expected calls of a cell; rarer ones are taken together."""
START = datetime(2026, 1, 1, tzinfo=UTC)
SHARES = (0.05, 0.3, 0.7)
RAMP = tuple(Step(START + timedelta(hours=i), share) for i, share in enumerate(SHARES))
ARMS: dict[str, Any] = {
    "explores": (("epsilon_greedy", {"epsilon": 0.2}), ("softmax", {"temperature": 0.1})),
    "greedy": (("greedy", {}), ("epsilon_greedy", {"epsilon": 0.4, "base": {"incumbent": 2, "margin": 0.5}})),
    "certain": (("softmax", {"temperature": 0.02, "floor": 0.05}), ("greedy", {"incumbent": 2, "margin": 0.5})),
}
UNITS: dict[str, Callable[[str], dict[str, Any]]] = {
    "named": lambda unit: {"unit": unit},
    "session": lambda unit: {"session_id": unit},
    "user": lambda unit: {"context": {"user": unit}},
    "tenant": lambda unit: {"tenant": unit},
}
Cells = Mapping[tuple[str, str], float]
Change = Callable[[Decision], Decision]


@dataclass(frozen=True)
class Case:
    """A combination, and how often it is routed."""

    arms: str
    asked: str = "all"
    """Constraints."""
    session: str = "none"
    """What a turn finds of its session."""
    mode: str = "canary"
    unit: str = "named"
    lame: str = ""
    """The arm whose bundle can take no request, so that the other's stands in."""
    calls: int = 2500

    def __str__(self) -> str:
        return "-".join(str(value) for value in vars(self).values() if value)


CASES = (
    *(Case("explores", asked, unit=unit) for asked, unit in zip(ASKED, [*UNITS] * 3, strict=False)),
    *(Case("greedy", asked) for asked in ("all", "deny", "needs", "budget", "deadline")),
    *(Case("certain", asked) for asked in ("all", "region")),
    *(Case(arms, session=session) for arms in ARMS for session in SESSIONS if session != "none"),
    *(Case(arms, "needs", lame=lame) for arms in ("explores", "greedy") for lame in (CHAMPION, CHALLENGER)),
    *(Case("explores", asked, mode="shadow", calls=4000) for asked in ("all", "deny", "budget")),
    Case("explores", calls=8000),
    Case("explores", "deny", calls=8000),
)


class Tally:
    """How often each arm and plan came, beside the chances that were logged, of calls whose log is the same."""

    def __init__(self) -> None:
        self._seen: defaultdict[tuple[Any, ...], Counter[tuple[str, str]]] = defaultdict(Counter)
        self.calls = 0

    def add(self, cell: tuple[str, str], cells: Cells) -> None:
        self.calls += 1
        self._seen[tuple(sorted(cells.items()))][cell] += 1

    def statistic(self) -> tuple[float, int]:
        """Return chi-square and its degrees of freedom; what came without a chance is infinitely unlikely."""
        total, freedom = 0.0, 0
        for cells, seen in self._seen.items():
            chances = {cell: chance for cell, chance in cells if chance > 0}
            if set(+seen) - set(chances):
                return np.inf, 1
            n, merged, rest = seen.total(), [], np.zeros(2)
            for chance, cell in sorted((chance, cell) for cell, chance in chances.items()):
                rest += (n * chance, seen[cell])
                if rest[0] >= LEAST:
                    merged.append(rest)
                    rest = np.zeros(2)
            if merged:
                merged[0] = merged[0] + rest
                total += sum(float((came - expected) ** 2 / expected) for expected, came in merged)
                freedom += len(merged) - 1
        return total, freedom


def surprise(statistic: float, freedom: int) -> float:
    """Return the chance of so large a statistic where all is logged as it is."""
    return float(chi2.sf(statistic, freedom)) if freedom else 1.0


def lamed(bundle: Bundle) -> Bundle:
    return replace(bundle, candidates=tuple(replace(candidate, tools=False) for candidate in bundle.candidates))


def router_of(case: Case, clock: Callable[[], datetime]) -> Router:
    champion, challenger = (
        lamed(bundle) if case.lame == arm else bundle
        for arm, bundle in zip((CHAMPION, CHALLENGER), (bundle_of(*each) for each in ARMS[case.arms]), strict=True)
    )
    router = Router(champion, seed=3)
    unit = "session" if case.unit == "named" else case.unit
    router.swap(champion, Challenge(challenger, Dealing("salt", RAMP, unit, case.mode)))
    assert router._trial is not None
    router._trial = replace(router._trial, now=clock)
    return router


def decisions(case: Case, spoil: Callable[[Router], None] = lambda router: None) -> Iterator[tuple[datetime, Decision]]:
    """Route a case's calls, one a unit, while the ramp rises through them; yields each with its moment."""
    moments = [START + timedelta(hours=len(SHARES)) * (i / case.calls) for i in range(case.calls)]
    now = iter(moments)
    router = router_of(case, lambda: next(now))
    spoil(router)
    known, first = ASKED[case.asked][0], SESSIONS[case.session]
    if first is None:
        for i, at in enumerate(moments):
            yield at, router.route("What is 2+2?", **UNITS[case.unit](f"u{i}"), **known)
        return
    # The first turn of every session is the same, so that it is routed once; its unit is the second turn's.
    before = Router(bundle_of("greedy", {}), remember_sessions=1)
    before._sessions = Sessions(1, lambda: 0.0)
    before.route(WARM, session_id="s", allow=[first])
    kept = before._sessions._kept["s"]
    router._sessions = Sessions(1, lambda: 1e6 if case.session == "cold" else 1.0)
    said = [*WARM, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "What is 2+2?"}]
    for i, at in enumerate(moments):
        router._sessions._kept["s"] = kept
        yield at, router.route(said, session_id="s", unit=f"u{i}", **known)


def logged(decision: Decision | Interaction) -> Cells:
    """Return P(arm, plan), as the log has it, of all that could have been done with a request."""
    share, vectors = decision.arm_probability, decision.arm_probabilities
    assert share is not None
    if vectors is None:
        return {(str(decision.arm), plan): share * p for plan, p in (decision.probabilities or {}).items()}
    shares = {arm: share if arm == decision.arm else 1 - share for arm in vectors}
    return {(arm, plan): round(shares[arm] * p, 12) for arm, vector in vectors.items() for plan, p in vector.items()}


def drawn(case: Case, change: Change = lambda decision: decision, **known: Any) -> Tally:
    """Return the tally of a case, and of what its shadows would have done."""
    tally = Tally()
    for at, decision in decisions(case, **known):
        told = change(decision)
        tally.add((told.arm, told.plan.name), logged(told))
        if case.mode == "shadow":
            share = SHARES[(at - START) // timedelta(hours=1)]
            shadowed = told.shadow is not None
            tally.add(("shadowed", str(shadowed)), {("shadowed", "True"): share, ("shadowed", "False"): 1 - share})
            if told.shadow is not None:
                would = change(told.shadow())
                assert would.arm == CHALLENGER
                tally.add((would.arm, would.plan.name), logged(would))
    return tally


@cache
def measured(case: Case) -> tuple[float, int]:
    return drawn(case).statistic()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_arms_and_plans_come_as_often_as_whole_decisions_log(case: Case) -> None:
    assert surprise(*measured(case)) > FALSE_ALARM


def test_all_of_them_together_come_as_often_too() -> None:
    """10^5 calls: what no case alone would show."""
    assert sum(case.calls for case in CASES) >= 100_000
    statistic, freedom = np.sum([measured(case) for case in CASES], axis=0).tolist()
    assert freedom > 300
    assert FALSE_ALARM < surprise(statistic, freedom) < 1 - FALSE_ALARM, "too good to be drawn by lot is wrong as well"


@pytest.mark.parametrize("case", [case for case in CASES if case.session != "none" or case.lame], ids=str)
def test_what_off_policy_evaluation_divides_by_is_the_chance_among_the_rows_that_it_keeps(case: Case) -> None:
    """The marginal propensity, or the arm's own where the other arm's turn would have stayed and left the log."""
    tally = Tally()
    stayed: set[str] = set()
    for _, decision in decisions(replace(case, calls=1000)):
        cells, plan = logged(decision), decision.plan.name
        if decision.sticky_from is not None:
            stayed.add(decision.arm)
            assert decision.propensity is None is decision.marginal_propensity
            continue
        assert decision.propensity == decision.probabilities[plan]
        if decision.marginal_propensity is None:
            divisors = dict(decision.probabilities)
            assert decision.arm_probabilities is not None
            other = CHAMPION if decision.arm == CHALLENGER else CHALLENGER
            assert max(decision.arm_probabilities[other].values()) == 1.0, "the other arm stays"
        else:
            divisors = defaultdict(float)
            for (_, name), chance in cells.items():
                divisors[name] += chance
            assert decision.marginal_propensity == pytest.approx(divisors[plan], abs=1e-9)
        tally.add(("kept", plan), {("kept", name): round(p, 9) for name, p in divisors.items()})
    assert surprise(*tally.statistic()) > FALSE_ALARM
    if case.session == "warm":
        assert len(stayed) == {"explores": 2, "greedy": 1, "certain": 1}[case.arms]


def test_rows_with_fallbacks_come_back_from_the_journal_as_often_as_they_say(tmp_path: Path) -> None:
    """Every second upstream fails and another candidate answers: the row stays the drawn plan's."""
    case = Case("explores", "deny", calls=1500)
    with Journal(tmp_path) as journal:
        for i, (_, decision) in enumerate(decisions(case)):
            with journal.attempt(decision) as attempt:
                if i % 2:
                    other = "a" if decision.candidate == "c" else "c"
                    attempt.retry(other, TimeoutError("slow"))
    (file,) = tmp_path.glob("*.jsonl")
    with file.open("rb") as stream:
        events = list(read("journal", stream, Source("shop", datetime.now(UTC) + timedelta(hours=1))))
    rows = [event.interaction for event in events if isinstance(event, Row)]
    assert len(rows) == case.calls
    assert sum(row.attempts[-1].role == "fallback" for row in rows) == case.calls // 2
    tally, whole = Tally(), drawn(case)
    for row in rows:
        assert row.plan is not None
        assert row.propensity == (row.arm_probabilities or {})[str(row.arm)][row.plan]
        tally.add((str(row.arm), row.plan), logged(row))
    assert tally.statistic() == whole.statistic()


class Skewed(Dealing):
    """Deals five points more to the challenger than it says."""

    def arm(self, unit: str, at: datetime) -> tuple[str, float]:
        share = self.share(at)
        return (CHALLENGER, share) if self.place(unit) < share + 0.05 else (CHAMPION, 1.0 - share)


def skewed(router: Router) -> None:
    trial = router._trial
    assert trial is not None
    router._trial = replace(trial, dealing=Skewed("salt", RAMP))


def tempered(router: Router) -> None:
    def draw(chances: list[float]) -> int:
        able = [chance > 0 for chance in chances]
        return pick([0.93 * p + 0.07 * yes / sum(able) for p, yes in zip(chances, able, strict=True)], rng.random())

    rng = Random(5)
    router._draw = draw


def entangled(router: Router) -> None:
    """One number deals the unit and draws the plan."""
    trial, places = router._trial, iter(range(10**6))
    assert trial is not None
    router._draw = lambda chances: pick(chances, trial.dealing.place(f"u{next(places)}"))


def vectors(change: Callable[[Decision, dict[str, Any]], dict[str, Any]]) -> Change:
    return lambda decision: replace(
        decision, arm_probabilities=change(decision, dict(decision.arm_probabilities or {}))
    )


WRONG: dict[str, tuple[Case, dict[str, Any]]] = {
    "a share that is not dealt": (Case("explores", calls=4000), {"spoil": skewed}),
    "draws that are not the policy's": (Case("explores", calls=8000), {"spoil": tempered}),
    "one number for arm and plan": (Case("explores"), {"spoil": entangled}),
    "the arms' vectors exchanged": (
        Case("explores"),
        {"change": vectors(lambda _, known: {CHAMPION: known[CHALLENGER], CHALLENGER: known[CHAMPION]})},
    ),
    "constraints forgotten": (
        Case("explores", "deny"),
        {"change": vectors(lambda _, known: {a: {**{n: 0.95 * p for n, p in v.items()}, "b": 0.05}
                                             for a, v in known.items()})},
    ),
    "a turn that stays logged as a draw": (
        Case("explores", session="warm"),
        {"change": vectors(lambda decision, known: {**known, decision.arm: decision.probabilities})},
    ),
    "the stand-in's vector logged as the lame arm's own": (
        Case("explores", "needs", lame=CHALLENGER),
        {"change": vectors(lambda _, known: {**known, CHALLENGER: dict.fromkeys(known[CHALLENGER], 1 / 3)})},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_log_that_is_wrong_is_found(name: str) -> None:
    """The tests above can fail."""
    case, how = WRONG[name]
    assert surprise(*drawn(case, **how).statistic()) < FALSE_ALARM


def test_false_alarms_are_as_rare_as_they_are_said_to_be() -> None:
    """1,000 tallies of 2,500 calls drawn exactly as logged, at one in a hundred: at most what chance allows of it."""
    rng = np.random.default_rng(0)
    _, decision = next(decisions(Case("explores")))
    cells = logged(replace(decision, arm_probability={CHAMPION: 0.7, CHALLENGER: 0.3}[decision.arm]))
    names, chances = list(cells), np.array(list(cells.values()))
    alarms = 0
    for counts in rng.multinomial(2500, chances / chances.sum(), size=1000):
        tally = Tally()
        tally._seen[tuple(sorted(cells.items()))] = Counter(dict(zip(names, counts.tolist(), strict=True)))
        alarms += surprise(*tally.statistic()) < 0.01
    assert 1 <= alarms <= 10 + 3 * 10**0.5
