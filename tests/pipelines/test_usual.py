"""What a guard holds the next champion to is what the lake saw of the calls before it."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

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
