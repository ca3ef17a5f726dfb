import json
from datetime import UTC, datetime

import pytest

from beastmode.interactions import Attempt, Interaction
from beastmode.records import Decision, Plan, Prediction, Request, message_text, new_id


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert [i[:12] for i in ids] == sorted(i[:12] for i in ids)
    assert {len(i) for i in ids} == {32}


CHAT = (
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "answer"},
    {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {}}]},
    {"role": "assistant", "content": None},
)


def test_a_request_routes_on_its_last_user_message_and_pays_for_all() -> None:
    request = Request.of(CHAT)
    assert request.text == "second"
    assert request.chars == len("be brief" + "first" + "answer" + "second")
    assert Request.of([{"role": "system", "content": "only"}]).text == "only"
    assert Request.of([]).text == ""
    assert Request.of(request) is request


def test_no_context_is_an_empty_one() -> None:
    assert Request.of("x", context=None).context == {}


ARGUMENTS = "x" * 8000


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"arguments": ARGUMENTS}}]},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ARGUMENTS}},
        {"role": "assistant", "content": [{"type": "tool_use", "input": {"text": ARGUMENTS}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": ARGUMENTS}]}]},
        {"role": "user", "content": [{"type": "tool_result", "content": ARGUMENTS}]},
    ],
)
def test_calls_of_tools_and_their_results_are_paid_for(message: dict[str, object]) -> None:
    """An agent's conversation is mostly these: without them it fits every context and every budget."""
    assert 8000 <= Request.of([*CHAT, message]).chars - Request.of(CHAT).chars <= 8100


@pytest.mark.parametrize("content", [None, 7, {}, [], [7], [{"type": "image_url"}]])
def test_a_message_without_text_has_none(content: object) -> None:
    assert message_text({"role": "user", "content": content}) == ""


def test_a_plan_asks_someone() -> None:
    assert Plan(("a", "b")).name == "a > b"
    assert Plan.single("a").candidate == "a"
    with pytest.raises(ValueError, match="name a candidate"):
        Plan(())


def decision(**known: object) -> Decision:
    prediction = Prediction("a", 0.7, 0.001, None, 0.69)
    return Decision(
        Request.of("x"),
        Plan.single("a"),
        {"a": 0.9, "b": 0.1},
        0.9,
        "p",
        "f" * 64,
        (prediction,),
        "r",
        **known,  # type: ignore[arg-type]
    )


def test_a_decision_tells_a_gateway_s_log_what_evaluation_needs() -> None:
    known = decision().metadata()
    assert json.loads(json.dumps(known)) == known
    assert set(known) == {
        "request_id", "decision_id", "plan", "candidates", "probabilities", "propensity", "arm", "arm_probability",
        "policy", "bundle_sha256",
    }  # fmt: skip
    assert decision().prediction == Prediction("a", 0.7, 0.001, None, 0.69)
    assert decision(sticky_from="d0").metadata()["sticky_from"] == "d0"


def test_an_interaction_survives_json() -> None:
    row = Interaction(
        event_id="e",
        request_id="r",
        at=datetime(2026, 1, 2, 3, tzinfo=UTC),
        messages=({"role": "user", "content": "ü"},),
        candidates=("a", "b"),
        probabilities={"a": 0.5, "b": 0.5},
        propensity=0.5,
        propensity_source="logged",
        predictions=({"candidate": "a", "quality": 0.5},),
        attempts=(Attempt("a", status="failure"), Attempt("b", "fallback")),
    )
    assert Interaction.from_mapping(json.loads(row.to_json())) == row


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"event_id": "e", "request_id": "r", "at": "2026-01-01T00:00:00+00:00", "colour": "red"}, "'colour'"),
        ({"event_id": "e", "request_id": "r"}, "needs 'at'"),
        ({"event_id": "e", "at": "2026-01-01T00:00:00+00:00"}, "request_id"),
        ({"event_id": "e", "request_id": "r", "at": "yesterday"}, "yesterday"),
    ],
)
def test_an_interaction_that_cannot_be_read_says_why(known: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Interaction.from_mapping(known)
