import logging
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate, Price
from beastmode.errors import BundleError, RoutingError, StoreError
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy, Greedy, Softmax
from beastmode.records import Needs, Request
from beastmode.router import Router
from beastmode.scorers import Constant
from beastmode.store import Store


@pytest.fixture
def bundle(make_bundle: Any) -> Bundle:
    return make_bundle()


def test_a_decision_holds_all_that_evaluates_it_later(bundle: Bundle, tmp_path: Path) -> None:
    written = bundle.write(tmp_path / "bundle")
    decision = Router.load(tmp_path / "bundle", seed=0, sha256=written.sha256).route("What is 2+2?", tenant="acme")
    assert decision.propensity == decision.probabilities[decision.plan.name]
    assert sum(decision.probabilities.values()) == pytest.approx(1)
    assert decision.bundle_sha256 == written.sha256
    assert [p.candidate for p in decision.predictions] == ["small", "large", "seer"]
    assert decision.predictions[2].latency_ms is None
    assert decision.predictions[2].cost_usd == pytest.approx(0.002)
    assert decision.request.tenant == "acme"
    assert decision.policy == "first/EpsilonGreedy"
    assert decision.candidate in decision.reason
    assert decision.metadata()["candidates"] == ["small", "large", "seer"]


def test_a_decision_tells_what_nine_answers_in_ten_lie_between(make_bundle: Any, nearby: Any) -> None:
    decision = Router(make_bundle(scorer=nearby), seed=0).route("Why is the sky blue?" * 20)
    input_tokens = decision.request.chars / 4
    small, large, seer = decision.predictions
    for known in (small, large, seer):
        lengths = (known.output_tokens_low, known.output_tokens_median, known.output_tokens_high)
        assert lengths == pytest.approx((np.exp(4.0), np.exp(4.8), np.exp(6.0)))
        assert (known.latency_ms_low, known.latency_ms_high) == pytest.approx(
            (known.latency_ms / 2, known.latency_ms * 2)
        )
        assert known.latency_ms_median == pytest.approx(known.latency_ms)
    assert large.cost_usd_low == pytest.approx((2.0 * input_tokens + 8.0 * np.exp(4.0)) / 1e6)
    assert large.cost_usd_high == pytest.approx((2.0 * input_tokens + 8.0 * np.exp(6.0)) / 1e6)
    assert seer.cost_usd_low == seer.cost_usd == seer.cost_usd_high
    assert decision.prediction is decision.predictions[("small", "large", "seer").index(decision.candidate)]


def test_what_was_never_observed_has_no_interval(bundle: Bundle) -> None:
    predictions = Router(bundle, seed=0).route("x").predictions
    assert predictions[2].output_tokens is None
    for known in predictions:
        assert known.output_tokens_low is known.output_tokens_median is known.output_tokens_high is None
        assert known.latency_ms_low is known.latency_ms_median is known.latency_ms_high is None
    # Its answers cost the same whatever their length.
    assert predictions[2].cost_usd_low == predictions[2].cost_usd_high == 0.002
    assert predictions[0].cost_usd is not None
    assert predictions[0].cost_usd_low is None


def test_predictions_are_a_sequence_that_is_written_once(bundle: Bundle) -> None:
    predictions = Router(bundle, seed=0).route("x").predictions
    assert len(predictions) == 3
    assert predictions[0] is predictions[0]
    assert predictions[1:] == tuple(predictions)[1:]
    assert predictions == Router(bundle, seed=1).route("x").predictions
    assert predictions == tuple(predictions)
    assert repr(predictions).startswith("(Prediction(candidate='small'")


def test_the_endpoint_is_what_a_client_needs(bundle: Bundle) -> None:
    router = Router(bundle)
    decision = router.route("hi", allow=["large"])
    assert decision.endpoint == router.endpoint("large")
    assert decision.endpoint.model == "large-2026"
    assert decision.endpoint.base_url == "https://large.example/v1"
    assert decision.endpoint.api_key_env == "LARGE_KEY"
    assert router.endpoint("small").model == "small"
    with pytest.raises(RoutingError, match="small, large, seer"):
        router.endpoint("tiny")


def test_messages_prompts_and_requests_are_routed_alike(bundle: Bundle) -> None:
    router = Router(bundle, seed=0)
    text = "Explain why the sky is blue."
    whole = Request.of(text)
    said = [router.route(given).predictions for given in (text, [{"role": "user", "content": text}], whole)]
    assert said[0] == said[1] == said[2]


