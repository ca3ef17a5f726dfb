"""Write down what became of a canary: a hit of the semantic tier for which the model was asked all the same."""

from dataclasses import replace
from typing import Any

from beastmode.cache.answer import Answer
from beastmode.cache.entry import Entry
from beastmode.cache.partition import Question
from beastmode.cache.semantic import Looks
from beastmode.journal import Journal
from beastmode.records import Decision, Plan, Prediction, new_id

SIGNAL = "canary"
"""Of the feedback on a held answer: 1 where it agreed with what the model said anew, else 0."""
REQUESTS, HITS = "semantic_requests", "semantic_hits"
"""Of the row's context: what the tier was asked, and had an answer for, since its process told the last time."""


def note(journal: Journal, question: Question, served: Decision, hit: Answer, agreed: bool, looks: Looks) -> None:
    """Journal the hit as a row that is graded and was never served: what the lake needs to bound wrong answers.

    The row's messages are those of the question that the held answer was given to, its parent is the request that was
    asked, and its prediction the verifier's score, so that both texts are written, hashed or left out alike. `served`
    is the decision of the model that was asked. The context has the `looks`: the journal's other rows do not say which
    requests a semantic tier was asked about, and those of applications without one are none.
    """
    messages = Question(question.partition, hit.question or "").messages
    told = Prediction("cache", quality=hit.score or 0.0, cost_usd=0.0, latency_ms=None, utility=float("nan"))
    context = {**served.request.context, REQUESTS: str(looks.requests), HITS: str(looks.hits)}
    decision = Decision(
        request=replace(served.request, request_id=new_id(), messages=messages, context=context),
        plan=Plan.single("cache"), probabilities={}, propensity=None, policy="cache",
        bundle_sha256=served.bundle_sha256, predictions=(told,),
        reason=f"semantic hit, {hit.age_seconds:.1f} s old, for which the model was asked",
    )  # fmt: skip
    with journal.attempt(decision, purpose="judge", parent=served.request.request_id) as attempt:
        attempt.cached("semantic")
    journal.feedback(decision.request.request_id, SIGNAL, float(agreed), source="cache")


def said(entry: Entry) -> Any:
    """Return what an entry holds; a stream of text as one text, wherever it was cut."""
    value = entry.value
    if entry.kind == "chunks" and all(isinstance(chunk, str) for chunk in value):
        return "".join(value)
    return value
