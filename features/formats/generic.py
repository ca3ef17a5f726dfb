"""Any table of calls: CSV, JSON lines, a JSON array or Parquet, its columns and units guessed or given."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, BinaryIO

from beastmode.interactions import Feedback, Interaction
from features.formats import feedback
from features.formats.columns import TIMES, Columns, choose
from features.formats.events import Event, Format, FormatError, Note, Rating, Row, Source
from features.formats.failures import error_type
from features.formats.rows import interaction, opinion, plain, refusal
from features.formats.tabular import Record, kind, records
from features.formats.values import Impossible, moment, number

SAMPLE = 500
"""Records that are looked at before the columns are chosen."""
SUCCESS = frozenset({"success", "succeeded", "ok", "completed", "complete", "true", "done"})
FAILURE = frozenset({"failure", "failed", "error", "exception", "timeout", "false", "fail"})


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the interactions of a table, and a rating beside each that holds its quality.

    Raises FormatError where the table has no time or no model, and is no table of feedback either.
    """
    walk = records(stream)
    first = list(itertools.islice(walk, SAMPLE))
    sample = [item.values for item in first if item.values is not None]
    if not sample:
        yield from (item.event() for item in itertools.chain(first, walk))
        return
    if _is_feedback(sample[0]):
        stream.seek(0)
        yield from feedback.read(stream, source)
        return
    if {"startTime", "spend", "call_type"} <= set(sample[0]) and not source.columns:
        # A Parquet file's first bytes do not tell; LiteLLM's zeros would be taken for costs and latencies here.
        raise FormatError("this table has the columns of LiteLLM's spend logs; set format = 'litellm'")
    if {"model", "score"} <= set(sample[0]) and {"prompt_id", "sample_id"} & set(sample[0]) and not source.columns:
        raise FormatError("this table has the columns of a benchmark, which has no moments; set format = 'matrix'")
    columns = choose(sample, source.columns)
    missing = [ours for ours in ("at", "model_served") if ours not in columns.names]
    if missing == ["model_served"] and {"plan", "model_requested"} & set(columns.names):
        missing = []
    if missing:
        raise FormatError(
            f"table: no column for {missing[0]!r} among {', '.join(sample[0])}; "
            f"name it in the source's columns, such as {{ {missing[0]} = '{next(iter(sample[0]))}' }}"
        )
    yield from (Note(text) for text in columns.notes)
    for item in itertools.chain(first, walk):
        yield from _events(item, columns, source) if item.values is not None else (item.event(),)


def _is_feedback(values: Mapping[str, Any]) -> bool:
    return {"request_id", "value", "at"} <= set(values) and not {"model", "model_served"} & set(values)


def _events(item: Record, columns: Columns, source: Source) -> Iterator[Event]:
    values = item.values or {}
    raw = item.raw or json.dumps(values, default=str, sort_keys=True).encode("utf-8", "replace")
    try:
        known = {ours: values.get(name) for ours, name in columns.names.items()}
        quality = known.pop("quality", None)
        native = _native(known, raw)
        known["request_id"] = known.get("request_id") or f"row-{native[:24]}"
        _times(known, columns)
        _outcome(known)
        if known.get("propensity") is not None or known.get("probabilities"):
            known["plan"] = known.get("plan") or known.get("model_requested") or known.get("model_served")
        row = interaction(known, "table", source, native)
    except Impossible as error:
        yield refusal(item.line, error, raw, item.lines)
        return
    yield Row(row, lines=item.lines, line=item.line)
    if quality is not None and quality != "":
        yield _rating(item, quality, row, source, raw)


def _native(known: Mapping[str, Any], raw: bytes) -> str:
    """Return the identity of a record: its id where it has one, else its content."""
    identity = known.get("request_id")
    if identity is None or identity == "":
        return hashlib.sha256(raw.rstrip(b"\r\n")).hexdigest()
    return str(identity)


def _times(known: dict[str, Any], columns: Columns) -> None:
    end = moment("end", known.pop("end", None))
    start = moment("at", known.get("at"))
    if end is not None and start is not None:
        if end < start:
            raise Impossible("end", end.isoformat(), f"lies before the start at {start.isoformat()}")
        if known.get("latency") in (None, ""):
            known["latency_ms"] = (end - start).total_seconds() * 1e3
    for ours in TIMES:
        value = number(ours, known.pop(ours, None))
        if value is not None:
            known[f"{ours}_ms"] = value * columns.factors[ours]


def _outcome(known: dict[str, Any]) -> None:
    """Bring a status and an error of any spelling into our words."""
    status, code = known.get("status"), None
    word = str(status).strip().lower() if status not in (None, "") else ""
    if word.replace(".", "", 1).isdigit():
        code = int(float(word))
        word = "success" if code < 400 else "failure"
    kind, message = known.get("error_type"), known.get("error_message")
    if not word:
        word = "failure" if kind or message else "success"
    status = "success" if word in SUCCESS else "failure" if word in FAILURE else word
    known["status"] = status
    if status == "failure":
        known["error_type"] = error_type(kind, message, code, word)
        # A gateway that could not price a failure writes zero.
        known["cost_logged_usd"] = known.get("cost_logged_usd") or None
    elif status == "success":
        known["error_type"] = known["error_message"] = None


def _rating(item: Record, quality: object, row: Interaction, source: Source, raw: bytes) -> Event:
    at = row.at + timedelta(milliseconds=row.latency_ms or 0)
    try:
        value, label = opinion("quality", quality)
    except Impossible as error:
        return refusal(item.line, error, raw, 0)
    rating = Feedback(
        request_id=row.request_id, signal="score", value=value, label=label, at=at, received_at=at, source="table"
    )
    return Rating(rating, lines=0)


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write interactions as JSON lines, a column a field; what is nested stays JSON."""
    for row in rows:
        known = {name: value for name, value in plain(row).items() if name in CARRIED}
        stream.write(json.dumps(known, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")


LOST = frozenset({"event_id", "format", "predictions", "attempts", "cost_usd", "cost_source"})
CARRIED = frozenset(Interaction.__dataclass_fields__) - LOST


def sniff(head: bytes) -> float:
    """Return how sure it is that a file which begins so is a table: any table is, so never very."""
    try:
        of = kind(head)
    except FormatError:
        return 0.0
    first = head.lstrip(b"\xef\xbb\xbf \r\n").split(b"\n", 1)[0]
    if of == "parquet":
        return 0.5
    if of == "csv":
        return 0.4 if b"," in first and b"\0" not in first else 0.0
    return 0.0 if b'"kind"' in first[:200] else 0.3


FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=LOST)
