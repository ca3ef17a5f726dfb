"""OpenAI's own objects as people log them: request and response side by side, Batch files, bare completions."""

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from beastmode.records import Message
from features.formats.decisions import KEY, taken
from features.formats.events import Event, Format, FormatError, Note, Row, Skipped, Source, Waiting
from features.formats.failures import STATUSES, error_type
from features.formats.heads import beginning
from features.formats.openai.writing import LOST, write
from features.formats.rows import interaction, refusal
from features.formats.tabular import Record, kind, records
from features.formats.tokens import tokens
from features.formats.values import Impossible, mapping, messages, moment, number, text

ANSWERS = ("chat.completion", "text_completion", "response")
"""What `object` says of an answer to a prompt: chat completions, completions, and the Responses API."""
MOMENTS = ("timestamp", "created_at", "started_at", "start_time", "time", "at")
ALONE = "a batch request whose answer is not in this log; put the input and the output file into one"
BATCH_ERRORS = {"batch_expired": "provider_timeout", "batch_cancelled": "caller_cancelled"}
"""Why a request of a batch was never answered."""
NO_OUTCOME = "a training example: messages without what a call cost, took or failed with"


@dataclass(slots=True)
class _Walk:
    """What is remembered between the lines: batch requests without their answer, and the other way round."""

    source: Source
    asked: dict[str, deque[tuple[Record, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(deque))
    answered: dict[str, deque[Record]] = field(default_factory=lambda: defaultdict(deque))
    before: datetime | None = None
    """The moment of the record before."""
    batch: bool = False
    """Whether some answer of a batch was seen."""
    assumed: bool = False


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the calls of a log of OpenAI's requests and responses; the two halves of a batch join by `custom_id`."""
    walk = _Walk(source)
    for item in records(stream):
        if item.values is None:
            yield item.event()
            continue
        yield from _line(item, item.values, walk)
    for alone in [item for items in walk.answered.values() for item in items]:
        yield from _call(alone, alone.values or {}, {}, walk, alone.lines)
    for item, _ in [pair for pairs in walk.asked.values() for pair in pairs]:
        # While a batch is running its first answers may be here already.
        yield Waiting(item.line, ALONE, item.lines) if walk.batch else Skipped(item.line, ALONE, item.lines)


def _line(item: Record, values: Mapping[str, Any], walk: _Walk) -> Iterator[Event]:
    """Yield what one line says, once its other half is there."""
    custom = values.get("custom_id")
    if "body" in values and ("url" in values or "method" in values):
        yield from _batch_request(item, values, str(custom), walk)
    elif "custom_id" in values and ("response" in values or "error" in values) and "request" not in values:
        walk.batch = True
        asked = walk.asked.get(str(custom))
        if asked:
            request, body = asked.popleft()
            yield from _call(item, values, body, walk, item.lines + request.lines)
        else:
            walk.answered[str(custom)].append(item)
    elif "request" in values or "response" in values:
        yield from _call(item, values, values.get("request"), walk, item.lines)
    elif "choices" in values or values.get("object") in ANSWERS:
        yield from _call(item, {"response": values}, {}, walk, item.lines)
    elif "messages" in values:
        yield Skipped(item.line, NO_OUTCOME, item.lines)
    else:
        problem = f"no request, response, body or choices among {', '.join(map(str, values))[:200]}"
        yield refusal(item.line, f"{problem}; this is no call of OpenAI's API", item.raw or repr(values), item.lines)


def _batch_request(item: Record, values: Mapping[str, Any], custom: str, walk: _Walk) -> Iterator[Event]:
    try:
        body = mapping("body", values.get("body"))
    except Impossible as error:
        yield refusal(item.line, error, item.raw or repr(values), item.lines)
        return
    answered = walk.answered.get(custom)
    if answered:
        answer = answered.popleft()
        yield from _call(answer, answer.values or {}, body, walk, item.lines + answer.lines)
    else:
        walk.asked[custom].append((item, body))


def _call(item: Record, values: Mapping[str, Any], request: object, walk: _Walk, lines: int) -> Iterator[Event]:
    """Yield one call as a row, or as the reason why it is none."""
    try:
        asked = mapping("request", request)
        answer = mapping("response", values.get("response"))
        # A batch wraps the answer in its status.
        body = mapping("response.body", answer.get("body")) if "status_code" in answer else answer
        if body.get("object") in ("list", "embedding", "image", "moderation"):
            yield Skipped(item.line, f"object = {body['object']!r} answers no prompt", lines)
            return
        known = _outcome(values, answer, body) | _said(values, asked, body)
        known |= taken((asked.get("metadata"), body.get("metadata"), values.get("metadata")))
        native, request_id = _identity(values, body, item)
        known["request_id"] = known.get("request_id") or request_id
        if (note := _moment(known, values, body, walk)) is not None:
            yield note
        row = interaction(known, "openai", walk.source, native)
    except Impossible as error:
        yield refusal(item.line, error, item.raw or repr(values), lines)
        return
    walk.before = row.at
    yield Row(row, lines, line=item.line, joined=lines - item.lines)


def _identity(values: Mapping[str, Any], body: Mapping[str, Any], item: Record) -> tuple[str, str]:
    """Return the identity of a record and the id that feedback joins by.

    They are the record's own id or the answer's; of a failure that has neither, its content. A `custom_id` is unique
    in its batch alone, so it is the trace.
    """
    native = text("id", values.get("request_id") or values.get("id")) or text("response.id", body.get("id"))
    if native is None:
        same = json.dumps(values, sort_keys=True, default=str).encode("utf-8", "replace")
        native = f"failure-{hashlib.sha256(same).hexdigest()[:24]}"
    if "custom_id" in values:
        return native, text("response.id", body.get("id")) or native
    return native, native


def _outcome(values: Mapping[str, Any], answer: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    usage = mapping("usage", body.get("usage"))
    into = mapping("usage.prompt_tokens_details", usage.get("prompt_tokens_details", usage.get("input_tokens_details")))
    out = mapping(
        "usage.completion_tokens_details",
        usage.get("completion_tokens_details", usage.get("output_tokens_details")),
    )
    known: dict[str, Any] = tokens(
        usage.get("prompt_tokens", usage.get("input_tokens")),
        usage.get("completion_tokens", usage.get("output_tokens")),
        cache_read=into.get("cached_tokens"),
        cache_write=into.get("cache_write_tokens"),
        reasoning=out.get("reasoning_tokens"),
    )
    known["latency_ms"] = number("latency_ms", values.get("latency_ms", values.get("duration_ms")))
    known["ttft_ms"] = number("ttft_ms", values.get("ttft_ms"))
    known["cost_logged_usd"] = number("cost_usd", values.get("cost_usd"))
    known["provider"] = text("provider", values.get("provider"))
    code = number("status_code", values.get("status_code", answer.get("status_code")))
    wrong = values.get("error") or body.get("error")
    if wrong or (code or 0) >= 400 or not body or body.get("status") in ("failed", "cancelled"):
        kind, message = _error(wrong or body.get("status"), None if code is None else int(code))
        known |= {"status": STATUSES.get(kind, "failure"), "error_type": kind, "error_message": message}
    else:
        known["model_served"] = text("response.model", body.get("model"))
    return known


def _error(wrong: object, code: int | None) -> tuple[str, str | None]:
    """Return our name of a failure and its message; OpenAI's `code` tells more than its `type`, and a status more."""
    if not isinstance(wrong, Mapping):
        message = text("error", wrong)
        return error_type(message, message, code), message
    message = text("error.message", wrong.get("message"))
    named = text("error.code", wrong.get("code"))
    if named in BATCH_ERRORS:
        return BATCH_ERRORS[named], message
    return error_type(named or (wrong.get("type") if code is None else None), message, code), message


def _said(values: Mapping[str, Any], asked: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the request tells: prompt, model, whose it is, and the caller's own metadata as the context."""
    context = dict(mapping("metadata", asked.get("metadata") or body.get("metadata")))
    context.pop(KEY, None)
    return {
        "messages": _messages(asked),
        "model_requested": text("request.model", asked.get("model")),
        "unit": text("user", asked.get("user") or asked.get("safety_identifier")),
        "tenant": text("tenant", values.get("tenant")),
        "session_id": text("session_id", values.get("session_id")),
        "trace_id": text("trace_id", values.get("trace_id") or values.get("custom_id")),
        "context": context or None,
    }


def _messages(asked: Mapping[str, Any]) -> tuple[Message, ...] | None:
    """Return the prompt of a chat, a completion or a Responses request."""
    said = asked.get("messages") or asked.get("input") or asked.get("prompt")
    found = messages("request.messages", said)
    system = asked.get("instructions")
    if isinstance(system, str) and system:
        return ({"role": "system", "content": system}, *(found or ()))
    return found


def _moment(known: dict[str, Any], values: Mapping[str, Any], body: Mapping[str, Any], walk: _Walk) -> Note | None:
    """Set when the call began; OpenAI says when the answer was made. A failure may say nothing at all."""
    given = next((values[name] for name in MOMENTS if values.get(name) not in (None, "")), None)
    at = moment("timestamp", given)
    if at is None:
        made = moment("response.created", body.get("created", body.get("created_at")))
        at = None if made is None else made - timedelta(milliseconds=known["latency_ms"] or 0)
    if at is not None:
        known["at"] = at
        return None
    known["at"] = walk.before or walk.source.start
    if walk.assumed:
        return None
    walk.assumed = True
    return Note("a record without a moment takes that of the record before it; log `timestamp` with each call")


def sniff(head: bytes) -> float:
    """Return how sure it is that a log which begins so holds OpenAI's objects."""
    try:
        if kind(head) not in ("lines", "array"):
            return 0.1 if kind(head) == "parquet" else 0.0
    except FormatError:
        return 0.0
    known = beginning(head)
    names = known.keys()
    if "custom_id" in names and (names & {"body", "response"}):
        return 0.97
    if {"choices", "usage"} <= names or known.get("object") in ANSWERS:
        return 0.95
    if {"request", "response"} <= names and not names & {"startTime", "table", "info", "meta"}:
        return 0.93
    return 0.6 if names == {"messages"} else 0.0


FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=LOST)
