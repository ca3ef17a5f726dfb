"""Interactions as rows of Helicone's API, as its export tool writes them."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from features.formats.decisions import KEY, carried

NO_CACHE = "00000000-0000-0000-0000-000000000000"
"""The cache reference of an answer that came from the provider."""
PROPERTY_SESSION = "Helicone-Session-Id"
TIMEOUT = -1
CODES = {
    "provider_rate_limited": 429, "provider_quota_exceeded": 429, "provider_authentication": 401,
    "provider_permission": 403, "provider_not_found": 404, "caller_invalid_request": 400, "caller_context_length": 400,
    "policy_content_filtered": 400, "provider_server_error": 503, "provider_timeout": TIMEOUT,
}  # fmt: skip
ENDS = {"cancelled": -3, "unknown": -2}


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write interactions as the export tool would have with the bodies included, one JSON object a line."""
    for row in rows:
        stream.write(json.dumps(_request(row), ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _request(row: Interaction) -> dict[str, Any]:
    into = row.input_tokens
    if into is not None:
        into -= (row.cache_read_tokens or 0) + (row.cache_write_tokens or 0)
    out = None if row.output_tokens is None else row.output_tokens - (row.reasoning_tokens or 0)
    return {
        "request_id": row.request_id,
        "request_created_at": _stamp(row.at),
        "request_path": "https://oai.helicone.ai/v1/chat/completions",
        "request_user_id": row.unit,
        "request_properties": _properties(row),
        "request_model": row.model_requested,
        "request_body": None
        if row.messages is None
        else {"model": row.model_requested, "messages": list(row.messages)},
        "response_id": f"response-{row.request_id}",
        "response_created_at": _stamp(row.at + timedelta(milliseconds=row.latency_ms or 0)),
        "response_status": _status(row),
        "response_model": row.model_served,
        "response_body": _answer(row),
        "provider": (row.provider or "").upper(),
        "delay_ms": row.latency_ms,
        "time_to_first_token": row.ttft_ms,
        "prompt_tokens": into,
        "completion_tokens": out,
        "total_tokens": (into or 0) + (out or 0) + (row.reasoning_tokens or 0),
        "prompt_cache_read_tokens": row.cache_read_tokens,
        "prompt_cache_write_tokens": row.cache_write_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "cost": row.cost_logged_usd or 0,
        "cache_enabled": row.cache_tier is not None,
        "cache_reference_id": row.request_id if row.cache_tier else NO_CACHE,
        "feedback_rating": None,
        "scores": {},
    }


def _properties(row: Interaction) -> dict[str, str]:
    """Return the custom properties of a request, which are text: its context, its session and our decision."""
    known = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in (row.context or {}).items()
    }
    if row.session_id:
        known[PROPERTY_SESSION] = row.session_id
    if ours := carried(row):
        known[KEY] = json.dumps(ours, ensure_ascii=False)
    return known


def _status(row: Interaction) -> int:
    if row.status == "success":
        return 200
    return ENDS.get(row.status) or CODES.get(row.error_type or "", 500)


def _answer(row: Interaction) -> dict[str, Any] | None:
    if row.status == "success":
        return {"model": row.model_served, "choices": [{"message": {"role": "assistant", "content": ""}}]}
    return {"error": {"message": row.error_message, "type": row.error_type}}


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
