"""Where the application names no model, what answers is the key: the bundle, its operating point, the arm."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beastmode import Bundle, Greedy, Objective, Price, Router
from beastmode.cache import Cache, CacheSettings, Memory, Miss, Sqlite
from beastmode.experiment import Challenge
from tests.beastmode.cache.parts import Dial
from tests.beastmode.conftest import CANDIDATES

MakeBundle = Callable[..., Bundle]


def candidate(miss: Miss) -> str:
    return miss.decision.candidate


def policy(miss: Miss) -> str:
    return miss.decision.policy


def test_a_dearer_operating_point_is_not_served_what_the_cheap_one_answered(
    tmp_path: Path, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(policy=Greedy())
    caches = [
        Cache([Memory(), Sqlite(tmp_path / "c.sqlite")], router=Router(bundle, quality_ratio=ratio))
        for ratio in (0.9, 0.99, 0.9)
    ]
    assert [cache.fetch("q", candidate).value for cache in caches] == ["small", "large", "small"]
    assert [cache.fetch("q", candidate).hit for cache in caches] == [True, True, True]
    assert [cache.fetch("q", candidate, model="assistant").value for cache in caches] == ["small"] * 3, "as it is named"
    for cache in caches:
        cache.close()


def test_an_objective_or_a_policy_of_its_own_is_another_key(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(policy=Greedy())
    others = [bundle, replace(bundle, objective=Objective(per_dollar=1)), replace(bundle, policy=Greedy(0, 0.5))]
    keys = {Cache([Memory()], router=Router(each)).question("q").key for each in others}
    assert len(keys) == 3
    assert Cache([Memory()], router=Router(make_bundle(policy=Greedy()))).question("q").key in keys, "not by identity"


def test_what_a_challenger_answered_ends_with_its_experiment(make_bundle: MakeBundle) -> None:
    champion, challenger = make_bundle("champion"), make_bundle("challenger")
    router = Router(champion, seed=0)
    router.swap(champion, Challenge.of(challenger, 1.0))
    cache = Cache([Memory()], router=router)
    assert cache.fetch("q", policy).value.startswith("challenger/")
    assert cache.fetch("q", policy).hit
    router.swap(champion)
    assert cache.fetch("q", policy).value.startswith("champion/")


@pytest.mark.parametrize("mode", ["canary", "shadow"])
def test_each_arm_has_its_answers_and_a_shadow_has_none(make_bundle: MakeBundle, mode: str) -> None:
    champion, challenger = make_bundle("champion"), make_bundle("challenger")
    challenge = Challenge.of(challenger, 0.5)
    router = Router(champion, seed=0)
    router.swap(champion, replace(challenge, dealing=replace(challenge.dealing, mode=mode)))
    cache = Cache([Memory()], router=router)
    told = [cache.fetch("q", policy, session_id=str(number)) for number in range(40)]
    arms = 2 if mode == "canary" else 1
    assert sum(not each.hit for each in told) == len({each.value for each in told}) == arms
    assert all(router.route("q", session_id=str(n)).policy == each.value for n, each in enumerate(told))
    # A request without a session is dealt anew each time: whichever arm it was, the answer is gone.
    cache.remove("q")
    assert not any(cache.get("q", session_id=str(number)) for number in range(40))


def test_a_question_made_once_is_never_answered_for_the_other_arm(make_bundle: MakeBundle) -> None:
    champion, challenger = make_bundle("champion"), make_bundle("challenger")
    router = Router(champion, seed=0)
    router.swap(champion, Challenge.of(challenger, 0.5))
    cache = Cache([Memory()], router=router)
    for number in range(60):
        # It keeps no session, so it is dealt anew at each fetch.
        question, arm = cache.question("q", session_id=str(number)), router.route("q", session_id=str(number)).policy
        cache.fetch(question, policy, refresh=True)
        held = cache.get(question)
        assert held is None or held.value == arm
    assert cache.get(question) is not None


def test_an_answer_of_another_bundle_than_was_looked_for_is_not_held_as_its_own(make_bundle: MakeBundle) -> None:
    first, second = make_bundle("one"), make_bundle("two")
    router = Router(first, seed=0)
    cache = Cache([Memory()], router=router)
    asking, go = threading.Event(), threading.Event()
    told: list[str] = []

    def failing(miss: Miss) -> str:
        asking.set()
        go.wait(10)
        raise ValueError("the application's own")

    def lead() -> None:
        with pytest.raises(ValueError, match="own"):
            cache.fetch("q", failing)

    leader = threading.Thread(target=lead)
    leader.start()
    assert asking.wait(10)
    follower = threading.Thread(target=lambda: told.append(cache.fetch("q", policy).value))
    follower.start()
    time.sleep(0.1)
    router.swap(second)
    go.set()
    leader.join()
    follower.join()
    assert told[0].startswith("two/"), "whoever waited is answered by what serves now"
    router.swap(first)
    assert cache.fetch("q", policy).value.startswith("one/")


def test_a_session_does_not_stay_with_a_candidate_that_a_hit_spared(dial: Dial, make_bundle: MakeBundle) -> None:
    price = Price(2.0, 8.0, cache_read_per_mtok=0.1)
    small, large, seer = CANDIDATES
    large = replace(large, price=price, cache_minimum_tokens=10)
    bundle = make_bundle(candidates=(small, large, seer), policy=Greedy(), objective=Objective(per_dollar=1))
    router = Router(bundle, remember_sessions=10)
    settings = CacheSettings(ttl_seconds=10_000, jitter=0, half_life_seconds=1000)
    cache = Cache([Memory()], settings, router=router, **dial.clocks())
    first = [{"role": "user", "content": "x" * 6000}]
    after = [*first, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "and?"}]
    cache.put(first, "held")
    dial.pass_(1)
    assert cache.fetch(first, candidate, session_id="s").hit
    assert router.route(after, session_id="s").sticky_from is None, "nobody was asked, and no prompt is cached"
    dial.pass_(5000)
    asked: Any = cache.fetch(first, candidate, session_id="t")
    assert (asked.hit, asked.value) == (False, "large")
    assert router.route(after, session_id="t").sticky_from == asked.decision.decision_id
