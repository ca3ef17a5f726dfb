"""Langfuse's exports: observations and scores as the API (camelCase) or ClickHouse (snake_case) spells them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, BinaryIO

from features.formats.decisions import taken
from features.formats.events import GRACE, Event, Format, Rating, Refusal, Row, Skipped, Source, Waiting
from features.formats.failures import STATUSES, error_type
from features.formats.journal import PROCESS_ENDED
from features.formats.langfuse import scores as scoring
from features.formats.langfuse import usage
from features.formats.langfuse.writing import write
from features.formats.maps import loose
from features.formats.pages import EMPTY, first, items
from features.formats.rows import interaction, moment_needed, refusal
from features.formats.tabular import Record, records
from features.formats.values import Impossible, messages, moment, number, parse, text

OWN = "langfuse-"
"""How the environments begin in which Langfuse's own judges call models."""


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the generations and the scores of a Langfuse export, in one file or in several."""
    for item in records(stream):
        if item.values is None:
            yield item.event()
            continue
        lines = item.lines
        for found in items(item.values):
            for part in _parts(found):
                yield _event(part, item, lines, source)
                lines = 0


def _parts(values: Any) -> Iterator[Any]:
    """Yield what a record holds: itself, or a trace's observations and scores, where they stand in the trace."""
    inner = values.get("observations") if isinstance(values, dict) else None
    # A list of traces has the ids of the observations alone.
    if not isinstance(inner, list) or not inner or not all(isinstance(item, dict) for item in inner):
        yield values
        return
    shared = {name: values.get(name) for name in ("sessionId", "userId")}
    yield from ({**shared, **item} for item in inner)
    scores = values.get("scores")
    yield from (item for item in scores if isinstance(item, dict)) if isinstance(scores, list) else ()


def _event(part: Any, item: Record, lines: int, source: Source) -> Event:
    if part is EMPTY:
        return Skipped(item.line, "an empty page", lines)
    try:
        if not isinstance(part, dict):
            raise Impossible("data", part, "a page holds observations or scores")
        values = {_snake(name): value for name, value in part.items()}
        if reason := _no_call(values):
            return Skipped(item.line, reason, lines)
        if "start_time" in values:
            return _row(values, source, item.line, lines)
        return Rating(scoring.score(values, source), lines)
    except Impossible as error:
        raw = item.raw if part is item.values else b""
        refused = refusal(item.line, error, raw or json.dumps(part, default=str), lines)
        return refused if lines else _inner(refused, part)


def _inner(refused: Refusal, part: object) -> Refusal:
    """Return the refusal of a record whose line was taken already, as what it was."""
    return replace(refused, of_call=isinstance(part, dict) and not ("value" in part or "stringValue" in part))


@lru_cache(maxsize=1024)
def _snake(name: str) -> str:
    """Return a name as ClickHouse spells it.

    >>> _snake("parentObservationId"), _snake("usage_details")
    ('parent_observation_id', 'usage_details')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _no_call(values: Mapping[str, Any]) -> str | None:
    """Return what a record is that belongs in such an export but is neither a model's call nor a score."""
    if str(values.get("is_deleted") or 0) == "1":
        return "a deleted record"
    if str(values.get("environment") or "").startswith(OWN):
        return "a record of Langfuse's own judges"
    if "start_time" in values:
        sort = str(values.get("type") or "").upper()
        return f"an observation of type {sort}" if sort.isalpha() and sort != "GENERATION" else None
    if "value" in values or "string_value" in values:
        return scoring.of_no_call(values)
    return "a trace" if "timestamp" in values else None


def _row(values: Mapping[str, Any], source: Source, line: int, lines: int) -> Row | Waiting:
    native = text("id", values.get("id"))
    if native is None:
        raise Impossible("id", None, "every observation has an id")
    if str(values.get("type") or "").upper() != "GENERATION":
        raise Impossible("type", values.get("type"), "expected GENERATION, or another type of observation")
    metadata = loose(values.get("metadata"))
    known = _outcome(values, metadata)
    if known["status"] == "unknown" and source.at - known["at"] <= GRACE:
        return Waiting(line, f"observation {native!r} has not ended yet", lines)
    # LiteLLM's integration keeps a caller's own metadata one level deeper.
    known |= taken((metadata, metadata.get("requester_metadata")))
    known["request_id"] = known.get("request_id") or native
    known["trace_id"] = text("traceId", values.get("trace_id"))
    known["session_id"] = text("sessionId", values.get("session_id")) or known["trace_id"]
    known["unit"] = known.get("unit") or text("userId", values.get("user_id"))
    known["messages"] = _prompt(values.get("input"))
    known["context"] = {
        name: values[name] for name in ("name", "trace_name", "prompt_name") if values.get(name)
    } or None
    return Row(interaction(known, "langfuse", source, native), lines, line=line)


