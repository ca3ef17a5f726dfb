"""Experiments as they are served: started, ramped and stopped in the store; shadowed, journalled and read back."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from beastmode.arms import CHALLENGER, CHAMPION, Dealing, Step
from beastmode.errors import BundleError, RoutingError, StoreError
from beastmode.experiment import EXPERIMENT, Challenge, Experiment
from beastmode.journal import Journal
from beastmode.policies import Greedy
from beastmode.records import Needs
from beastmode.router import Router
from beastmode.store import Store
from features.formats import Row, Source, read

PAST = datetime(2026, 1, 1, tzinfo=UTC)


def dealing(share: float = 0.5, mode: str = "canary") -> Dealing:
    return Dealing("salt", (Step(PAST, share),), mode=mode)


@pytest.fixture
def store(make_bundle: Any, tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for name in ("first", "second", "third"):
        store.add(make_bundle(name))
    store.promote("first", at="2026-01-01", reason="the first")
    return store


def arms(router: Router, n: int = 60) -> set[str]:
    return {router.route("x", session_id=f"s{i}").arm for i in range(n)}


def rows(path: Path) -> list[Any]:
    source = Source("shop", datetime.now(UTC) + timedelta(hours=1))
    found = []
    for file in sorted(path.glob("*.jsonl")):
        with file.open("rb") as stream:
            events = list(read("journal", stream, source))
        assert all(isinstance(event, Row) for event in events), events
        found += [event.interaction for event in events if isinstance(event, Row)]
    return found


def test_an_experiment_survives_its_file(store: Store) -> None:
    known = store.try_out("second", dealing(), at="2026-01-02", reason="better")
    assert store.experiment() == known == Experiment.from_json(known.to_json())
    assert store.stop_experiment()
    assert store.experiment() is None
    assert not store.stop_experiment()


def test_a_ramp_may_change_but_units_are_not_dealt_anew(store: Store) -> None:
    store.try_out("second", dealing(0.1), at="2026-01-02", reason="begin")
    assert store.try_out("second", dealing(0.5), at="2026-01-03", reason="more").start == "2026-01-02"
    with pytest.raises(StoreError, match="deals anew"):
        store.try_out("second", replace(dealing(), salt="other"), at="2026-01-03", reason="x")
    with pytest.raises(StoreError, match="stop that experiment first"):
        store.try_out("third", dealing(), at="2026-01-03", reason="x")
    with pytest.raises(StoreError, match="another bundle as champion"):
        store.try_out("first", dealing(), at="2026-01-03", reason="x")


def test_the_follower_starts_ramps_and_stops_an_experiment(store: Store) -> None:
    with Router.follow(store, every_seconds=60) as router:
        follower = router._follower
        assert follower is not None
        assert arms(router) == {CHAMPION}
        store.try_out("second", dealing(0.5), at="2026-01-02", reason="x")
        assert follower.look(router.swap)
        assert arms(router) == {CHAMPION, CHALLENGER}
        store.try_out("second", dealing(1.0), at="2026-01-02", reason="x")
        assert follower.look(router.swap)
        assert arms(router) == {CHALLENGER}
        store.stop_experiment()
        assert follower.look(router.swap)
        assert arms(router) == {CHAMPION}
        assert router.route("x").arm_probabilities is None


def test_a_promotion_ends_the_experiment_against_the_old_champion(store: Store) -> None:
    store.try_out("second", dealing(1.0), at="2026-01-02", reason="x")
    with Router.follow(store, every_seconds=60) as router:
        assert arms(router) == {CHALLENGER}, "an experiment that runs already is served from the first request on"
        store.promote("second", at="2026-01-03", reason="proven")
        assert router._follower is not None
        assert router._follower.look(router.swap)
        assert arms(router) == {CHAMPION}
        assert router.bundle.name == "second"


def test_a_bad_challenger_or_a_damaged_file_leaves_the_champion_alone(store: Store, caplog: Any) -> None:
    store.try_out("second", dealing(1.0), at="2026-01-02", reason="x")
    (store.folder("second") / "scorer.npz").unlink()
    with Router.follow(store, every_seconds=60) as router:
        follower = router._follower
        assert follower is not None
        assert arms(router) == {CHAMPION}
        assert "scorer.npz" in caplog.text
        (store.path / EXPERIMENT).write_text("{")
        assert not follower.look(router.swap)
        assert "no experiment" in caplog.text
        store.promote("third", at="2026-01-03", reason="still promoted")
        assert follower.look(router.swap)
        assert router.bundle.name == "third"


def test_a_challenger_is_loaded_beside_a_bundle(store: Store) -> None:
    first, second = store.folder("first"), store.folder("second")
    router = Router.load(first, challenger=second, share=0.5)
    assert arms(router) == {CHAMPION, CHALLENGER}
    assert {router.route("x", session_id="s").arm for _ in range(9)} == {router.route("x", session_id="s").arm}
    with pytest.raises(BundleError, match="needs a challenger"):
        Router.load(first, share=0.5)


def test_a_decision_is_explained_by_the_bundle_of_its_arm(store: Store, make_bundle: Any) -> None:
    store.add(make_bundle("bold", policy=Greedy()))
    router = Router.load(store.folder("first"), challenger=store.folder("bold"), share=0.5, seed=1)
    seen = {}
    for i in range(20):
        decision = router.route("x", session_id=f"s{i}")
        rows = router.explain(decision).rows
        assert {row.prediction.candidate: row.probability for row in rows if row.excluded is None} == dict(
            decision.probabilities
        )
        seen[decision.arm] = rows
    assert set(seen) == {CHAMPION, CHALLENGER}
    assert seen[CHAMPION] != seen[CHALLENGER]


def test_a_canary_is_journalled_and_comes_back_from_the_journal(store: Store, tmp_path: Path) -> None:
    router = Router.load(store.folder("first"), challenger=store.folder("second"), share=0.5, seed=1)
    decided = {}
    with Journal(tmp_path / "j") as journal:
        for i in range(20):
            decision = router.route("x", session_id=f"s{i}")
            decided[decision.decision_id] = decision
            with journal.attempt(decision):
                pass
    back = rows(tmp_path / "j")
    assert len(back) == 20
    for row in back:
        decision = decided[row.decision_id]
        assert (row.arm, row.arm_probability, row.unit) == (decision.arm, 0.5, decision.unit)
        assert row.arm_probabilities == decision.arm_probabilities
        assert row.marginal_propensity == decision.marginal_propensity
        assert row.bundle_sha256 == decision.bundle_sha256
    assert {row.arm for row in back} == {CHAMPION, CHALLENGER}


def test_a_shadow_is_journalled_after_the_answer_and_never_served(
    store: Store, make_bundle: Any, tmp_path: Path
) -> None:
    def made(name: str, mode: str | None) -> Router:
        router = Router(store.read("first"), seed=5)
        if mode:
            router.swap(router.bundle, Challenge(store.read(name), dealing(1.0, mode)))
        return router

    alone, shadowed = made("second", None), made("second", "shadow")
    with Journal(tmp_path / "j") as journal:
        for i in range(30):
            expected = alone.route("x", session_id=f"s{i}")
            decision = shadowed.route("x", session_id=f"s{i}")
            assert (decision.candidate, decision.propensity) == (expected.candidate, expected.propensity)
            assert (decision.arm, decision.arm_probability) == (CHAMPION, 1.0)
            with journal.attempt(decision):
                pass
    back = rows(tmp_path / "j")
    served = {row.request_id: row for row in back if row.purpose == "serve"}
    shadows = [row for row in back if row.purpose == "shadow"]
    assert len(served) == len(shadows) == 30
    digest = store.read("second").sha256
    for row in shadows:
        assert served[row.parent_request_id].messages == row.messages
        assert (row.arm, row.bundle_sha256, row.cost_usd, row.attempts) == (CHALLENGER, digest, None, ())
        assert row.propensity == row.probabilities[row.plan]


def test_a_shadow_that_fails_is_a_line_of_the_journal_and_nothing_else(store: Store, tmp_path: Path) -> None:
    router = Router(store.read("first"), seed=5)
    router.swap(router.bundle, Challenge(store.read("second"), dealing(1.0, "shadow")))
    assert router._trial is not None
    object.__setattr__(router._trial.challenger.bundle, "encoder", None)
    with Journal(tmp_path / "j") as journal, journal.attempt(router.route("x")):
        pass
    served, shadow = rows(tmp_path / "j")
    assert (served.status, served.purpose) == ("success", "serve")
    assert (shadow.status, shadow.error_type, shadow.purpose) == ("failure", "router_error", "shadow")
    assert "the challenger failed" in shadow.error_message


def test_an_arm_whose_bundle_cannot_is_served_by_the_other(store: Store, make_bundle: Any) -> None:
    lame = tuple(replace(candidate, tools=False) for candidate in make_bundle().candidates)
    rival = make_bundle("lame", candidates=lame)
    router = Router(store.read("first"), seed=1)
    router.swap(router.bundle, Challenge(rival, dealing(1.0)))
    decision = router.route("x", needs=Needs(tools=True))
    assert (decision.arm, decision.arm_probability) == (CHALLENGER, 1.0)
    assert decision.bundle_sha256 == router.bundle.sha256
    assert "the challenger's bundle could not" in decision.reason
    assert decision.marginal_propensity == pytest.approx(decision.propensity)
    with pytest.raises(RoutingError):
        router.route("x", allow=[])


def test_a_router_without_an_experiment_pays_nothing_for_shadows(store: Store) -> None:
    """The shadow is worked out by the journal: to route with one costs little more than without."""

    def seconds(mode: str | None) -> float:
        router = Router(store.read("first"), seed=5)
        if mode:
            router.swap(router.bundle, Challenge(store.read("second"), dealing(1.0, mode)))
        best = 1e9
        for _ in range(15):
            begun = time.perf_counter()
            for _ in range(20):
                router.route("x")
            best = min(best, time.perf_counter() - begun)
        return best

    assert seconds("shadow") < 1.5 * seconds(None)


def test_the_metadata_for_other_gateways_carries_the_experiment(store: Store) -> None:
    router = Router.load(store.folder("first"), challenger=store.folder("second"), share=0.5)
    known = json.loads(json.dumps(router.route("x", session_id="s").metadata()))
    assert known["unit"] == "s"
    assert set(known["arm_probabilities"]) == {CHAMPION, CHALLENGER}
    assert 0 < known["marginal_propensity"] <= 1
