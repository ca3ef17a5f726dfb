"""Certification, gate and serving count a request's input alike, whatever the provider counted."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate, Price
from beastmode.encoding import Encoder
from beastmode.interactions import Feedback, Interaction
from beastmode.lexical import NAMES
from beastmode.objective import Objective
from beastmode.policies import Greedy
from beastmode.records import Request
from beastmode.router import Router
from beastmode.scorers import Constant
from features import joins
from features.prices import PriceBook
from features.table import Table
from models.rehearsal import rehearse
from pipelines.columns import feedback_table, interactions_table
from pipelines.evaluation import contestant

START = datetime(2026, 3, 1, tzinfo=UTC)
REQUESTS = [
    Request.of(
        [
            {"role": "system", "content": "be brief " * (7 * i)},
            {"role": "user", "content": f"what is {i} + {i}?"},
        ],
        request_id=f"r{i:02d}",
    )
    for i in range(40)
]


@pytest.fixture
def bundle() -> Bundle:
    """`large` is worth its price up to about 400 tokens of input."""
    return Bundle(
        name="b", candidates=(Candidate("small", price=Price(0, 0)), Candidate("large", price=Price(5.0, 0))),
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(np.array([0.6, 0.8]), np.full(2, 100.0), np.full(2, 500.0)),
        policy=Greedy(), objective=Objective(per_dollar=100.0), created="2026-01-01", code_version="0",
    )  # fmt: skip


@pytest.fixture
def table() -> Table:
    """Every request asked of both, as a log whose provider counts three tokens where we count one."""
    rows, words = [], []
    for i, request in enumerate(REQUESTS):
        for name in ("small", "large"):
            own = name == "small"
            called = request.request_id if own else f"p-{request.request_id}"
            rows.append(Interaction(
                event_id=called, request_id=called, at=START + timedelta(minutes=i),
                purpose="serve" if own else "probe", parent_request_id=None if own else request.request_id,
                messages=request.messages, prompt_chars=request.chars, plan=name, model_served=name,
                input_tokens=round(3 * request.chars / 4), output_tokens=10, cost_usd=0.001, latency_ms=10.0,
            ))  # fmt: skip
            words.append(Feedback(request_id=called, signal="score", value=0.5, at=START, received_at=START))
    frames = (interactions_table(rows, PriceBook(listed=False)).to_pandas(), feedback_table(words).to_pandas())
    return joins.table(*frames, START + timedelta(days=9), candidates=("small", "large"))


def test_the_gate_and_the_certificate_judge_the_very_choices_that_are_served(bundle: Bundle, table: Table) -> None:
    router = Router(bundle)
    served = [router.route(request) for request in REQUESTS]
    names = [decision.candidate for decision in served]
    assert 5 < names.count("large") < 35, "the length of the input decides, so that a wrong count would show"
    judged = contestant(bundle, table)
    assert [table.candidates[c] for c in judged.probabilities.argmax(axis=1)] == names
    told = np.array([[p.cost_usd for p in decision.predictions] for decision in served])
    np.testing.assert_allclose(judged.cost_usd, told)
    kept, rehearsal = rehearse(bundle, table, 0)
    place = [table.request_ids.tolist().index(name) for name in kept.request_ids]
    assert len(kept) == len(REQUESTS)
    np.testing.assert_allclose(rehearsal.expected_cost_usd, told[place])
    logged = bundle.probabilities(table.texts, table.input_tokens).argmax(axis=1)
    assert [table.candidates[c] for c in logged] != names, "by the provider's count it would be another policy"


def test_what_it_cost_stays_on_the_providers_count(table: Table) -> None:
    assert table.input_tokens.tolist() == [round(3 * request.chars / 4) for request in REQUESTS]
    np.testing.assert_allclose(table.expected_tokens, [request.chars / 4 for request in REQUESTS])
