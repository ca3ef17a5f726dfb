"""Interactions as a merged file of TensorZero's ChatInference and ModelInference rows."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, timedelta
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from features.formats.decisions import KEY, carried

ERROR = "beastmode_error"
"""The tag that says how a call failed: TensorZero keeps no row of one, so a failure's row is ours."""
USER = "user_id"
"""The tag by which TensorZero's guides tell users apart."""
FUNCTION = "tensorzero::default"
LOST = frozenset(
    {"event_id", "format", "trace_id", "tenant", "needs", "predictions", "attempts", "cost_usd", "cost_source"}
)


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write interactions as rows of the two tables, one JSON object a line, each with its `table`."""
    for row in rows:
        for line in _rows(row):
            stream.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _rows(row: Interaction) -> Iterator[dict[str, Any]]:
    tags = {name: str(value) for name, value in (row.context or {}).items()}
    if row.unit is not None:
        tags[USER] = row.unit
    if ours := carried(row):
        tags[KEY] = json.dumps(ours, ensure_ascii=False, separators=(",", ":"))
    if row.status != "success":
        wrong = {name: getattr(row, name) for name in ("status", "error_type", "error_message", "provider")}
        tags[ERROR] = json.dumps(
            {name: value for name, value in wrong.items() if value is not None}, ensure_ascii=False
        )
    yield {
        "table": "ChatInference",
        "id": row.request_id,
        "function_name": FUNCTION,
        "variant_name": row.model_requested or row.plan or row.model_served or "unknown",
        "episode_id": row.session_id or row.trace_id or row.request_id,
        "input": _input(row),
        "output": "[]",
        "inference_params": "{}",
        "processing_time_ms": row.latency_ms,
        "ttft_ms": row.ttft_ms,
        "timestamp": _stamp(row, 0),
        "tags": tags,
    }
    if row.status == "success":
        yield {
            "table": "ModelInference",
            "id": f"{row.request_id}-call",
            "inference_id": row.request_id,
            "model_name": row.model_served or row.model_requested or row.plan or "unknown",
            "model_provider_name": row.provider,
            "input_tokens": row.input_tokens,
            "output_tokens": row.output_tokens,
            "provider_cache_read_input_tokens": row.cache_read_tokens,
            "provider_cache_write_input_tokens": row.cache_write_tokens,
            "reasoning_tokens": row.reasoning_tokens,
            "cost": None if row.cost_logged_usd is None else repr(row.cost_logged_usd),
            "response_time_ms": row.latency_ms,
            "ttft_ms": row.ttft_ms,
            "cached": row.cache_tier is not None,
            "finish_reason": "stop",
            "timestamp": _stamp(row, row.latency_ms or 0),
        }


def _input(row: Interaction) -> str:
    """Return the prompt as TensorZero keeps it: system and messages, their texts as blocks."""
    messages = row.messages or ()
    known: dict[str, Any] = {"messages": list(messages)}
    if messages and messages[0].get("role") == "system" and isinstance(messages[0].get("content"), str):
        known = {"system": messages[0]["content"], "messages": list(messages[1:])}
    for place, message in enumerate(known["messages"]):
        if isinstance(content := message.get("content"), str):
            known["messages"][place] = {**message, "content": [{"type": "text", "text": content}]}
    return json.dumps(known, ensure_ascii=False)


def _stamp(row: Interaction, later_ms: float) -> str:
    moment = row.at + timedelta(milliseconds=later_ms)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", timespec="microseconds")
