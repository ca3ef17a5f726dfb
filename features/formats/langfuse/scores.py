"""Langfuse's scores: what people, judges and programs said of a generation or of a trace."""

from collections.abc import Mapping
from typing import Any

from beastmode.interactions import Feedback
from features.formats.decisions import taken
from features.formats.events import Source, event_id
from features.formats.maps import loose
from features.formats.rows import LONGEST_LABEL, feedback, moment_needed
from features.formats.values import moment, text

WORDS = ("CATEGORICAL", "TEXT")


def of_no_call(values: Mapping[str, Any]) -> str | None:
    """Return what a score is that speaks of no call that could be found, or that is no opinion."""
    if str(values.get("data_type") or "").upper() == "CORRECTION":
        return "a corrected answer"
    if values.get("trace_id") or values.get("observation_id"):
        return None
    if values.get("session_id"):
        return "a score of a whole session"
    return "a score of a run over a dataset" if values.get("dataset_run_id") else None


def score(values: Mapping[str, Any], source: Source) -> Feedback:
    """Return a score as feedback; raises Impossible.

    A score of an observation names the observation's record; one of a trace is left to the trace. Its moment is its
    `timestamp`, but it was received when it was last changed. What has the same id replaces what was said before.
    """
    at = moment_needed("timestamp", values.get("timestamp"))
    changed = moment("updatedAt", values.get("updated_at")) or moment("createdAt", values.get("created_at")) or at
    known: dict[str, Any] = {"at": at, "received_at": max(at, changed), "source": values.get("source")}
    known["signal"], known["supersedes"] = values.get("name"), values.get("id")
    known["trace_id"] = values.get("trace_id")
    observation = text("observationId", values.get("observation_id"))
    if observation is not None:
        known["request_id"] = observation
        known["event_id"] = event_id("langfuse", source.deployment, observation)
    if request_id := taken((loose(values.get("metadata")),)).get("request_id"):
        known["request_id"] = request_id
    return feedback(known | _opinion(values), source)


def _opinion(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value or the word; a category's number counts only where a configuration gave it one."""
    sort, value, word = str(values.get("data_type") or "").upper(), values.get("value"), values.get("string_value")
    if sort not in WORDS:
        return {"value": word if value in (None, "") else value}
    if word in (None, "") and isinstance(value, str):
        return {"label": value[:LONGEST_LABEL]}
    numbered = sort == "CATEGORICAL" and values.get("config_id")
    return {"value": value if numbered else None, "label": (text("stringValue", word) or "")[:LONGEST_LABEL]}
