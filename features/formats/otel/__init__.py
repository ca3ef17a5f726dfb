"""OpenTelemetry's GenAI spans and evaluations as OTLP/JSON: one export request a line, one in a file, or an array."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from features.formats.decisions import taken
from features.formats.events import Event, Format, Note, Rating, Row, Skipped, Source, event_id
from features.formats.heads import beginning
from features.formats.otel.attributes import (
    ANSWERED,
    CALLS,
    CONVERSATION,
    PROVIDER,
    REQUESTED,
    USER,
    Attributes,
    attributes,
    consumption,
    first,
    operation,
    prompt,
)
from features.formats.otel.writing import LOST, write
from features.formats.rows import feedback, interaction, refusal
from features.formats.spans import BESIDE, SPAN, TRACE, identity, listed, moment_of, nanos, outcome, refused, sharing
from features.formats.tabular import records
from features.formats.values import Impossible, count, mapping

EVALUATION = "gen_ai.evaluation.name"
_SPANS = ("resourceSpans", "resource_spans")
_LOGS = ("resourceLogs", "resource_logs")
_METRICS = ("resourceMetrics", "resource_metrics")
SIGNALS = (*_SPANS, *_LOGS, *_METRICS)
"""What an export request holds, in OTLP/JSON's spelling and in that of protobuf's field names."""


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the model calls and the evaluations of an OTLP/JSON log; other spans and records are skipped."""
    told: set[str] = set()
    for item in records(stream, source.shape):
        if item.values is None:
            yield item.event()
        elif not any(name in item.values for name in SIGNALS):
            reason = "no resourceSpans and no resourceLogs: a record of OTLP/JSON is an export request"
            yield refusal(item.line, reason, item.raw, item.lines)
        else:
            events = list(_events(item.values, item.line, source))
            yield from sharing(events or [Skipped(item.line, "no span and no log record")], item.lines, told)


def _events(known: Mapping[str, Any], line: int, source: Source) -> Iterator[Event]:
    for resource in listed(known, *_SPANS):
        for scope in listed(resource, "scopeSpans", "scope_spans"):
            for span in listed(scope, "spans"):
                yield from _span(span, line, source)
    for resource in listed(known, *_LOGS):
        for scope in listed(resource, "scopeLogs", "scope_logs"):
            for record in listed(scope, "logRecords", "log_records"):
                yield _record(record, line, source)


def _span(span: Any, line: int, source: Source) -> Iterator[Event]:
    try:
        if not isinstance(span, dict):
            raise Impossible("span", span, "expected an object")
        trace, own = _id(span, "traceId", "trace_id", TRACE), _id(span, "spanId", "span_id", SPAN)
        known = attributes(span)
        inner = [(event, attributes(event)) for event in listed(span, "events") if isinstance(event, dict)]
        does = operation(known)
        request_id = None
        if does is None or does.lower() not in CALLS:
            yield Skipped(line, f"a span that answers no prompt: {does or 'it names no model'}")
        else:
            columns, beside = _call(span, known, [(str(event.get("name")), said) for event, said in inner])
            columns["trace_id"] = trace
            request_id = columns["request_id"] = columns.get("request_id") or f"{trace}-{own}"
            row = interaction(columns, "otel", source, f"{trace}:{own}")
            if beside:
                yield Note(BESIDE.format(who=row.provider))
            yield Row(row, line=line)
    except Impossible as error:
        yield refused(line, error, span, call=True)
        return
    for event, said in inner:
        if EVALUATION in said:
            of = _of_span(trace, own, source) | {"request_id": request_id} if request_id else {"trace_id": trace}
            yield _evaluation(event, said, of, line, source)


def _call(
    span: Mapping[str, Any], known: Attributes, events: list[tuple[str, Attributes]]
) -> tuple[dict[str, Any], bool]:
    """Return what a span says of its call by column, and whether it counts cached tokens beside its input."""
    start = nanos("startTimeUnixNano", span.get("startTimeUnixNano") or span.get("start_time_unix_nano"))
    end = nanos("endTimeUnixNano", span.get("endTimeUnixNano") or span.get("end_time_unix_nano"))
    if start is not None and end is not None and end < start:
        raise Impossible("endTimeUnixNano", end, f"lies before startTimeUnixNano = {start}")
    columns, beside = consumption(known)
    columns |= outcome(
        mapping("status", span.get("status")),
        events,
        first(known, (*ANSWERED, *REQUESTED)),
        known.get("error.type"),
        count("http.response.status_code", known.get("http.response.status_code")),
    )
    columns |= taken((known,))
    columns["at"] = None if start is None else moment_of(start)
    columns["latency_ms"] = None if start is None or end is None else (end - start) / 1e6
    columns["session_id"] = first(known, CONVERSATION)
    columns["unit"] = columns.get("unit") or first(known, USER)
    columns["provider"] = first(known, PROVIDER)
    columns["model_requested"] = first(known, REQUESTED)
    columns["messages"] = prompt(known, events)
    return columns, beside


def _id(owner: Mapping[str, Any], name: str, other: str, size: int) -> str:
    return identity(name, owner.get(name) or owner.get(other), size)


def _of_span(trace: str, own: str, source: Source) -> dict[str, str]:
    """Return what feedback on a span joins by."""
    native = event_id("otel", source.deployment, f"{trace}:{own}")
    return {"event_id": native, "request_id": f"{trace}-{own}", "trace_id": trace}


def _record(record: Any, line: int, source: Source) -> Event:
    """Return the evaluation that a log record holds, as the conventions have it since span events are going out."""
    try:
        known = attributes(record) if isinstance(record, dict) else {}
        if EVALUATION not in known:
            return Skipped(line, "a log record that is no evaluation")
        of = {"request_id": taken((known,)).get("request_id")}
        if record.get("traceId") or record.get("trace_id"):
            trace = _id(record, "traceId", "trace_id", TRACE)
            spans = record.get("spanId") or record.get("span_id")
            whole = _of_span(trace, identity("spanId", spans, SPAN), source) if spans else {"trace_id": trace}
            of = whole | {name: value for name, value in of.items() if value}
    except Impossible as error:
        return refused(line, error, record, call=False)
    return _evaluation(record, known, of, line, source)


def _evaluation(owner: Mapping[str, Any], known: Attributes, of: Mapping[str, Any], line: int, source: Source) -> Event:
    """Return what an event or a log record says of the quality of a call, or of a trace."""
    value, label = known.get("gen_ai.evaluation.score.value"), known.get("gen_ai.evaluation.score.label")
    if value is None and not label:
        return Skipped(line, "an evaluation without a score")
    try:
        seen = nanos("observedTimeUnixNano", owner.get("observedTimeUnixNano") or owner.get("observed_time_unix_nano"))
        at = nanos("timeUnixNano", owner.get("timeUnixNano") or owner.get("time_unix_nano")) or seen
        given = {
            **of,
            "signal": known[EVALUATION],
            "value": value,
            "label": label,
            "at": at and moment_of(at),
            "received_at": moment_of(seen) if at and seen and seen > at else None,
        }
        return Rating(feedback(given, source), 0)
    except Impossible as error:
        return refused(line, error, owner, call=False)


def sniff(head: bytes) -> float:
    """Return how sure it is that a log which begins so is OTLP/JSON."""
    known = beginning(head)
    return 0.99 if any(name in known for name in SIGNALS) else 0.0


FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=LOST, resumes=True)
