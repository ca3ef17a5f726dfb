"""Interactions as MLflow traces of one span, a line each, as `Trace.to_json()` of version 3.17 writes them."""

import base64
import json
import re
from collections.abc import Iterable
from datetime import UTC
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from features.formats.decisions import KEY, carried
from features.formats.spans import SPAN, TRACE, derived, nanos_of

FIRST_CHUNK = "mlflow.chunk.item.0"
"""The event of a streamed answer's first piece."""
LOST = frozenset(
    {
        "event_id", "format", "trace_id", "tenant", "context", "needs", "predictions", "reasoning_tokens",
        "cache_tier", "attempts", "cost_usd", "cost_source",
    }
)  # fmt: skip
_TRACE = re.compile(r"tr-[0-9a-f]{32}")
_USAGE = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write each interaction as a trace of its own; the decision is the span's attribute `beastmode`."""
    for row in rows:
        stream.write(json.dumps(_trace(row), ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _trace(row: Interaction) -> dict[str, Any]:
    known = row.trace_id and _TRACE.fullmatch(row.trace_id)
    trace_id = row.trace_id if known else f"tr-{derived(row.request_id, TRACE)}"
    whose = {"mlflow.trace.session": row.session_id, "mlflow.trace.user": row.unit}
    info: dict[str, Any] = {
        "trace_id": trace_id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}},
        "request_time": row.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "state": "OK" if row.status == "success" else "ERROR",
        "trace_metadata": {name: value for name, value in whose.items() if value is not None},
        "tags": {"mlflow.traceName": "chat"},
    }
    if row.latency_ms is not None:
        info["execution_duration_ms"] = round(row.latency_ms)
    return {"info": info, "data": {"spans": [_span(row, str(trace_id))]}}


def _span(row: Interaction, trace_id: str) -> dict[str, Any]:
    start, failed = nanos_of(row.at), row.status != "success"
    said = row.error_message or ""
    return {
        "trace_id": _base64(trace_id.removeprefix("tr-")),
        "span_id": _base64(derived(row.event_id or row.decision_id or row.request_id, SPAN)),
        "parent_span_id": None,
        "name": "chat",
        "start_time_unix_nano": start,
        "end_time_unix_nano": start + round((row.latency_ms or 0) * 1e6),
        "events": _events(row, start, failed),
        "status": {"code": "STATUS_CODE_ERROR" if failed else "STATUS_CODE_OK", "message": said},
        "attributes": {name: json.dumps(value, ensure_ascii=False) for name, value in _known(row, trace_id).items()},
        "links": [],
    }


def _events(row: Interaction, start: int, failed: bool) -> list[dict[str, Any]]:
    known = []
    if row.ttft_ms is not None:
        first = start + round(row.ttft_ms * 1e6)
        known.append({"name": FIRST_CHUNK, "time_unix_nano": first, "attributes": {"mlflow.chunk.value": "{}"}})
    if failed:
        what = {"exception.type": row.error_type or "provider_unknown", "exception.message": row.error_message or ""}
        known.append({"name": "exception", "time_unix_nano": start, "attributes": what})
    return known


def _known(row: Interaction, trace_id: str) -> dict[str, Any]:
    """Return the attributes of the span, before each becomes a JSON text."""
    asked = {"model": row.model_requested, "messages": list(row.messages or ())}
    used = {name: value for name, ours in _USAGE.items() if (value := getattr(row, ours)) is not None}
    known: dict[str, Any] = {"mlflow.traceRequestId": trace_id, "mlflow.spanType": "CHAT_MODEL"}
    known["mlflow.spanInputs"] = {name: value for name, value in asked.items() if value}
    if row.model_served is not None:
        known["mlflow.spanOutputs"] = {"model": row.model_served}
    if (model := row.model_served or row.model_requested) is not None:
        known["mlflow.llm.model"] = model
    if row.provider is not None:
        known["mlflow.llm.provider"] = row.provider
    if "input_tokens" in used and "output_tokens" in used:
        used["total_tokens"] = used["input_tokens"] + used["output_tokens"]
    if used:
        known["mlflow.chat.tokenUsage"] = used
    if row.cost_logged_usd is not None:
        known["mlflow.llm.cost"] = {"total_cost": row.cost_logged_usd}
    known[KEY] = carried(row) or {"request_id": row.request_id}
    return known


def _base64(plain: str) -> str:
    return base64.b64encode(bytes.fromhex(plain)).decode()
