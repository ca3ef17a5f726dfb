"""What a guard holds the next champion to is what the lake saw of the calls before it."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from beastmode.interactions import Interaction
from features.prices import PriceBook
from pipelines.columns import interactions_table
from pipelines.context import Context
from pipelines.usual import usual
from tests.pipelines.traffic import Traffic, bundle, champion, settings


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def served(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "workspace"
    root.mkdir()
    shutil.copy(database, root / "mlflow.db")
    context = Context.open(settings(root))
    champion(context, bundle("first"))
    traffic = Traffic(context)
    traffic.fails = {"large": 0.1}
    traffic.serve(200)
    return context


def test_failures_and_slowness_are_those_of_the_lake(served: Context) -> None:
    known = usual(served, now())
    assert known is not None
    failed = int((served.lake.interactions()["status"] == "failure").sum())
    assert 5 < failed < 40
    assert known.error_rate == pytest.approx((failed + 1) / 202)
    assert known.refusal_rate == pytest.approx(1 / 202)
    assert 0 < known.p95_ms < 1000


def test_nothing_is_usual_of_few_calls(served: Context) -> None:
    assert usual(served, now() - timedelta(hours=1)) is None


def test_a_request_that_a_fallback_answered_has_not_failed(context: Context) -> None:
    """As LiteLLM logs it, each call a row of its own; and what failed last summer is usual no more."""
    start, rows = datetime(2026, 3, 1, tzinfo=UTC), []
    for i in range(120):
        failed = {"status": "failure", "error_type": "provider_unavailable", "latency_ms": 400.0}
        at, trace = start + timedelta(minutes=i), {"trace_id": f"t{i}", "format": "litellm"}
        rows.append(Interaction(event_id=f"{2 * i:064x}", request_id=f"a{i}", at=at, **failed, **trace))
        rows.append(Interaction(event_id=f"{2 * i + 1:064x}", request_id=f"b{i}", at=at + timedelta(milliseconds=500),
                                status="success", latency_ms=300.0, **trace))  # fmt: skip
        rows.append(Interaction(event_id=f"{i + 1000:064x}", request_id=f"c{i}", at=at - timedelta(days=90), **failed))
    with context.lake.writing():
        for day in {row.at.date() for row in rows}:
            some = [row for row in rows if row.at.date() == day]
            context.lake.append("interactions", day, interactions_table(some, PriceBook(listed=False)))
    known = usual(context, start + timedelta(days=2))
    assert known is not None
    assert known.error_rate == pytest.approx(1 / 122)
    assert known.p95_ms == pytest.approx(800.0)
