"""Interactions as rows of LiteLLM_SpendLogs, prompts cut as its database cuts them."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from features.formats.decisions import KEY, carried
from features.formats.litellm.errors import error_information
from features.formats.litellm.text import truncated


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write interactions as SpendLogs rows, one JSON object a line, prompts cut as the database cuts them."""
    for row in rows:
        stream.write(json.dumps(_spend_log(row), ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _spend_log(row: Interaction) -> dict[str, Any]:
    failed = row.status != "success"
    end = row.at + timedelta(milliseconds=row.latency_ms or 0)
    first = end if row.ttft_ms is None else row.at + timedelta(milliseconds=row.ttft_ms)
    into, out = row.input_tokens or 0, row.output_tokens or 0
    body = {"model": row.model_requested, "messages": truncated(row.messages)} if row.messages else {}
    return {
        "request_id": row.request_id,
        "call_type": "acompletion",
        "api_key": "88dc28d0f0",
        "spend": row.cost_logged_usd or 0.0,
        "total_tokens": into + out,
        "prompt_tokens": into,
        "completion_tokens": out,
        "startTime": _stamp(row.at),
        "endTime": _stamp(end),
        "request_duration_ms": int(row.latency_ms or 0),
        "completionStartTime": _stamp(first),
        "model": row.model_served or row.model_requested or "",
        "model_group": row.model_requested or "",
        "custom_llm_provider": row.provider or "",
        "metadata": json.dumps(_metadata(row, failed), ensure_ascii=False),
        "cache_hit": "True" if row.cache_tier else "None" if failed else "False",
        "cache_key": "Cache OFF",
        "request_tags": [],
        "team_id": row.tenant or "",
        "end_user": "",
        "session_id": row.session_id,
        "status": "failure" if failed else "success",
        "messages": {},
        "response": {},
        "proxy_server_request": body,
    }


def _metadata(row: Interaction, failed: bool) -> dict[str, Any]:
    usage = {
        "prompt_tokens": row.input_tokens or 0,
        "completion_tokens": row.output_tokens or 0,
        "total_tokens": (row.input_tokens or 0) + (row.output_tokens or 0),
    }
    if row.cache_read_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": row.cache_read_tokens}  # type: ignore[assignment]
    if row.cache_write_tokens is not None:
        usage["cache_creation_input_tokens"] = row.cache_write_tokens
    if row.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": row.reasoning_tokens}  # type: ignore[assignment]
    known: dict[str, Any] = {"status": "failure" if failed else "success", "usage_object": usage}
    if failed:
        known["error_information"] = error_information(row.error_type, row.error_message)
    if ours := carried(row):
        known[KEY] = ours
    return known


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