def test_the_seed_reaches_the_draw(make_bundle: Any) -> None:
    bundle = make_bundle(policy=Softmax(1.0))
    draws = [[Router(bundle, seed=seed).route("x").candidate for _ in range(1)] for seed in range(30)]
    assert len({draw[0] for draw in draws}) == 3
    one, other = Router(bundle, seed=5), Router(bundle, seed=5)
    assert [one.route("x").candidate for _ in range(50)] == [other.route("x").candidate for _ in range(50)]


@pytest.mark.parametrize(
    ("needs", "prompt", "excluded"),
    [
        (Needs(), "hi", {}),
        (Needs(tools=True), "hi", {"seer": "lacks tools"}),
        (Needs(vision=True), "hi", {"small": "lacks vision", "large": "lacks vision"}),
        (Needs(), "x" * 10_000, {"small": "context of 2000 tokens is under the 2500 needed"}),
        (Needs(output_tokens=1990), "x" * 100, {"small": "context of 2000 tokens is under the 2015 needed"}),
    ],
)
def test_who_cannot_serve_is_excluded_with_a_reason(
    bundle: Bundle, needs: Needs, prompt: str, excluded: dict[str, str]
) -> None:
    decision = Router(bundle, seed=0).route(prompt, needs=needs)
    assert decision.excluded == excluded
    assert set(decision.probabilities) == {"small", "large", "seer"} - set(excluded)
    assert decision.candidate not in excluded
    assert sum(decision.probabilities.values()) == pytest.approx(1)


def test_a_quality_floor_excludes_who_is_predicted_under_it(make_bundle: Any) -> None:
    """The best by utility would be `seer` here, at any quality."""
    bundle = make_bundle(objective=Objective(per_dollar=1e4, quality_floor=0.75), policy=EpsilonGreedy(0.5, Greedy()))
    router = Router(bundle, seed=0)
    decision = router.route("x")
    assert (decision.candidate, decision.probabilities) == ("large", {"large": 1.0})
    assert decision.excluded["small"] == "predicted quality 0.600 is under the floor of 0.75"
    np.testing.assert_array_equal(bundle.probabilities(["x"]), [[0, 1, 0]])
    assert set(router.route("x", allow=["small", "seer"]).probabilities) == {"small", "seer"}, "nobody reaches it"


def test_the_allow_list(bundle: Bundle) -> None:
    router = Router(bundle, seed=0)
    assert {router.route("x", allow={"small", "seer"}).candidate for _ in range(60)} == {"small", "seer"}
    alone = router.route("x", allow=["small"])
    assert (alone.candidate, alone.propensity) == ("small", 1.0)
    assert alone.reason == "small: the only eligible candidate"
    with pytest.raises(RoutingError, match="unknown candidate 'tiny'"):
        router.route("x", allow=["tiny"])
    with pytest.raises(RoutingError, match=r"small: lacks vision; large: not on the allow list.*relax"):
        router.route("x", allow=["small"], needs=Needs(vision=True))


def test_frequencies_follow_the_logged_probabilities(bundle: Bundle) -> None:
    router = Router(bundle, seed=1)
    n = 4000
    counts: dict[str, int] = {}
    for _ in range(n):
        decision = router.route("x")
        counts[decision.candidate] = counts.get(decision.candidate, 0) + 1
    for name, chance in decision.probabilities.items():
        assert abs(counts[name] - n * chance) < 5 * np.sqrt(n * chance * (1 - chance))


def reason_of(make_bundle: Any, policy: Any, draws: int = 200, **known: Any) -> set[str]:
    router = Router(make_bundle(policy=policy, **known), seed=2)
    return {router.route("x" * 40).reason.split(",")[0] for _ in range(draws)}


def test_reasons_say_why(make_bundle: Any) -> None:
    assert reason_of(make_bundle, Greedy(), 3) == {"large: highest utility 0.776"}
    stays = reason_of(make_bundle, Greedy(incumbent=2, margin=0.5), 3)
    assert stays == {"seer: the incumbent stays"}
    explored = reason_of(make_bundle, EpsilonGreedy(0.5, Greedy()))
    assert explored == {
        "large: highest utility 0.776",
        "small: explored with probability 0.167",
        "seer: explored with probability 0.167",
    }


