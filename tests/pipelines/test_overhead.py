"""What probes, grading and warming cost beside what was served, from the lake's rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from beastmode.interactions import Interaction
from features.formats import FORMATS
from features.table import Table
from models.savings import Overhead
from pipelines import logs
from pipelines.context import Context
from pipelines.evidence import _overhead
from pipelines.settings import parse

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_grading_is_paid_for_and_canary_requests_are_served_too(context: Context, table: Table) -> None:
    known = context.settings.model_dump(mode="json")
    known["ingest"] = {"sources": [{"path": "{root}/logs/*.jsonl"}]}
    context = replace(context, settings=parse(known))
    rows = [
        Interaction(
            event_id=f"e{i}", request_id=f"r{i}", decision_id=f"d{i}", at=NOW - timedelta(minutes=i), purpose=purpose,
            format="journal", messages=[{"role": "user", "content": f"q{i}"}], session_id=f"s{i}", plan="small",
            model_requested="small", status="success", latency_ms=1.0, input_tokens=1, output_tokens=1, cost_usd=1.0,
            parent_request_id=f"r{i % 10}" if purpose in ("probe", "judge") else None,
        )
        for i, purpose in enumerate(np.repeat(["serve", "canary", "probe", "judge"], 10).tolist())
    ]  # fmt: skip
    context.workspace.logs.mkdir(parents=True, exist_ok=True)
    with (context.workspace.logs / "journal-x.jsonl").open("wb") as stream:
        FORMATS["journal"].write(stream, rows)
    logs.ingest(context, NOW)
    held = replace(table.take(np.arange(10)), at=np.full(10, np.datetime64("2026-03-01T12:00:00", "us")))
    assert _overhead(context, held) == (Overhead(probes=10.0, judge=10.0), 20)
