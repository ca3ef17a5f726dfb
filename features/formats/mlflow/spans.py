"""An MLflow trace and its spans, whatever version wrote them, and which of the spans are calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from features.formats.rows import moment_needed
from features.formats.spans import SPAN, identity, listed, nanos
from features.formats.values import Impossible, mapping, number, parse, text

CALLS = frozenset({"CHAT_MODEL", "LLM"})
"""Types of span that answer a prompt."""
DEEPEST = 100
"""Spans around one that are looked at."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace, whatever version wrote it."""

    trace_id: str
    at: datetime
    latency_ms: float | None
    state: str
    metadata: Mapping[str, Any]
    tags: Mapping[str, Any]
    info: Mapping[str, Any]
    spans: list[Any]

    @property
    def end(self) -> datetime:
        """When it ended, as far as that is known."""
        return self.at + timedelta(milliseconds=self.latency_ms or 0)


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """One span of a trace; ids in hex, times in ns since 1970."""

    own: str
    parent: str | None
    type: str
    start: int
    end: int | None
    status: Mapping[str, Any]
    known: Mapping[str, Any]
    """Attributes, of which each value is the JSON text of one."""
    events: list[tuple[str, Mapping[str, Any], int | None]]
    """Name, attributes and moment of each."""
    raw: object

    def __getitem__(self, name: str) -> Any:
        return value_of(self.known.get(name))

    @property
    def telling(self) -> bool:
        """Whether it says what model it asked or what that took, and not only that it is about one."""
        return any(self.known.get(name) is not None for name in ("mlflow.llm.model", "mlflow.chat.tokenUsage"))


def value_of(written: object) -> Any:
    """Return what an attribute holds: JSON text becomes its value, other text stays what it is."""
    if not isinstance(written, str):
        return written
    try:
        return parse(written.encode("utf-8", "replace"))
    except ValueError:
        return written


def trace_of(values: Mapping[str, Any]) -> Trace:
    """Return the trace of a line, or of a row of the table, in which it stands whole beside its own parts.

    Raises Impossible where it has no id or no moment.
    """
    whole = values.get("trace")
    values = mapping("trace", whole) if whole else values
    info = mapping("info", values.get("info")) or values
    data = mapping("data", values.get("data")) or values
    trace_id = text("trace_id", info.get("trace_id") or info.get("request_id"))
    if trace_id is None:
        raise Impossible("trace_id", None, "an MLflow trace has info.trace_id, its table a column trace_id")
    took = next((info[name] for name in _TOOK if info.get(name) is not None), None)
    return Trace(
        trace_id=trace_id,
        at=moment_needed("request_time", info.get("request_time") or info.get("timestamp_ms")),
        latency_ms=number("execution_duration_ms", took),
        state=str(info.get("state") or info.get("status") or ""),
        metadata=mapping("trace_metadata", info.get("trace_metadata") or info.get("request_metadata")),
        tags=mapping("tags", info.get("tags")),
        info=info,
        spans=listed(data, "spans"),
    )


_TOOK = ("execution_duration_ms", "execution_duration", "execution_time_ms")


def span_of(raw: object) -> Span:
    """Return a span; raises Impossible where it has no id or no start, or ends before it."""
    if not isinstance(raw, dict):
        raise Impossible("span", raw, "expected an object")
    # Before version 3.5 ids stood in a context, and the status beside them.
    context = mapping("context", raw.get("context")) or raw
    above = raw.get("parent_span_id") or raw.get("parent_id")
    start = nanos("start_time_unix_nano", raw.get("start_time_unix_nano") or raw.get("start_time"))
    end = nanos("end_time_unix_nano", raw.get("end_time_unix_nano") or raw.get("end_time"))
    if start is None:
        raise Impossible("start_time_unix_nano", None, "every span has its start")
    if end is not None and end < start:
        raise Impossible("end_time_unix_nano", end, f"lies before start_time_unix_nano = {start}")
    known = mapping("attributes", raw.get("attributes"))
    old = {"code": raw.get("status_code"), "message": raw.get("status_message")}
    return Span(
        own=identity("span_id", context.get("span_id"), SPAN),
        parent=identity("parent_span_id", above, SPAN) if above else None,
        type=str(value_of(known.get("mlflow.spanType"))),
        start=start,
        end=end,
        status=mapping("status", raw.get("status")) or old,
        known=known,
        events=[_event(event) for event in listed(raw, "events") if isinstance(event, dict)],
        raw=raw,
    )


def _event(event: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], int | None]:
    at = nanos("time_unix_nano", event.get("time_unix_nano") or event.get("timestamp"))
    return str(event.get("name")), mapping("event.attributes", event.get("attributes")), at


def calls_of(spans: Sequence[Span]) -> list[Span]:
    """Return the spans that are calls, in time order.

    Two libraries that are both traced nest one call in another: the outer one counts, if it says anything about the
    model; MLflow sums up tokens in the same way.
    """
    about = [span for span in spans if span.type in CALLS]
    if len(about) < 2:
        return about
    by_id = {span.own: span for span in spans}
    wrapped = {above.own for span in about if span.telling for above in _above(span, by_id)}
    return sorted(
        (
            span
            for span in about
            if not any(above.type in CALLS and above.telling for above in _above(span, by_id) if above is not span)
            and (span.telling or span.own not in wrapped)
        ),
        key=lambda span: span.start,
    )


def _above(span: Span, by_id: Mapping[str, Span]) -> list[Span]:
    """Return the spans around one, the nearest first; where a broken log runs in a circle, as many as are looked at."""
    found: list[Span] = []
    current = by_id.get(span.parent or "")
    while current is not None and len(found) < DEEPEST:
        found.append(current)
        current = by_id.get(current.parent or "")
    return found