def test_an_unpriced_candidate_never_wins_on_money(make_bundle: Any) -> None:
    candidates = (Candidate("a"), Candidate("b", price=Price(1, 1)), Candidate("c", price=Price(1, 1)))
    decision = Router(make_bundle(candidates=candidates, policy=Greedy())).route("x")
    assert decision.candidate == "b"
    assert decision.predictions[0].cost_usd is None
    router = Router(make_bundle(candidates=candidates, policy=Greedy(), objective=Objective()))
    assert router.route("x").candidate == "b", "without a price of money, quality decides"
    free = Router(make_bundle(candidates=candidates[:1] * 1, scorer=Constant(*np.ones((3, 1))), policy=Greedy()))
    assert free.route("x").candidate == "a"


def test_without_being_asked_to_no_session_is_remembered(make_bundle: Any) -> None:
    router = Router(make_bundle(policy=Softmax(1.0)), seed=3)
    turns = [router.route("x", session_id="s") for _ in range(40)]
    assert len({turn.candidate for turn in turns}) == 3
    assert all(turn.propensity is not None and turn.sticky_from is None for turn in turns)


def test_an_operating_point_by_the_quality_it_keeps(bundle: Bundle, tmp_path: Path) -> None:
    router = Router(bundle, seed=0).at(quality_ratio=0.95)
    assert router.bundle.objective.per_dollar == 20.0
    bundle.write(tmp_path / "bundle")
    assert Router.load(tmp_path / "bundle", quality_ratio=0.9).bundle.objective.per_dollar == 100.0
    with pytest.raises(BundleError, match=r"0\.9, 0\.99"):
        router.at(quality_ratio=1.0)


def test_threads_may_share_a_router(bundle: Bundle) -> None:
    router = Router(bundle, seed=4)
    with ThreadPoolExecutor(8) as pool:
        decisions = list(pool.map(lambda i: router.route(f"prompt {i}"), range(400)))
    assert len({decision.decision_id for decision in decisions}) == 400
    assert all(decision.propensity == decision.probabilities[decision.plan.name] for decision in decisions)


def draws(router: Router, queue: Any) -> None:
    queue.put("".join(router.route("x").candidate[0] + router.route("x").candidate[1] for _ in range(60)))


def test_forked_children_draw_for_themselves(make_bundle: Any) -> None:
    router = Router(make_bundle(policy=Softmax(1.0)), seed=5)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=draws, args=(router, queue)) for _ in range(3)]
    for child in children:
        child.start()
    seen = {queue.get(timeout=30) for _ in children}
    for child in children:
        child.join()
    assert len(seen) == 3


def test_loading_says_what_is_wrong_with_the_place(bundle: Bundle, tmp_path: Path, caplog: Any) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        Router.load(tmp_path / "nowhere")
    Store(tmp_path / "store").add(bundle)
    with pytest.raises(StoreError, match="no champion yet"):
        Router.load(tmp_path / "store")
    with caplog.at_level(logging.WARNING, "beastmode"):
        Router.load(tmp_path / "store" / "bundles" / "first")
    assert "unverified manifest" in caplog.text
    caplog.clear()
    Store(tmp_path / "store").promote("first", at="1", reason="a")
    with caplog.at_level(logging.WARNING, "beastmode"):
        assert Router.load(tmp_path / "store").bundle.verified
    assert caplog.text == ""


