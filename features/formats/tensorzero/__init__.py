"""TensorZero's tables, native (one a file) or merged: inferences with their model calls, experiments and feedback."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, BinaryIO

from beastmode.interactions import Feedback
from features.formats.decisions import KEY, taken
from features.formats.events import Event, Format, FormatError, Rating, Row, Skipped, Source, Waiting, event_id
from features.formats.heads import beginning
from features.formats.rows import LONGEST_LABEL, feedback, interaction, refusal
from features.formats.tabular import TORN, Record, kind, records
from features.formats.tensorzero.draws import drawn
from features.formats.tensorzero.experiments import configured
from features.formats.tensorzero.log import Log, learn, notes
from features.formats.tensorzero.prompts import call_prompt, prompt
from features.formats.tensorzero.rows import OWN, at, attempts, born, name, outcome, plain, table_of, tags
from features.formats.tensorzero.writing import ERROR, LOST, USER, write
from features.formats.values import Impossible, mapping, number, text

SKIPPED = {
    "demonstration": "a demonstration: an answer that would have been right, and no word on one that was given",
    "config": "a configuration: what the experiments are reconstructed from",
    "other": "a row of a table that holds no inference",
}


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the inferences of a TensorZero log, each with its model calls, and the feedback.

    What stands in one stream is joined: concatenate the tables' files. An inference and the model calls without one
    are known by the inference's id, so a later reading of more tables doubles nothing. Raises FormatError where the
    source's columns misspell an experiment.
    """
    log = Log(source, configured(source))
    for item in records(stream):
        learn(item, log)
    yield from notes(log)
    stream.seek(0)
    # A log that grows meanwhile is read as far as it is known.
    for place, item in enumerate(islice(records(stream), log.records), start=1):
        if item.values is None:
            yield item.event()
        elif log.torn and place == log.records:
            yield Waiting(item.line, TORN, item.lines)
        else:
            yield from _events(item, item.values, log)


def _events(item: Record, values: Mapping[str, Any], log: Log) -> Iterator[Event]:
    """Yield what a row of any table says on the second walk."""
    raw = item.raw or json.dumps(values, default=str, sort_keys=True).encode("utf-8", "replace")
    table = table_of(values)
    if table is None:
        problem = f"no table of TensorZero's has the columns {', '.join(map(str, values))[:200]}"
        yield refusal(item.line, problem, raw, item.lines)
    elif table in SKIPPED and item.line not in log.broken:
        yield Skipped(item.line, SKIPPED[table], item.lines)
    elif table in ("rating", "comment"):
        try:
            yield Rating(_feedback(values, table, log), item.lines)
        except Impossible as error:
            yield refusal(item.line, error, raw, item.lines)
    else:
        yield from _call(item, values, table, raw, log)


def _call(item: Record, values: Mapping[str, Any], table: str, raw: bytes, log: Log) -> Iterator[Event]:
    """Yield an inference with all that joins it; nothing for a row that is told of with its inference."""
    lines = item.lines
    try:
        if item.line in log.broken:
            raise log.broken[item.line]
        native = name(values, "inference_id" if table == "call" else "id")
        if table != "inference" and (native in log.requests or native not in log.taken):
            return
        if table == "prompt":
            if native not in log.calls:
                yield Skipped(item.line, "a prompt without its inference", lines)
            return
        joined, theirs = log.take(native)
        # The rows that join are this record's, whether it can be true or not.
        lines = lines + theirs if table == "inference" else theirs
        if log.unfinished(native):
            yield Waiting(
                item.line, f"the log is torn, and more of inference {native!r} may be in what is missing", lines
            )
            return
        known = _inference(values, native, log) if table == "inference" else _alone(values, native, log)
        row = interaction(known, "tensorzero", log.source, native)
        yield Row(row, lines, line=item.line, joined=joined if table == "inference" else joined - 1)
    except Impossible as error:
        yield refusal(item.line, error, raw, lines)


