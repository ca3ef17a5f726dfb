"""MLflow's traces: `Trace.to_json()` a line, or the table of `search_traces`, from version 2.14 on."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from beastmode.records import Message
from features.formats.decisions import taken
from features.formats.events import GRACE, Event, Format, Note, Row, Skipped, Source, Waiting
from features.formats.heads import beginning
from features.formats.mlflow.assessments import assessment
from features.formats.mlflow.spans import CALLS, Span, Trace, calls_of, span_of, trace_of, value_of
from features.formats.mlflow.writing import FIRST_CHUNK, LOST, write
from features.formats.rows import interaction, refusal
from features.formats.spans import (
    BESIDE,
    listed,
    moment_of,
    outcome,
    refused,
    sharing,
    spoken,
    usage,
)
from features.formats.tabular import records
from features.formats.values import Impossible, mapping, text

OTHER, WRAPS = "a span that answers no prompt", "it is about a call that another span holds"
ENDED = "router_process_ended"
_ROLES = {"human": "user", "ai": "assistant"}
"""LangChain's names of roles, in traces before MLflow 3."""


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the model calls and the assessments of MLflow traces; other spans are skipped."""
    told: set[str] = set()
    for item in records(stream, source.shape):
        if item.values is None:
            yield item.event()
            continue
        try:
            trace = trace_of(item.values)
        except Impossible as error:
            yield refusal(item.line, error, item.raw or repr(item.values), item.lines)
            continue
        yield from sharing(_events(trace, item.line, source), item.lines, told)


def _events(trace: Trace, line: int, source: Source) -> Iterator[Event]:
    if trace.state == "IN_PROGRESS" and source.at - trace.at <= GRACE:
        yield Waiting(line, f"trace {trace.trace_id!r} may still be running")
        return
    spans = []
    for raw in trace.spans:
        try:
            spans.append(span_of(raw))
        except Impossible as error:
            yield refused(line, error, raw, call=True)
    calls = calls_of(spans)
    yield from (Skipped(line, f"{OTHER}: {WRAPS if s.type in CALLS else s.type}") for s in spans if s not in calls)
    answered: dict[str, Interaction] = {}
    for i, span in enumerate(calls):
        # What the tags of a trace say of our decision can only be its first call's.
        for event in _rows(span, trace, trace.tags if i == 0 else {}, line, source):
            if isinstance(event, Row):
                answered[span.own] = event.interaction
            yield event
    if not trace.spans:
        yield _alone(trace, line, source)
    for word in listed(trace.info, "assessments"):
        yield assessment(word, trace, answered, line, source)


def _rows(span: Span, trace: Trace, tags: Mapping[str, Any], line: int, source: Source) -> Iterator[Event]:
    """Yield the interaction of a call, after what was assumed of its tokens, or why it cannot be true."""
    try:
        columns, beside = _call(span, trace, tags)
        row = interaction(columns, "mlflow", source, f"{trace.trace_id}:{span.own}")
    except Impossible as error:
        yield refused(line, error, span.raw, call=True)
        return
    if beside:
        yield Note(BESIDE.format(who=row.provider))
    yield Row(row, line=line)


def _call(span: Span, trace: Trace, tags: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return what a span says of its call by column, and whether it counts cached tokens beside its input."""
    into, out = span["mlflow.spanInputs"], span["mlflow.spanOutputs"]
    model = text("mlflow.llm.model", span["mlflow.llm.model"])
    requested = _model(into) or _model({"model": span["model"]}) or model
    columns, beside = _usage(span["mlflow.chat.tokenUsage"] or _told(out))
    said = [(name, inner) for name, inner, _ in span.events]
    columns |= outcome(span.status, said, _model(out) or model or requested)
    if span.end is None:
        columns |= {"status": "unknown", "error_type": ENDED, "model_served": None}
    columns |= taken(({"beastmode": span["beastmode"]}, tags))
    columns["request_id"] = columns.get("request_id") or f"{trace.trace_id}-{span.own}"
    columns["at"] = moment_of(span.start)
    columns["latency_ms"] = None if span.end is None else (span.end - span.start) / 1e6
    first = next((at for name, _, at in span.events if name == FIRST_CHUNK), None)
    columns["ttft_ms"] = None if first is None or first < span.start else (first - span.start) / 1e6
    columns["model_requested"] = requested
    columns["provider"] = span["mlflow.llm.provider"]
    columns["cost_logged_usd"] = mapping("mlflow.llm.cost", span["mlflow.llm.cost"]).get("total_cost")
    columns["messages"] = _prompt(into)
    return columns | _whose(trace, columns), beside


