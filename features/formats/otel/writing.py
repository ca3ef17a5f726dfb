"""Interactions as OpenTelemetry's GenAI spans, one OTLP/JSON export request a line."""

import json
from collections.abc import Iterable
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from features.formats.decisions import KEY, carried
from features.formats.spans import SPAN, TRACE, derived, in_parts, nanos_of

ATTRIBUTES = {
    "gen_ai.conversation.id": "session_id",
    "gen_ai.provider.name": "provider",
    "gen_ai.request.model": "model_requested",
    "gen_ai.response.model": "model_served",
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cache_read_tokens",
    "gen_ai.usage.cache_write.input_tokens": "cache_write_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
    "gen_ai.usage.cost": "cost_logged_usd",
    "user.id": "unit",
}
"""Attribute -> the column that it holds as it is."""
LOST = frozenset(
    {
        "event_id", "format", "trace_id", "tenant", "context", "needs", "predictions", "cache_tier", "attempts",
        "cost_usd", "cost_source",
    }
)  # fmt: skip


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write each interaction as a span of its own trace; the decision is the attribute `beastmode`, a JSON text."""
    for row in rows:
        scope = {"scope": {"name": "beastmode"}, "spans": [_span(row)]}
        resource = {"attributes": [_attribute("service.name", "beastmode")]}
        known = {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}
        stream.write(json.dumps(known, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _span(row: Interaction) -> dict[str, Any]:
    start = nanos_of(row.at)
    known = {name: value for name, ours in ATTRIBUTES.items() if (value := getattr(row, ours)) is not None}
    known["gen_ai.operation.name"] = "chat"
    if row.ttft_ms is not None:
        known["gen_ai.response.time_to_first_chunk"] = row.ttft_ms / 1e3
    if row.messages:
        known["gen_ai.input.messages"] = json.dumps(in_parts(row.messages), ensure_ascii=False)
    if row.status != "success":
        known["error.type"] = row.error_type or "provider_unknown"
    known[KEY] = json.dumps(carried(row) or {"request_id": row.request_id}, ensure_ascii=False)
    failed = {"code": 2, "message": row.error_message or ""}
    return {
        "traceId": row.trace_id if _is_trace(row.trace_id) else derived(row.request_id, TRACE),
        "spanId": derived(row.event_id or row.decision_id or row.request_id, SPAN),
        "name": f"chat {row.model_requested or ''}".rstrip(),
        "kind": 3,
        "startTimeUnixNano": str(start),
        # A span that never ended says nothing of its latency.
        "endTimeUnixNano": "0" if row.latency_ms is None else str(start + round(row.latency_ms * 1e6)),
        "attributes": [_attribute(name, value) for name, value in known.items()],
        "status": {} if row.status == "success" else failed,
    }


def _is_trace(name: str | None) -> bool:
    return name is not None and len(name) == 2 * TRACE and all(char in "0123456789abcdef" for char in name)


def _attribute(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, int):
        return {"key": name, "value": {"intValue": str(value)}}
    return {"key": name, "value": {"doubleValue" if isinstance(value, float) else "stringValue": value}}
