"""What may share an answer, and what looks as if it might."""

import itertools
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastmode import Needs, Request
from beastmode.cache import Cache, Memory, Miss, Partition, Question
from beastmode.cache.partition import canonical
from beastmode.errors import CacheError

USER = {"role": "user", "content": "hi"}


def question(*messages: object, model: str = "m", **known: object) -> Question:
    scope = {name: known.pop(name) for name in ("parameters", "tools", "epochs") if name in known}
    return Question.of(Request.of(messages or (USER,), **known), model, **scope)  # type: ignore[arg-type]


LOOK_ALIKES = [
    question(),
    question(model="m2"),
    question(tenant="acme"),
    question(tenant=""),
    question(tenant="None"),
    question(tenant="acmе"),  # a Cyrillic letter
    question(tenant="caf\u00e9"),
    question(tenant="cafe\u0301"),
    question(tenant='acme","parameters":{}'),
    question(tenant="acme\x00"),
    question(parameters={"temperature": 0}),
    question(parameters={"temperature": 0.0}),
    question(parameters={"temperature": False}),
    question(parameters={"temperature": "0"}),
    question(parameters={"temperature": None}),
    question(parameters={"a": {"b": 1}}),
    question(parameters={"a": '{"b":1}'}),
    question(tools=[{"name": "f"}]),
    question(tools=[{"name": "f"}, {"name": "g"}]),
    question(tools=[{"name": "g"}, {"name": "f"}]),
    question(epochs={"docs": 1}),
    question(epochs={"docs": 2}),
    question(epochs={"docs": "1"}),
    question(context={"task": "a"}),
    question(needs=Needs(json=True)),
    question(needs=Needs(output_tokens=1)),
    question({"role": "system", "content": "s"}, USER),
    question({"role": "developer", "content": "s"}, USER),
    question({"role": "user", "content": "s"}, USER),
    question({"role": "assistant", "content": "s"}, USER),
    question(USER, {"role": "system", "content": "s"}),
    question({"role": "user", "content": "a"}, {"role": "system", "content": "s"}, USER),
    question({"role": "system", "content": "s"}, {"role": "user", "content": "a"}, USER),
    question({"role": "user", "content": "hi", "name": "bob"}),
    question({"role": "user", "content": [{"type": "text", "text": "hi"}]}),
    question({"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": "a"}]}),
    question({"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": "b"}]}),
    question(USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
             {"role": "tool", "tool_call_id": "1", "content": "sunny"}),
    question(USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
             {"role": "tool", "tool_call_id": "1", "content": "rainy"}),
    question({"role": "user", "content": "hi "}),
    question({"role": "user", "content": "Hi"}),
    question({"role": "user", "content": "h\u0131"}),
    question({"role": "user", "content": "hi\u200b"}),
    question({"role": "user", "content": "\ud83d\ude00"}),
    question({"role": "user", "content": "😀"}),
]  # fmt: skip


def test_look_alikes_never_share_a_key() -> None:
    for one, other in itertools.combinations(LOOK_ALIKES, 2):
        assert one.key != other.key, (one, other)


def test_the_text_alone_is_not_in_the_partition() -> None:
    assert question().partition.digest == question({"role": "user", "content": "another"}).partition.digest


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_pretends_to_be_the_end_of_another_partition(a: str, b: str, c: str, d: str) -> None:
    one, other = Question(Partition("m", a), b), Question(Partition("m", c), d)
    assert (one.key == other.key) == ((a, b) == (c, d))


def test_the_order_of_keys_and_the_kind_of_sequence_do_not_matter() -> None:
    one = question(parameters={"a": 1, "b": [1, 2]})
    assert one.key == question(parameters={"b": (1, 2), "a": 1}).key


def test_session_unit_and_request_id_are_no_part_of_it() -> None:
    assert question().key == question(session_id="s", unit="u").key


def test_what_a_request_may_cost_and_how_long_it_may_wait_is_no_part_of_it() -> None:
    assert question(needs=Needs(budget_usd=0.01, deadline_ms=800.0)).key == question(needs=Needs(budget_usd=2.0)).key
    assert question(needs=Needs(budget_usd=0.01)).key == question().key
    limited = Needs(json=True, regions=("eu",), deadline_ms=5.0)
    assert question(needs=limited).key == question(needs=Needs(json=True, regions=("eu",))).key != question().key


def test_an_answer_serves_whatever_budget_and_deadline_ask_next() -> None:
    cache, asked = Cache([Memory()]), []

    def fill(miss: Miss) -> str:
        asked.append(miss.request.needs)
        return "4"

    for needs in (Needs(budget_usd=1.0), Needs(), Needs(deadline_ms=1.0), Needs(budget_usd=1e-9)):
        assert cache.fetch("2+2?", fill, model="m", needs=needs).value == "4"
    assert cache.fetch("2+2?", fill, model="m", needs=Needs(json=True)).hit is False
    assert len(asked) == 2


def test_every_need_was_thought_of() -> None:
    changed = {"tools": True, "json": True, "vision": True, "output_tokens": 5, "regions": ("eu",)}
    assert set(changed) | {"budget_usd", "deadline_ms"} == set(Needs.__slots__)
    for name, value in changed.items():
        assert question(needs=Needs(**{name: value})).key != question().key, name  # type: ignore[arg-type]


def test_what_is_no_data_is_refused_with_its_name() -> None:
    with pytest.raises(CacheError, match="1 is no text"):
        canonical({1: "a"})
    with pytest.raises(CacheError, match="is a set"):
        question(parameters={"stop": {"a"}})


def test_a_question_is_spelt_out_again_as_the_messages_that_it_was_taken_from() -> None:
    tool = ({"role": "user", "content": "hi"}, {"role": "tool", "content": "x"})
    longer = (USER, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b", "name": "n"})
    for messages in ((USER,), ({"role": "system", "content": "s"}, USER), tool, longer):
        assert question(*messages).messages == messages
    assert Question(Partition("m"), "hi").messages == (USER,)


def test_texts_are_made_equal_only_where_that_is_asked_for() -> None:
    padded = Request.of("  hi ")
    assert Question.of(padded, "m").key != question().key
    assert Question.of(padded, "m", normalise=str.strip).key == question().key


@pytest.mark.parametrize("last", [{"role": "assistant", "content": "{"}, {"role": "function", "content": "3"}])
def test_a_question_gives_back_the_messages_it_was_made_of(last: dict) -> None:
    messages = ({"role": "user", "content": "Write JSON"}, last)
    assert Question.of(Request.of(messages), "m").messages == messages


def test_any_mapping_is_data_and_as_good_as_an_equal_dict() -> None:
    known = {"a": {"b": 1}, "c": "d"}
    frozen = MappingProxyType({"c": "d", "a": MappingProxyType({"b": 1})})
    assert canonical(frozen) == canonical(known)
    assert question(context=MappingProxyType({"a": "b"})).key == question(context={"a": "b"}).key
    with pytest.raises(CacheError, match="is no text"):
        canonical(MappingProxyType({1: "a"}))
