"""LiteLLM's logs: rows of LiteLLM_SpendLogs (JSON or CSV) and StandardLoggingPayload objects."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, BinaryIO

from features.formats.decisions import taken
from features.formats.events import Event, Format, FormatError, Row, Source
from features.formats.litellm.errors import error_type
from features.formats.litellm.text import GAP, restored
from features.formats.litellm.writing import write
from features.formats.rows import interaction, moment_needed, refusal
from features.formats.tabular import Record, kind, records
from features.formats.values import Impossible, count, mapping, messages, moment, number, parse, prompt_facts, text

# litellm files every kind of call in one table; these answer nothing.
OTHER_CALLS = (
    "embedding", "image", "speech", "transcription", "moderation", "rerank", "file", "batch", "vector_store",
    "assistant", "thread", "search", "ocr", "video",
)  # fmt: skip


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the calls of a LiteLLM log."""
    for item in records(stream, source.shape):
        if item.values is None:
            yield item.event()
            continue
        try:
            yield _row(item, item.values, source)
        except Impossible as error:
            yield refusal(item.line, error, item.raw or repr(item.values), item.lines)


def _row(item: Record, values: Mapping[str, Any], source: Source) -> Row:
    native = text("request_id", values.get("request_id") or values.get("id"))
    if native is None:
        raise Impossible("request_id", None, "a LiteLLM record has a request_id (SpendLogs) or an id (payload)")
    call = str(values.get("call_type") or "")
    if _is_other(call):
        raise Impossible("call_type", call, "answers no prompt, so there is nothing to route")
    metadata = mapping("metadata", values.get("metadata"))
    body = _body(values.get("proxy_server_request"))
    # LiteLLM keeps a caller's own metadata in several places, by version and kind of log.
    decision = taken(
        (metadata, metadata.get("spend_logs_metadata"), metadata.get("requester_metadata"), body.get("metadata"))
    )
    known = _outcome(values, metadata)
    known["request_id"] = native
    known["trace_id"] = text("trace_id", values.get("trace_id") or values.get("litellm_call_id"))
    known["session_id"] = text("session_id", values.get("session_id")) or known["trace_id"]
    known["tenant"] = text("team_id", values.get("team_id") or metadata.get("user_api_key_team_id"))
    known["unit"] = text("end_user", values.get("end_user"))
    known["model_requested"] = text("model_group", values.get("model_group")) or text("model", values.get("model"))
    known["context"] = _context(values, metadata)
    said = messages("messages", values.get("messages")) or _said(body)
    skipped = 0
    if said and (not item.raw or b"truncated" in item.raw):
        said, skipped, gaps = restored(said)
        if skipped:
            known["prompt_chars"] = prompt_facts(said)[1] - gaps * len(GAP) + skipped
    known["messages"] = said
    return Row(interaction(decision, "litellm", source, native, known), item.lines, skipped, item.line)


@lru_cache(maxsize=1024)
def _is_other(call: str) -> bool:
    return any(word in call.lower() for word in OTHER_CALLS)