def _whose(trace: Trace, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": trace.trace_id,
        "session_id": trace.metadata.get("mlflow.trace.session"),
        "unit": columns.get("unit") or trace.metadata.get("mlflow.trace.user"),
    }


def _alone(trace: Trace, line: int, source: Source) -> Event:
    """Return the one call that a trace without its spans stands for, if it took tokens or failed."""
    try:
        used = mapping("mlflow.trace.tokenUsage", trace.metadata.get("mlflow.trace.tokenUsage"))
        if not used and trace.state != "ERROR":
            return Skipped(line, "a trace without spans and without tokens")
        columns, _ = _usage(used)
        columns |= outcome({"code": trace.state}, [], None)
        columns |= taken((trace.tags,))
        columns["request_id"] = columns.get("request_id") or trace.trace_id
        columns["at"], columns["latency_ms"] = trace.at, trace.latency_ms
        columns["model_requested"] = trace.metadata.get("mlflow.gateway.endpointId")
        cost = mapping("mlflow.trace.cost", trace.metadata.get("mlflow.trace.cost"))
        columns["cost_logged_usd"] = cost.get("total_cost")
        columns["messages"] = _prompt(value_of(trace.info.get("request_preview")))
        return Row(interaction(columns | _whose(trace, columns), "mlflow", source, trace.trace_id), line=line)
    except Impossible as error:
        return refused(line, error, dict(trace.info), call=True)


def _usage(value: object) -> tuple[dict[str, Any], bool]:
    used = mapping("mlflow.chat.tokenUsage", value)
    return usage(
        used.get("input_tokens"),
        used.get("output_tokens"),
        used.get("total_tokens"),
        cache_read=used.get("cache_read_input_tokens"),
        cache_write=used.get("cache_creation_input_tokens"),
    )


def _told(answer: object) -> dict[str, Any]:
    """Return the usage in an answer of OpenAI's, which traces before version 3.2 hold and nothing else."""
    used = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(used, dict) or "prompt_tokens" not in used:
        return {}
    details = used.get("prompt_tokens_details")
    read_ = details.get("cached_tokens") if isinstance(details, dict) else None
    names = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens", "total_tokens": "total_tokens"}
    return {ours: used.get(theirs) for ours, theirs in names.items()} | {"cache_read_input_tokens": read_}


def _model(value: object) -> str | None:
    named = value.get("model") if isinstance(value, dict) else None
    return named if isinstance(named, str) and named else None


def _prompt(into: object) -> tuple[Message, ...] | None:
    """Return the prompt among a call's inputs, of whatever client; None where there is none that can be told."""
    before: tuple[Message, ...] = ()
    if isinstance(into, dict):
        system = into.get("system") or into.get("instructions")
        before = ({"role": "system", "content": system},) if isinstance(system, str) else ()
        into = next((into[name] for name in ("messages", "input", "prompt", "contents") if into.get(name)), None)
    if isinstance(into, list) and len(into) == 1 and isinstance(into[0], list):
        into = into[0]
    try:
        said = spoken("mlflow.spanInputs", into)
    except Impossible:
        return None
    return (*before, *(_with_role(message) for message in said)) if said else None


def _with_role(message: Message) -> Message:
    if "role" in message or not isinstance(message.get("type"), str):
        return message
    return {"role": _ROLES.get(message["type"], message["type"]), "content": message.get("content")}


def sniff(head: bytes) -> float:
    """Return how sure it is that a log which begins so holds MLflow traces."""
    if head.startswith(b"PAR1"):
        return 0.1
    known = beginning(head)
    info = known.get("info")
    names = set(info if isinstance(info, dict) else known)
    marks = ("trace_metadata", "request_metadata", "trace_location", "execution_duration_ms", "execution_duration")
    return min(0.97, 0.5 * len(names.intersection(marks))) if names & {"trace_id", "request_id"} else 0.0


FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=LOST, resumes=True)
