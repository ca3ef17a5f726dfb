"""Answers to other questions of the same meaning, with a static encoder fitted on a handful of texts."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from beastmode import Journal
from beastmode.cache import Cache, CacheSettings, Cosine, Flat, Memory, Partition, Question, Semantic
from beastmode.cache.reading import read
from beastmode.encoding import Encoder
from beastmode.errors import CacheError
from models.encoders import EncoderSettings, fit
from tests.beastmode.cache.parts import Dial, Model
from tests.pipelines.test_tune_cache import judge

SUBJECTS = ("password", "invoice", "refund", "delivery", "account", "subscription", "address", "receipt", "order")
TEXTS = [
    f"{how} my {subject}{end}"
    for subject in SUBJECTS
    for how in ("How do I change", "Please cancel", "Where can I find", "I want to see")
    for end in ("?", " please", " today", "")
]


def bare(text: str) -> set[str]:
    return set(text.lower().replace("?", "").split()) - {"please", "today"}


class Alike:
    """A verifier that accepts what has the same words but for those that carry no meaning."""

    threshold = 0.9

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def accepts(self, question: str, stored_question: str, cosine: float) -> float:
        self.asked.append((question, stored_question))
        return float(bare(question) == bare(stored_question))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    texts = TEXTS * 3
    return fit(texts, [str(number) for number in range(len(texts))], EncoderSettings(), seed=0)


def caches(encoder: Encoder, dial: Dial, **known: Any) -> tuple[Cache, Semantic]:
    semantic = Semantic(encoder, Alike(), **{"quarantine_seconds": 60, "canary_share": 0.0, **known})
    return Cache([Memory(), semantic], CacheSettings(ttl_seconds=1000, jitter=0), seed=0, **dial.clocks()), semantic


ASKED, OTHER = "How do I change my password?", "How do I change my password please"


def test_another_wording_is_served_within_the_partition_only(encoder: Encoder, dial: Dial, model: Model) -> None:
    cache, _ = caches(encoder, dial, quarantine_seconds=0)
    cache.fetch(ASKED, model, model="m")
    answer = cache.fetch(OTHER, model, model="m")
    assert (answer.tier, answer.value, answer.question, answer.score) == ("semantic", f"{ASKED} #1", ASKED, 1.0)
    for scope in ({"model": "m2"}, {"model": "m", "tenant": "t"}, {"model": "m", "parameters": {"temperature": 1}}):
        assert not cache.fetch(OTHER, model, **scope).hit
    assert cache.get("How do I change my address?", model="m") is None


def test_the_best_candidate_counts_not_the_nearest(encoder: Encoder, dial: Dial) -> None:
    cache, semantic = caches(encoder, dial, quarantine_seconds=0, candidates=8, floor=0.0)
    for text in ("How do I change my invoice?", ASKED, "Please cancel my password?"):
        cache.put(text, text, model="m")
    answer = cache.get("how do i change my password today", model="m")
    assert answer is not None
    assert answer.value == ASKED
    assert len(semantic._verifier.asked) == 3  # type: ignore[attr-defined]


def test_a_new_entry_is_in_quarantine_until_others_confirm_it_or_it_is_old(encoder: Encoder, dial: Dial) -> None:
    cache, _ = caches(encoder, dial, confirmations=2)

    def ask(text: str, unit: str) -> Any:
        return cache.get(text, model="m", unit=unit)

    cache.put(ASKED, "a", model="m", unit="author")
    assert ask(OTHER, "x") is None
    for unit in ("author", "one", "one", "author"):
        assert ask(ASKED, unit) is not None
    assert ask(OTHER, "x") is None, "the author and one other are not two others"
    ask(ASKED, "two")
    assert ask(OTHER, "x") is not None
    cache.put("Please cancel my order", "b", model="m", unit="author")
    assert ask("please cancel my order today", "x") is None
    dial.pass_(61)
    assert ask("please cancel my order today", "x") is not None


def test_another_answer_to_the_same_question_begins_quarantine_anew(encoder: Encoder, dial: Dial) -> None:
    cache, _ = caches(encoder, dial, confirmations=1)
    cache.put(ASKED, "a", model="m", unit="author")
    cache.get(ASKED, model="m", unit="other")
    assert cache.get(OTHER, model="m") is not None
    dial.pass_(1)
    cache.put(ASKED, "poison", model="m", unit="author")
    assert cache.get(OTHER, model="m") is None


def test_what_died_or_was_invalidated_is_not_served_and_leaves_the_index(encoder: Encoder, dial: Dial) -> None:
    cache, semantic = caches(encoder, dial, quarantine_seconds=0)
    cache.put(ASKED, "a", model="m", ttl_seconds=10)
    cache.put("Please cancel my order", "b", model="m", tags=("orders",))
    dial.pass_(11)
    assert cache.get(OTHER, model="m") is None
    cache.invalidate(tag="orders")
    assert cache.get("please cancel my order today", model="m") is None
    assert len(semantic) == 0


def test_a_share_of_the_hits_asks_the_model_all_the_same(encoder: Encoder, dial: Dial, model: Model) -> None:
    cache, semantic = caches(
        encoder,
        dial,
        quarantine_seconds=0,
        canary_share=0.25,
        agree=lambda old, new: old.split()[:6] == new.split()[:6],
    )
    cache.fetch(ASKED, model, model="m")
    asked = [cache.fetch(f"{ASKED.lower()[:-1]}{' please' * number}", model, model="m").hit for number in range(200)]
    assert 25 < semantic.canary.asked < 80
    assert asked.count(False) == semantic.canary.asked == len(model.calls) - 1
    assert 0 < semantic.canary.agreed <= semantic.canary.asked


def first_line(held: str, new: str) -> bool:
    return bare(held.split(" #")[0]) == bare(new.split(" #")[0])


def journalled(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


@pytest.mark.parametrize(("agree", "agreed"), [(first_line, 1.0), (lambda held, new: held == new, 0.0)])
def test_a_canary_is_journalled_with_both_questions_the_score_and_whether_the_answers_agree(
    encoder: Encoder, dial: Dial, model: Model, tmp_path: Path, agree: Any, agreed: float
) -> None:
    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=1.0, agree=agree)
    with Journal(tmp_path) as journal:
        cache = Cache([Memory(), semantic], journal=journal, seed=0, **dial.clocks())
        cache.fetch([{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASKED}], model, model="m")
        answer = cache.fetch(
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": OTHER}], model, model="m"
        )
    assert not answer.hit
    begun = {line["request_id"]: line for line in journalled(tmp_path) if line["kind"] == "begin"}
    ended = {line["request_id"]: line for line in journalled(tmp_path) if line["kind"] == "end"}
    (word,) = [line for line in journalled(tmp_path) if line["kind"] == "feedback"]
    assert (word["signal"], word["value"], word["source"]) == ("canary", agreed, "cache")
    row = begun[word["request_id"]]
    assert (row["purpose"], row["plan"]) == ("judge", "cache")
    assert [message["content"] for message in row["messages"]] == ["Be brief.", ASKED]
    assert begun[row["parent_request_id"]]["messages"][-1]["content"] == OTHER
    assert row["predictions"] == [{"candidate": "cache", "quality": 1.0, "cost_usd": 0.0}]
    assert "propensity" not in row
    assert ended[row["request_id"]]["cache_tier"] == "semantic"
    assert ended[row["request_id"]]["cost_usd"] == 0.0
    assert "cache_tier" not in ended[row["parent_request_id"]]


def test_a_canary_s_row_counts_what_the_tier_was_asked_and_had_an_answer_for(
    encoder: Encoder, dial: Dial, model: Model, tmp_path: Path
) -> None:
    """Each request once, and none that an exact tier answered, that was fetched anew, or that a prefill made."""
    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=0.0)
    with Journal(tmp_path) as journal:
        cache = Cache([Memory(), semantic], journal=journal, seed=0, **dial.clocks())

        def ask(text: str, **known: Any) -> None:
            cache.fetch(text, model, model="m", context={"task": "help"}, **known)

        for _ in range(3):
            ask(ASKED)  # One miss, then the memory has it.
        ask(OTHER)  # A hit,
        ask("Please cancel my order")  # a miss,
        ask("Where can I find my invoice", purpose="warm")
        ask(ASKED, refresh=True)
        semantic.canary_share, model.error = 1.0, ConnectionRefusedError("no")
        ask(OTHER)  # a hit, though the model fails on its canary, with two rows in the journal,
        model.error = None
        ask(OTHER)  # and one more, that tells.
        ask("please cancel my order today")
    rows = [line["context"] for line in journalled(tmp_path) if line.get("purpose") == "judge"]
    assert rows == [
        {"task": "help", "semantic_requests": "5", "semantic_hits": "3"},
        {"task": "help", "semantic_requests": "1", "semantic_hits": "1"},
    ]


def test_a_journal_without_prompts_keeps_the_texts_of_a_canary_out_too(
    encoder: Encoder, dial: Dial, model: Model, tmp_path: Path
) -> None:
    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=1.0, agree=first_line)
    with Journal(tmp_path, prompts=False) as journal:
        cache = Cache([Memory(), semantic], journal=journal, seed=0, **dial.clocks())
        for text in (ASKED, OTHER):
            cache.fetch(text, model, model="m")
    assert [line["value"] for line in journalled(tmp_path) if line["kind"] == "feedback"] == [1.0]
    assert "password" not in "".join(file.read_text() for file in tmp_path.glob("*.jsonl"))


def test_an_agree_that_fails_costs_no_request_and_counts_for_nothing(
    encoder: Encoder, dial: Dial, model: Model, tmp_path: Path
) -> None:
    def broken(held: Any, new: Any) -> bool:
        raise ZeroDivisionError

    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=1.0, agree=broken)
    with Journal(tmp_path) as journal:
        cache = Cache([Memory(), semantic], journal=journal, seed=0, **dial.clocks())
        for text in (ASKED, OTHER):
            assert cache.fetch(text, model, model="m").value.startswith(text)
    assert semantic.canary.asked == 0
    assert not [line for line in journalled(tmp_path) if line["kind"] == "feedback" or line.get("purpose") == "judge"]


def test_a_model_that_fails_on_a_canary_costs_nobody_the_hit(
    encoder: Encoder, dial: Dial, model: Model, tmp_path: Path
) -> None:
    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=1.0)
    with Journal(tmp_path) as journal:
        cache = Cache([Memory(), semantic], journal=journal, seed=0, **dial.clocks())
        cache.fetch(ASKED, model, model="m")
        model.error = ConnectionRefusedError("no")
        answer = cache.fetch(OTHER, model, model="m")
    assert (answer.tier, answer.value) == ("semantic", f"{ASKED} #1")
    told = [(line["status"], line.get("cache_tier")) for line in journalled(tmp_path) if line["kind"] == "end"]
    assert told == [("success", None), ("failure", None), ("success", "semantic")]
    assert semantic.canary.asked == 0


def fails_at_once(miss: Any) -> Any:
    raise ConnectionRefusedError("no")


def fails_on_the_way(miss: Any) -> Iterator[str]:
    yield "It would "
    raise ConnectionResetError("gone")


async def fails_in_a_loop(miss: Any) -> AsyncIterator[str]:
    yield "It would "
    raise ConnectionResetError("gone")


async def collected(stream: Any) -> list[Any]:
    async with stream:
        return [chunk async for chunk in stream]


@pytest.mark.parametrize("fails", [fails_at_once, fails_on_the_way])
@pytest.mark.parametrize("loop", [False, True], ids=["threads", "event loop"])
def test_a_stream_that_fails_on_a_canary_costs_nobody_the_hit(
    encoder: Encoder, dial: Dial, tmp_path: Path, fails: Any, loop: bool
) -> None:
    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=1.0)
    with Journal(tmp_path) as journal:
        cache = Cache([Memory(), semantic], journal=journal, seed=0, **dial.clocks())
        with cache.stream(ASKED, lambda miss: iter(["It ", "costs ", "nine."]), model="m") as stream:
            list(stream)
        dial.pass_(5)
        if loop:
            failing = fails if fails is fails_at_once else fails_in_a_loop
            asyncs = cache.astream(OTHER, failing, model="m")
            assert asyncio.run(collected(asyncs)) == ["It ", "costs ", "nine."]
            answer = asyncs.answer
        else:
            with cache.stream(OTHER, fails, model="m") as stream:
                assert list(stream) == ["It ", "costs ", "nine."]
            answer = stream.answer
    assert answer is not None
    assert (answer.tier, answer.question, answer.age_seconds) == ("semantic", ASKED, 5.0)
    ends = [line for line in journalled(tmp_path) if line["kind"] == "end"]
    told = [(line["status"], line.get("error_type"), line.get("cache_tier")) for line in ends]
    error = "provider_connection_refused" if fails is fails_at_once else "provider_connection_lost"
    assert told == [("success", None, None), ("failure", error, None), ("success", None, "semantic")]
    assert ends[1]["request_id"] == ends[2]["request_id"]
    assert semantic.canary.asked == 0


def test_who_cancels_a_stream_on_a_canary_or_leaves_it_unread_gets_no_answer(
    encoder: Encoder, dial: Dial, tmp_path: Path
) -> None:
    def interrupted(miss: Any) -> Iterator[str]:
        yield "It would "
        raise KeyboardInterrupt

    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=1.0)
    with Journal(tmp_path) as journal:
        cache = Cache([Memory(), semantic], journal=journal, seed=0, **dial.clocks())
        cache.put(ASKED, "nine", model="m")
        with pytest.raises(KeyboardInterrupt), cache.stream(OTHER, interrupted, model="m") as stream:
            list(stream)
        with pytest.raises(ZeroDivisionError), cache.stream(OTHER, interrupted, model="m") as stream:
            raise ZeroDivisionError
    assert stream.answer is None
    assert not [line for line in journalled(tmp_path) if line.get("cache_tier")]


def test_a_failure_on_a_canary_is_held_for_nobody(encoder: Encoder, dial: Dial, model: Model) -> None:
    """Others who ask the same meanwhile, or right after, have the hit, as they would have without the canary."""
    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=1.0)
    cache = Cache([Memory(), semantic], seed=0, **dial.clocks())
    cache.fetch(ASKED, model, model="m")
    model.error, model.seconds = ConnectionRefusedError("no"), 0.05
    got: list[Any] = []

    def ask() -> None:
        got.append(cache.fetch(OTHER, model, model="m").value)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    semantic.canary_share = 0.0
    ask()
    assert got == [f"{ASKED} #1"] * 5


def test_a_router_that_has_nobody_to_ask_on_a_canary_costs_nobody_the_hit(
    encoder: Encoder, dial: Dial, make_bundle: Callable[..., Any]
) -> None:
    from beastmode import Needs, Router

    semantic = Semantic(encoder, Alike(), quarantine_seconds=0, canary_share=1.0)
    cache = Cache([Memory(), semantic], router=Router(make_bundle(), 0), **dial.clocks())
    cache.put(ASKED, "nine", model="m")
    answer = cache.fetch(OTHER, fails_at_once, model="m", needs=Needs(budget_usd=1e-12))
    assert (answer.tier, answer.value) == ("semantic", "nine")


def test_a_streamed_canary_is_compared_as_one_text_wherever_it_was_cut(encoder: Encoder, dial: Dial) -> None:
    cuts = iter([("It costs", " nine."), ("It ", "costs ", "nine.")])
    compared: list[tuple[Any, Any]] = []

    def agree(held: Any, new: Any) -> bool:
        compared.append((held, new))
        return bool(held == new)

    cache, semantic = caches(encoder, dial, quarantine_seconds=0, canary_share=1.0, agree=agree)
    for text in (ASKED, OTHER):
        with cache.stream(text, lambda miss: iter(next(cuts)), model="m") as stream:
            assert "".join(stream) == "It costs nine."
    assert compared == [("It costs nine.", "It costs nine.")]
    assert (semantic.canary.asked, semantic.canary.agreed) == (1, 1)


def test_a_verifier_that_serves_nothing_costs_no_embedding(encoder: Encoder, dial: Dial) -> None:
    class Never(Alike):
        threshold = float("inf")

    semantic = Semantic(encoder, Never(), quarantine_seconds=0)
    cache = Cache([Memory(), semantic], **dial.clocks())
    question = Question(Partition("m"), ASKED)
    cache.put(question, "a")
    assert not semantic.holds(question.partition)
    assert cache.looker.embed(Question(question.partition, OTHER)) is None


def test_all_candidates_are_scored_in_one_call_where_the_verifier_can(encoder: Encoder, dial: Dial) -> None:
    class Several(Alike):
        calls = 0

        def scores(self, pairs: Sequence[tuple[str, str, float]]) -> list[float]:
            self.calls += 1
            return [self.accepts(*pair) for pair in pairs]

    verifier = Several()
    semantic = Semantic(encoder, verifier, quarantine_seconds=0, candidates=8, floor=0.0)
    cache = Cache([Memory(), semantic], **dial.clocks())
    for text in ("How do I change my invoice?", ASKED, "Please cancel my password?"):
        cache.put(text, text, model="m")
    answer = cache.get("how do i change my password today", model="m")
    assert answer is not None
    assert (answer.value, verifier.calls, len(verifier.asked)) == (ASKED, 1, 3)


def test_the_oldest_questions_go_where_there_are_too_many(encoder: Encoder, dial: Dial) -> None:
    cache, semantic = caches(encoder, dial, most=10, quarantine_seconds=0)
    for text in TEXTS[:30]:
        cache.put(text, "a", model="m")
    assert len(semantic) == 10
    assert len(semantic._partitions[cache.question("q", model="m").partition.digest]) == 10


def test_threads_and_nonsense_do_not_disturb_it(encoder: Encoder, dial: Dial) -> None:
    cache, semantic = caches(encoder, dial, most=40, quarantine_seconds=0)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(80):
            text = TEXTS[rng.integers(len(TEXTS))]
            cache.put(text, text, model="m", tenant=str(seed % 2))
            found = cache.get(text.lower(), model="m", tenant=str(seed % 2))
            if found is not None and bare(found.value) != bare(text):
                wrong.append(found)
        cache.get("", model="m")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(semantic) == 40


class Leaky(Flat):
    """An index that returns what it holds, and what it does not."""

    everything: ClassVar[dict[bytes, np.ndarray[Any, Any]]] = {}

    def add(self, key: bytes, vector: Any) -> None:
        super().add(key, vector)
        self.everything[key] = vector

    def nearest(self, vector: Any, most: int, floor: float = -1.0) -> list[tuple[bytes, float]]:
        return [(key, 1.0) for key in self.everything]


def test_nothing_crosses_a_partition_even_where_an_index_leaks(encoder: Encoder, dial: Dial) -> None:
    cache, _ = caches(encoder, dial, quarantine_seconds=0, index=Leaky, candidates=100)
    cache.put(ASKED, "alice's", model="m", tenant="alice")
    cache.put("Please cancel my order", "bob's", model="m", tenant="bob")
    assert cache.get(OTHER, model="m", tenant="bob") is None
    assert cache.get(OTHER, model="m", tenant="alice") is not None


def test_a_verifier_s_doubt_counts_against_the_candidates(
    encoder: Encoder, dial: Dial, model: Model, make_bundle: Callable[..., Any]
) -> None:
    from beastmode import Router

    class Doubtful(Alike):
        threshold = 0.2

        def accepts(self, question: str, stored_question: str, cosine: float) -> float:
            return 0.3 * super().accepts(question, stored_question, cosine)

    semantic = Semantic(encoder, Doubtful(), quarantine_seconds=0, canary_share=0)
    cache = Cache([Memory(), semantic], router=Router(make_bundle(), 0), **dial.clocks())
    cache.fetch(ASKED, model)
    assert not cache.fetch(OTHER, model).hit


@pytest.mark.parametrize("known", [{"canary_share": 1.5}])
def test_settings_that_make_no_sense_are_refused(encoder: Encoder, known: dict[str, Any]) -> None:
    with pytest.raises(CacheError, match=r"canary_share = 1\.5"):
        Semantic(encoder, Cosine(), **known)
    with pytest.raises(CacheError, match="threshold = 0"):
        Cosine(0.0)
    with pytest.raises(CacheError, match="Semantic as the last"):
        Cache([Semantic(encoder, Cosine()), Memory()])


def test_a_question_taken_alone_is_matched_too(encoder: Encoder, dial: Dial) -> None:
    cache, _ = caches(encoder, dial, quarantine_seconds=0)
    partition = Partition("m")
    cache.put(Question(partition, ASKED), "a")
    found = cache.get(Question(partition, OTHER))
    assert found is not None
    assert found.tier == "semantic"


LONG = "answer from this article only " + " ".join(f"word{i}" for i in range(60))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (f"{LONG} how do I close my account", f"{LONG} when is billing run"),
        ("what is 12 + 4", "what is 12 - 4"),
        ("convert 1.5 kg", "convert 15 kg"),
        ("how much is $50", "how much is €50"),
        ("is 5 > 3", "is 5 < 3"),
    ],
)
def test_what_words_do_not_say_is_not_vouched_for(one: str, two: str) -> None:
    assert judge(0.5).accepts(one, two, 0.999) == 0.0


def test_a_long_prompt_is_not_kept_whole() -> None:
    assert read("x" * 1025) is read("x" * 1025 + "y" * 100_000)


def test_a_question_that_is_too_long_is_not_held_and_its_answer_stays_at_hand(encoder: Encoder, dial: Dial) -> None:
    cache, semantic = caches(encoder, dial, longest=100)
    long = ASKED + "!" * 100
    for text in (ASKED, long):
        cache.put(text, "a", model="m")
    assert len(semantic) == 1
    asked = cache.question(long, model="m")
    assert cache.looker.at_hand(asked) is not None, "an exact hit waits for no other tier"
    assert len(semantic) == 1
