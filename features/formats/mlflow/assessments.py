"""MLflow's assessments: what people, judges and code said of a trace or of one of its spans."""

from collections.abc import Mapping
from typing import Any

from beastmode.interactions import Interaction
from features.formats.events import Event, Rating, Skipped, Source
from features.formats.mlflow.spans import Trace
from features.formats.rows import feedback
from features.formats.spans import SPAN, identity, refused
from features.formats.values import Impossible, mapping, moment


def assessment(word: Any, trace: Trace, answered: Mapping[str, Interaction], line: int, source: Source) -> Event:
    """Return an assessment as feedback, on the call of its span where that is one, else on the trace.

    `answered` is span -> interaction; an assessment without a moment was given at the end of the trace. What it
    overrides is an assessment of its own, and older.
    """
    try:
        if not isinstance(word, dict):
            raise Impossible("assessments", word, "expected objects")
        given = mapping("feedback", word.get("feedback"))
        value = given.get("value")
        if value is None or isinstance(value, list | dict):
            return Skipped(line, f"an assessment that is no opinion: {_kind(given, value)}")
        at = moment("create_time", word.get("create_time") or word.get("create_time_ms")) or trace.end
        changed = moment("last_update_time", word.get("last_update_time") or word.get("last_update_time_ms")) or at
        span = word.get("span_id")
        call = answered.get(identity("span_id", span, SPAN)) if span else None
        known = {
            "request_id": call and call.request_id,
            "event_id": call and call.event_id,
            "trace_id": trace.trace_id,
            "signal": word.get("assessment_name") or word.get("name"),
            "value": value,
            "at": at,
            "received_at": max(at, changed),
            "source": mapping("source", word.get("source")).get("source_type"),
            "supersedes": word.get("overrides"),
        }
        return Rating(feedback(known, source), 0)
    except Impossible as error:
        return refused(line, error, word, call=False)


def _kind(given: Mapping[str, Any], value: object) -> str:
    if not given:
        return "an expectation or an issue"
    return "it failed" if value is None else "several values in one"
