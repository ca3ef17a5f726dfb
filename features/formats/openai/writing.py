"""Interactions as lines of request and response, in the shape of OpenAI's chat completions."""

import json
from collections.abc import Iterable
from datetime import UTC, timedelta
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from features.formats.decisions import KEY, carried

LOST = frozenset({"event_id", "format", "needs", "predictions", "attempts", "cost_usd", "cost_source", "cache_tier"})
ENDED = {"cancelled": "caller_cancelled", "unknown": "router_process_ended"}
"""How a call ended, where its error does not say it -> what stands for it."""
_CODES = {
    "caller_invalid_request": (400, "invalid_request_error", None),
    "caller_context_length": (400, "invalid_request_error", "context_length_exceeded"),
    "policy_content_filtered": (400, "invalid_request_error", "content_policy_violation"),
    "provider_authentication": (401, "invalid_request_error", "invalid_api_key"),
    "provider_permission": (403, "invalid_request_error", None),
    "provider_not_found": (404, "invalid_request_error", "model_not_found"),
    "provider_timeout": (504, "server_error", "timeout"),
    "provider_rate_limited": (429, "requests", "rate_limit_exceeded"),
    "provider_quota_exceeded": (429, "insufficient_quota", "insufficient_quota"),
    "provider_server_error": (500, "server_error", None),
}
"""Our kinds of failure as OpenAI spells them: status, type, code."""


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write interactions as JSON lines of `request`, `response` and what a client measures around them."""
    for row in rows:
        stream.write(json.dumps(_line(row), ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _line(row: Interaction) -> dict[str, Any]:
    metadata = dict(row.context or {})
    if ours := carried(row):
        # OpenAI's metadata holds strings alone.
        metadata[KEY] = json.dumps(ours, ensure_ascii=False, separators=(",", ":"))
    line: dict[str, Any] = {
        "id": row.request_id,
        "timestamp": row.at.astimezone(UTC).isoformat(),
        "request": {
            "model": row.model_requested,
            "messages": list(row.messages or ()),
            "user": row.unit,
            "metadata": metadata,
        },
        "response": None,
        "latency_ms": row.latency_ms,
        "ttft_ms": row.ttft_ms,
        "cost_usd": row.cost_logged_usd,
        "provider": row.provider,
        "tenant": row.tenant,
        "session_id": row.session_id,
        "trace_id": row.trace_id,
    }
    if row.status == "success":
        line["response"] = _answer(row)
    else:
        named = row.error_type or ENDED.get(row.status)
        status, kind, code = _CODES.get(named or "", (None, named, None))
        line["status_code"] = status
        line["error"] = {"message": row.error_message, "type": kind, "param": None, "code": code}
    return {name: value for name, value in line.items() if value is not None or name == "response"}


def _answer(row: Interaction) -> dict[str, Any]:
    ended = row.at + timedelta(milliseconds=row.latency_ms or 0)
    into: dict[str, Any] = {"cached_tokens": row.cache_read_tokens, "cache_write_tokens": row.cache_write_tokens}
    known: dict[str, Any] = {
        "id": f"chatcmpl-{row.request_id}",
        "object": "chat.completion",
        "created": int(ended.timestamp()),
        "model": row.model_served,
        "choices": [],
    }
    if row.input_tokens is not None or row.output_tokens is not None:
        known["usage"] = {
            "prompt_tokens": row.input_tokens,
            "completion_tokens": row.output_tokens,
            "total_tokens": (row.input_tokens or 0) + (row.output_tokens or 0),
            "prompt_tokens_details": {name: value for name, value in into.items() if value is not None},
            "completion_tokens_details": (
                {} if row.reasoning_tokens is None else {"reasoning_tokens": row.reasoning_tokens}
            ),
        }
    return known
