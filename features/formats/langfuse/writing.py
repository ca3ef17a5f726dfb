"""Interactions as generations of Langfuse, spelled as its API and its exports spell them."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from features.formats.decisions import KEY, carried


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write interactions as observations of type GENERATION, one JSON object a line."""
    for row in rows:
        stream.write(json.dumps(_generation(row), ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _generation(row: Interaction) -> dict[str, Any]:
    failed = row.status != "success"
    end = None if row.latency_ms is None else row.at + timedelta(milliseconds=row.latency_ms)
    first = None if row.ttft_ms is None else row.at + timedelta(milliseconds=row.ttft_ms)
    cost = row.cost_logged_usd
    return {
        "id": row.request_id,
        "traceId": row.trace_id,
        "type": "GENERATION",
        "name": None,
        "startTime": _stamp(row.at),
        # A failure without a duration ends where it began, as integrations log it.
        "endTime": _stamp(row.at if end is None and failed else end),
        "completionStartTime": _stamp(first),
        "parentObservationId": None,
        "environment": "default",
        "level": "ERROR" if failed else "DEFAULT",
        "statusMessage": row.error_message,
        "userId": row.unit,
        "sessionId": row.session_id,
        "providedModelName": row.model_served or row.model_requested,
        "modelParameters": {},
        "usageDetails": _usage(row),
        "costDetails": {} if cost is None else {"total": cost},
        "totalCost": cost,
        "metadata": _metadata(row),
        "input": None if row.messages is None else list(row.messages),
        "output": None if failed else {"role": "assistant", "content": ""},
        "latency": None if row.latency_ms is None else row.latency_ms / 1e3,
        "timeToFirstToken": None if row.ttft_ms is None else row.ttft_ms / 1e3,
    }


def _usage(row: Interaction) -> dict[str, int]:
    """Return the parts that Langfuse adds up: none of them holds another."""
    known: dict[str, int] = {}
    if row.input_tokens is not None:
        known["input"] = row.input_tokens - (row.cache_read_tokens or 0) - (row.cache_write_tokens or 0)
    if row.cache_read_tokens is not None:
        known["input_cached_tokens"] = row.cache_read_tokens
    if row.cache_write_tokens is not None:
        known["input_cache_creation"] = row.cache_write_tokens
    if row.output_tokens is not None:
        known["output"] = row.output_tokens - (row.reasoning_tokens or 0)
    if row.reasoning_tokens is not None:
        known["output_reasoning_tokens"] = row.reasoning_tokens
    return {**known, "total": sum(known.values())} if known else {}


def _metadata(row: Interaction) -> dict[str, Any]:
    """Return what a caller would add: the decision, and what LiteLLM's integration says of groups and of its cache."""
    known: dict[str, Any] = {}
    if row.model_requested:
        known["model_group"] = row.model_requested
    if row.cache_tier:
        known["cache_hit"] = True
    if row.error_type:
        known["error_type"] = row.error_type
    if ours := carried(row):
        known[KEY] = ours
    return known


def _stamp(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