def _inference(values: Mapping[str, Any], native: str, log: Log) -> dict[str, Any]:
    """Return an interaction's columns from a row of ChatInference or JsonInference."""
    function, variant = name(values, "function_name"), name(values, "variant_name")
    marks, episode, calls = tags(values), name(values, "episode_id"), log.called(native)
    known = outcome(calls) | {
        "at": at(values),
        "request_id": native,
        "trace_id": episode,
        "session_id": episode,
        "unit": text(f"tags.{USER}", marks.get(USER)),
        "messages": prompt(values.get("input") or log.prompts.get(native)),
        "latency_ms": number("processing_time_ms", values.get("processing_time_ms")),
        "ttft_ms": number("ttft_ms", values.get("ttft_ms")),
        "model_requested": variant,
        "context": _context(function, marks),
        "attempts": [plain(one) for one in attempts(calls)] if len(calls) > 1 else None,
    }
    if wrong := mapping(f"tags.{ERROR}", marks.get(ERROR)):
        known |= {column: wrong.get(column) for column in ("status", "error_type", "error_message", "provider")}
    return known | (taken((marks,)) or drawn(values, function, variant, marks, calls, log))


def _alone(values: Mapping[str, Any], native: str, log: Log) -> dict[str, Any]:
    """Return an interaction's columns from ModelInference rows whose inference is not in this log."""
    calls = log.called(native)
    tried = attempts(calls)
    spent = [one.attempt.latency_ms for one in calls]
    one_after_another = all(attempt.role != "consult" for attempt in tried) and None not in spent
    latency = sum(filter(None, spent)) if one_after_another else None
    begun, ended = born(native), calls[0].at
    if begun is None or not timedelta() <= ended - begun <= timedelta(days=1):
        begun = ended - timedelta(milliseconds=calls[0].attempt.latency_ms or 0)
    variant = text("variant_name", values.get("variant_name"))
    said = call_prompt(values) or prompt(log.prompts.get(native))
    return outcome(calls) | {
        "at": begun,
        "request_id": native,
        "messages": said,
        "latency_ms": latency,
        "ttft_ms": calls[0].attempt.ttft_ms if len(calls) == 1 else None,
        "model_requested": variant or calls[0].attempt.candidate,
        "plan": variant,
        "context": _context(str(values.get("function_name") or OWN), {}),
        "attempts": [plain(attempt) for attempt in tried] if len(calls) > 1 else None,
    }


def _context(function: str, marks: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the application knew: its own tags, and the function that it called."""
    known = {key: value for key, value in marks.items() if not key.startswith(OWN) and key not in (KEY, ERROR, USER)}
    if not function.startswith(OWN):
        known.setdefault("function_name", function)
    return known or None


def _feedback(values: Mapping[str, Any], table: str, log: Log) -> Feedback:
    """Return a word of feedback on an inference or an episode; raises Impossible."""
    target, level = name(values, "target_id"), values.get("target_type")
    known: dict[str, Any] = {"at": at(values), "source": "tensorzero"}
    # A metric's configuration says which of the two a target is; where it is not here, the join tries both.
    if level != "episode" and target not in log.episodes:
        known["event_id"] = event_id("tensorzero", log.source.deployment, target)
        known["request_id"] = log.requests.get(target, target if level == "inference" else None)
    if known.get("request_id") is None:
        known["trace_id"] = target
    if table == "comment":
        return feedback(known | {"signal": "comment", "label": name(values, "value")[:LONGEST_LABEL]}, log.source)
    value = values.get("value")
    # PostgreSQL prints a boolean as a letter.
    value = {"t": True, "f": False}.get(value, value) if isinstance(value, str) else value
    return feedback(known | {"signal": name(values, "metric_name"), "value": value}, log.source)


def sniff(head: bytes) -> float:
    """Return how sure it is that a log which begins so holds rows of TensorZero's tables."""
    try:
        if kind(head) == "parquet":
            return 0.1
    except FormatError:
        return 0.0
    return 0.96 if table_of(beginning(head)) not in (None, "other") else 0.0


FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=LOST)