def _outcome(values: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    status = str(values.get("status") or metadata.get("status") or "")
    wrong = mapping("error_information", values.get("error_information") or metadata.get("error_information"))
    if not status:
        status = "failure" if wrong.get("error_class") or values.get("error_str") else "success"
    start = moment_needed("startTime", values.get("startTime"))
    known: dict[str, Any] = {"at": start, "status": status}
    known["provider"] = text("custom_llm_provider", values.get("custom_llm_provider"))
    cached = str(values.get("cache_hit")).strip().lower() == "true"
    known |= _times(values, start, failed=status == "failure") | _tokens(values, metadata, failed=status == "failure")
    known["cost_logged_usd"] = _cost(values, metadata, cached and status == "success")
    if status == "failure":
        message = text("error_message", wrong.get("error_message")) or text("error_str", values.get("error_str"))
        known["error_type"] = error_type(wrong, message or "")
        known["error_message"] = message
    else:
        known["model_served"] = text("model", values.get("model"))
        known["cache_tier"] = "gateway" if cached else None
    return known


def _times(values: Mapping[str, Any], start: datetime, *, failed: bool) -> dict[str, float | None]:
    """Return latency and time to first token. A failure without a duration has neither, since it starts at its end."""
    end, first = (
        moment("endTime", values.get("endTime")),
        moment("completionStartTime", values.get("completionStartTime")),
    )
    if end is not None and end < start:
        raise Impossible("endTime", end.isoformat(), f"lies before startTime = {start.isoformat()}")
    known: dict[str, float | None] = {"latency_ms": None, "ttft_ms": None}
    if end is not None and end > start:
        known["latency_ms"] = _ms(end - start)
    elif not failed:
        known["latency_ms"] = number("request_duration_ms", values.get("request_duration_ms"))
    # Without a stream LiteLLM puts the end of the call here.
    if first is not None and end is not None and start <= first < end and not failed:
        known["ttft_ms"] = _ms(first - start)
    return known


def _ms(span: timedelta) -> float:
    return span / timedelta(microseconds=1) / 1e3


def _tokens(values: Mapping[str, Any], metadata: Mapping[str, Any], *, failed: bool) -> dict[str, int | None]:
    """Return the tokens; LiteLLM's prompt_tokens include cached ones. Where all are zero nothing is known."""
    into, out = (
        count("prompt_tokens", values.get("prompt_tokens")),
        count("completion_tokens", values.get("completion_tokens")),
    )
    usage = mapping("usage_object", metadata.get("usage_object"))
    extra = mapping("additional_usage_values", metadata.get("additional_usage_values"))
    if not into and not out:
        into, out = (
            count("prompt_tokens", usage.get("prompt_tokens")),
            count("completion_tokens", usage.get("completion_tokens")),
        )
    if not into and (failed or not out):
        return {}
    prompt = mapping("prompt_tokens_details", usage.get("prompt_tokens_details"))
    answer = mapping("completion_tokens_details", usage.get("completion_tokens_details"))
    read = prompt.get("cached_tokens", usage.get("cache_read_input_tokens", extra.get("cache_read_input_tokens")))
    write = usage.get("cache_creation_input_tokens", prompt.get("cache_creation_tokens"))
    return {
        "input_tokens": into or None,
        "output_tokens": out,
        "cache_read_tokens": count("cached_tokens", read),
        "cache_write_tokens": count(
            "cache_creation_input_tokens", extra.get("cache_creation_input_tokens") if write is None else write
        ),
        "reasoning_tokens": count("reasoning_tokens", answer.get("reasoning_tokens")),
    }


def _cost(values: Mapping[str, Any], metadata: Mapping[str, Any], cached: bool) -> float | None:
    """Return what LiteLLM thinks the call cost; its zero means that it does not know, except for a cache's answer."""
    spend = number("spend", values.get("spend", values.get("response_cost")))
    if spend or cached:
        return spend
    parts = mapping("cost_breakdown", metadata.get("cost_breakdown") or values.get("cost_breakdown"))
    return number("cost_breakdown.total_cost", parts.get("total_cost")) or None


def _body(value: object) -> dict[str, Any]:
    """Return the stored request; a body that was cut or redacted is as good as none."""
    try:
        return mapping("proxy_server_request", value)
    except Impossible:
        return {}


def _said(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...] | None:
    for name in ("messages", "input", "prompt"):
        try:
            said = messages(name, body.get(name))
        except Impossible:
            continue
        if said:
            return said
    return None


def _context(values: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    tags, routed = values.get("request_tags"), metadata.get("routing_decision")
    if isinstance(tags, str):
        try:
            tags = parse(tags.encode("utf-8", "replace"))
        except ValueError:
            # An array as PostgreSQL prints it: {a,b}
            tags = [tag.strip('"') for tag in tags.strip("{}").split(",") if tag]
    context: dict[str, Any] = {}
    if tags:
        context["request_tags"] = tags
    if routed:
        context["routing_decision"] = routed
    return context or None


def sniff(head: bytes) -> float:
    """Return how sure it is that a log which begins so is LiteLLM's."""
    try:
        of = kind(head)
    except FormatError:
        return 0.0
    if of == "parquet":
        return 0.1
    first = head.lstrip(b"\xef\xbb\xbf \r\n").split(b"\n", 1)[0] if of == "csv" else head
    if b"startTime" not in first:
        return 0.0
    marks = (b"spend", b"response_cost", b"call_type", b"model_group", b"custom_llm_provider", b"cache_hit")
    return min(0.97, sum(mark in first for mark in marks) / 3)


LOST = frozenset({"event_id", "format", "context", "needs", "predictions", "attempts", "cost_usd", "cost_source"})
FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=LOST, resumes=True)