def _outcome(values: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    start, end = moment_needed("startTime", values.get("start_time")), moment("endTime", values.get("end_time"))
    model = text("providedModelName", values.get("provided_model_name") or values.get("model"))
    known: dict[str, Any] = {"at": start, "status": "success"}
    group = metadata.get("model_group")
    known["model_requested"] = group if isinstance(group, str) and group else model
    failed = str(values.get("level") or "").upper() == "ERROR"
    known |= usage.tokens(values, failed=failed)
    cached = str(metadata.get("cache_hit")).lower() == "true"
    known["cost_logged_usd"] = usage.cost(values, cached=cached and not failed)
    if failed:
        known |= _failure(values, metadata)
    elif end is None and not known.get("output_tokens") and values.get("output") in (None, ""):
        known |= {"status": "unknown", "error_type": PROCESS_ENDED, "error_message": "the generation never ended"}
    else:
        known |= {"model_served": model, "cache_tier": "gateway" if cached else None}
    return known | _times(values, start, end, failed=failed)


def _failure(values: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    message = text("statusMessage", values.get("status_message"))
    spoken = metadata.get("error_type") or loose(metadata.get("attributes")).get("error.type")
    sort = error_type(spoken, message)
    return {"status": STATUSES.get(sort, "failure"), "error_type": sort, "error_message": message}


def _times(
    values: Mapping[str, Any], start: datetime, end: datetime | None, *, failed: bool
) -> dict[str, float | None]:
    """Return latency and time to first token in ms, from the moments, else from the fields that are in seconds."""
    if end is not None and end < start:
        raise Impossible("endTime", end.isoformat(), f"lies before startTime = {start.isoformat()}")
    first = moment("completionStartTime", values.get("completion_start_time"))
    # The moments come first: raw exports of the newest tables give latency in ms, all others in seconds.
    latency = _ms(end - start) if end is not None else _seconds("latency", values.get("latency"))
    if failed:
        return {"latency_ms": latency, "ttft_ms": None}
    if first is None:
        return {"latency_ms": latency, "ttft_ms": _seconds("timeToFirstToken", values.get("time_to_first_token"))}
    # Without a stream some integrations put the end here.
    streamed = start <= first and (end is None or first < end)
    return {"latency_ms": latency, "ttft_ms": _ms(first - start) if streamed else None}


def _ms(span: timedelta) -> float:
    return span / timedelta(microseconds=1) / 1e3


def _seconds(field: str, value: object) -> float | None:
    known = number(field, float(value) if isinstance(value, Decimal) else value)
    return None if known is None else known * 1e3


def _prompt(value: object) -> tuple[Mapping[str, Any], ...] | None:
    """Return the chat of a generation's input; input of another shape is no prompt that can be routed on."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            value = parse(value.encode("utf-8", "replace"))
        except ValueError:
            return messages("input", value)
    if isinstance(value, dict) and not value.get("messages"):
        value = value.get("prompt") if "role" not in value else [value]
    try:
        return messages("input", value)
    except Impossible:
        return None


def sniff(head: bytes) -> float:
    """Return how sure it is that a log which begins so is Langfuse's."""
    if head.startswith(b"PAR1"):
        return 0.1
    names = {_snake(name) for name in first(head)}
    return 0.97 if any(marks <= names for marks in MARKS) else 0.0


MARKS = (
    {"trace_id", "start_time", "usage_details"}, {"trace_id", "start_time", "provided_model_name"},
    {"trace_id", "start_time", "parent_observation_id"}, {"trace_id", "start_time", "status_message"},
    {"name", "value", "data_type", "timestamp"}, {"observations", "scores", "timestamp"},
)  # fmt: skip
"""Names of which a record of Langfuse has all of one group."""
LOST = frozenset(
    {
        "event_id",
        "format",
        "tenant",
        "context",
        "needs",
        "predictions",
        "provider",
        "attempts",
        "cost_usd",
        "cost_source",
    }
)
FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=LOST)