def wait_for(condition: Any, seconds: float = 20) -> None:
    """Wait until a condition holds; the limit only ends a test that has failed."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


@pytest.fixture
def store(make_bundle: Any, tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for name in ("first", "second", "third"):
        store.add(make_bundle(name))
    store.promote("first", at="1", reason="a")
    return store


def test_a_follower_serves_the_next_champion(store: Store) -> None:
    with Router.follow(store.path, every_seconds=0.02) as router:
        assert router.bundle.name == "first"
        store.promote("second", at="2", reason="b")
        wait_for(lambda: router.bundle.name == "second")
        assert router.route("x").policy.startswith("second/")
        store.rollback("3", "errors")
        wait_for(lambda: router.bundle.name == "first")
    store.promote("third", at="4", reason="c")
    time.sleep(0.1)
    assert router.bundle.name == "first", "a closed router stays where it is"
    assert router.route("x").candidate in ("small", "large", "seer")


def test_a_bad_champion_leaves_the_last_good_one_and_is_reported_once(store: Store, caplog: Any) -> None:
    with Router.follow(store, every_seconds=0.02) as router:
        store.promote("second", at="2", reason="b")
        wait_for(lambda: router.bundle.name == "second")
        with caplog.at_level(logging.WARNING, "beastmode"):
            with (store.folder("third") / "scorer.npz").open("ab") as file:
                file.write(b"x")
            store.promote("third", at="3", reason="c")
            wait_for(lambda: "last good bundle" in caplog.text)
            time.sleep(0.2)
            assert router.bundle.name == "second"
            (store.path / "champion.json").write_text("{")
            wait_for(lambda: "no pointer" in caplog.text)
        assert caplog.text.count("scorer.npz") == 1
        assert router.route("x").policy.startswith("second/")
        (store.path / "champion.json").unlink()
        store.promote("first", at="4", reason="d")
        wait_for(lambda: router.bundle.name == "first")


def test_a_follower_needs_a_good_champion_to_begin_with(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no champion yet"):
        Router.follow(tmp_path / "empty")
    with pytest.raises(StoreError, match="every_seconds"):
        Router.follow(store, every_seconds=0)


def test_a_follower_keeps_its_operating_point(store: Store) -> None:
    with Router.follow(store, every_seconds=0.02, quality_ratio=0.99) as router, router.at(0.9) as cheap:
        store.promote("second", at="2", reason="b")
        wait_for(lambda: router.bundle.name == cheap.bundle.name == "second")
        assert router.bundle.objective.per_dollar == 20.0
        assert cheap.bundle.objective.per_dollar == 100.0


def test_requests_never_see_half_a_swap(make_bundle: Any) -> None:
    """Swap under fire between bundles of different width: each decision belongs wholly to one of them."""
    two = make_bundle("two", scorer=Constant(*np.ones((3, 2))), candidates=(Candidate("a"), Candidate("b")),
                      policy=Softmax(1.0), objective=Objective())  # fmt: skip
    three = make_bundle("three")
    router = Router(three, seed=6)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            router.swap(two)
            router.swap(three)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            decision = router.route("x")
            assert (len(decision.probabilities), decision.policy[:3]) in ((2, "two"), (3, "thr"))
    finally:
        stop.set()
        thread.join()


def followed(router: Router, store: Path, queue: Any) -> None:
    router.route("x")
    wait_for(lambda: router.bundle.name == "second")
    queue.put(router.bundle.name)


def test_a_forked_child_follows_too(store: Store) -> None:
    with Router.follow(store, every_seconds=0.02) as router:
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=followed, args=(router, store.path, queue))
        child.start()
        store.promote("second", at="2", reason="b")
        assert queue.get(timeout=30) == "second"
        child.join()


def served(router: Router, queue: Any) -> None:
    def goes() -> bool:
        try:
            return bool(router.route("x" * 100))
        except RoutingError:
            return False

    wait_for(goes)
    queue.put("served")


def test_a_forked_child_that_can_serve_nobody_follows_to_what_can(make_bundle: Any, tmp_path: Path) -> None:
    """It drew nothing so far, and it was the first draw that began to follow."""
    store = Store(tmp_path / "store")
    store.add(make_bundle("tiny", candidates=[replace(each, context_tokens=1) for each in make_bundle().candidates]))
    store.add(make_bundle("mended"))
    store.promote("tiny", at="1", reason="a")
    with Router.follow(store, every_seconds=0.02) as router:
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=served, args=(router, queue))
        child.start()
        store.promote("mended", at="2", reason="b")
        assert queue.get(timeout=30) == "served"
        child.join()


def test_a_decision_is_explained_by_what_was_known_when_it_was_made(make_bundle: Any) -> None:
    """Once it is made, the session is where it went: the same question asked again is another one."""
    price = Price(2.0, 8.0, cache_read_per_mtok=0.1)
    candidates = [replace(each, price=price) if each.name == "large" else each for each in make_bundle().candidates]
    bundle = make_bundle(candidates=candidates, policy=Greedy(), objective=Objective(per_dollar=60.0))
    router = Router(bundle, remember_sessions=1)
    said = [{"role": "user", "content": "x" * 6000}]
    router.route(said, session_id="s", allow=["large"])
    said += [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "and?"}]
    decision = router.route(said, session_id="s")
    assert decision.sticky_from is not None
    assert router.explain(decision.request).preferred != decision.candidate
    assert router.explain(decision).preferred == decision.candidate
    with pytest.raises(RoutingError, match="leave them out"):
        router.explain(decision, deny=["small"])
    router.swap(make_bundle("other"))
    with pytest.raises(BundleError, match="serves no more"):
        router.explain(decision)


def test_an_explanation_says_what_would_have_to_change(make_bundle: Any, nearby: Any) -> None:
    bundle = make_bundle(scorer=nearby, policy=Greedy(incumbent=1, margin=0.01))
    router = Router(bundle)
    text = "Explain why the sky is blue to a child of six, please."
    explanation = router.explain(text)
    assert explanation.preferred == router.route(text).candidate
    best = next(row for row in explanation.rows if row.prediction.candidate == explanation.preferred)
    assert best.probability == 1.0
    for row in explanation.rows:
        if row.per_dollar is None:
            continue
        for factor, wins in ((0.999, False), (1.001, True)):
            # On the far side of the price at which it flips, the other is chosen over the preferred one.
            towards = factor if row.per_dollar > bundle.objective.per_dollar else 2 - factor
            moved = make_bundle(
                scorer=nearby, policy=bundle.policy, objective=Objective(per_dollar=row.per_dollar * towards)
            )
            pair = [explanation.preferred, row.prediction.candidate]
            chosen = Router(moved).route(text, allow=pair).candidate
            assert (chosen == row.prediction.candidate) is wins
    text_lines = str(explanation)
    assert f"{best.prediction.latency_ms_low:.0f}..{best.prediction.latency_ms_high:.0f}" in text_lines
    assert f"{best.prediction.cost_usd_low:.6f}..{best.prediction.cost_usd_high:.6f}" in text_lines
    assert explanation.to_json()["rows"][0]["prediction"]["output_tokens_high"] == pytest.approx(np.exp(6.0))
    assert "flips at" in text_lines
    assert "incumbent: large, left only for more than 0.0100" in text_lines
    assert "mean" in explanation.contributions


def test_the_gap_is_what_a_candidate_would_have_to_gain(make_bundle: Any) -> None:
    scorer = Constant(np.array([0.70, 0.695, 0.60]), np.full(3, 100.0), np.full(3, 100.0))
    free = tuple(Candidate(name, price=Price(per_request=0)) for name in "abc")
    bundle = make_bundle(scorer=scorer, candidates=free, policy=Greedy(incumbent=1, margin=0.01))
    rows = {row.prediction.candidate: row for row in Router(bundle).explain("x").rows}
    assert rows["b"].gap == 0.0, "the incumbent stays"
    assert rows["a"].gap == pytest.approx(0.005)
    assert rows["c"].gap == pytest.approx(0.105)
    lifted = Constant(np.array([0.7051, 0.695, 0.60]), np.full(3, 100.0), np.full(3, 100.0))
    assert Router(make_bundle(scorer=lifted, candidates=free, policy=bundle.policy)).route("x").candidate == "a"


def test_an_excluded_candidate_is_explained_as_such(bundle: Bundle) -> None:
    explanation = Router(bundle).explain("x", needs=Needs(tools=True))
    assert explanation.rows[-1].prediction.candidate == "seer"
    assert explanation.rows[-1].excluded == "lacks tools"
    assert explanation.rows[-1].gap is None
    assert "excluded: seer, lacks tools" in str(explanation)


def test_fields_beside_a_request_take_the_place_of_its_own(make_bundle) -> None:
    decision = Router(make_bundle(), 1).route(Request.of("hi"), needs=Needs(vision=True))
    assert decision.candidate == "seer"
    with pytest.raises(TypeError):
        Request.of(Request.of("hi"), nonsense=1)


def test_of_equals_the_first_is_taken_and_that_is_no_exploration(make_bundle) -> None:
    from beastmode.candidates import Candidate, Price
    from beastmode.scorers import Constant

    two = tuple(Candidate(name, price=Price(1, 1)) for name in "ab")
    scorer = Constant(np.array([0.5, 0.5]), np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    router = Router(make_bundle(candidates=two, scorer=scorer, policy=Greedy(), operating_points=()))
    assert "highest utility" in router.route("q").reason
