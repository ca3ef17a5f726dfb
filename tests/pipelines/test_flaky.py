"""A candidate that fails most of its calls, through the whole loop."""

import hashlib
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from beastmode.interactions import Feedback, Interaction
from pipelines import catalogue, history
from pipelines.columns import feedback_table, interactions_table
from pipelines.context import Context
from pipelines.improve import improve

START, NAMES = datetime(2026, 1, 1, tzinfo=UTC), ("steady", "flaky")


def filled(context: Context, tmp_path: Path, judged: float, n: int = 1500) -> Context:
    """Two months of an even draw: flaky fails .6 of its calls, and answers .95 good where the steady one does .75."""
    prices = tmp_path / "prices.toml"
    price = "price = { input_per_mtok = 1, output_per_mtok = 1 }"
    prices.write_text("".join(f'[[candidates]]\nname = "{name}"\n{price}\n' for name in NAMES))
    context = replace(context, settings=context.settings.model_copy(update={"catalogue": prices}))
    rng = np.random.default_rng(0)
    rows, words = defaultdict(list), defaultdict(list)
    for i in range(n):
        at, name = START + i * timedelta(days=60) / n, NAMES[int(rng.integers(2))]
        fails = name == "flaky" and rng.random() < 0.6
        rows[at.date()].append(
            Interaction(
                event_id=hashlib.sha256(f"r{i}".encode()).hexdigest(), request_id=f"r{i}", at=at,
                status="failure" if fails else "success", error_type="provider_unavailable" if fails else None,
                model_served=name, model_requested=name, plan=name, candidates=NAMES, propensity=0.5,
                probabilities=dict.fromkeys(NAMES, 0.5), propensity_source="logged", input_tokens=500,
                output_tokens=None if fails else 500, latency_ms=500.0, session_id=f"s{i // 2}",
                messages=({"role": "user", "content": f"question on a thing {i} {rng.integers(100)}"},),
            )
        )  # fmt: skip
        if not fails and rng.random() < judged:
            value = float(rng.random() < (0.95 if name == "flaky" else 0.75))
            words[at.date()].append(Feedback(request_id=f"r{i}", signal="score", value=value, at=at, received_at=at))
    with context.lake.writing():
        for day, each in rows.items():
            context.lake.append("interactions", day, interactions_table(each, catalogue.book(prices)))
        for day, said in words.items():
            context.lake.append("feedback", day, feedback_table(said))
    return context


@pytest.mark.parametrize("judged", [1.0, 0.3])
def test_a_candidate_that_mostly_fails_goes_into_service_neither_first_nor_later(
    context: Context, tmp_path: Path, judged: float
) -> None:
    context, as_of = filled(context, tmp_path, judged), START + timedelta(days=62)
    table = history.table(context, as_of)
    worth = dict(zip(table.candidates, np.nanmean(table.quality, axis=0).tolist(), strict=True))
    assert worth == pytest.approx({"flaky": 0.38, "steady": 0.75}, abs=0.1)
    for day in range(2):
        turn = improve(context, as_of + timedelta(days=day))
        assert turn.training.best_single == "steady"
        assert turn.judgement.verdict == "hold", turn.judgement.reason
        bundle = context.store.load_champion()
        names = [candidate.name for candidate in bundle.candidates]
        drawn = bundle.probabilities(("a question",), np.array([500.0]), np.ones((1, 2), dtype=bool))
        assert names[int(np.argmax(drawn))] == "steady"
