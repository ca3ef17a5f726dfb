"""What the formats share: walking a log's records, and building a checked interaction or rating from one."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, BinaryIO

from beastmode.interactions import Attempt, Feedback, Interaction
from beastmode.records import Plan
from features.formats.checks import check, check_moment
from features.formats.events import RAW_CHARS, Refusal, Source, event_id
from features.formats.values import (
    Impossible,
    count,
    mapping,
    messages,
    moment,
    number,
    prompt_facts,
    text,
)

LONGEST_LINE = 64 * 2**20
"""Bytes. A longer record is refused rather than held in memory."""
LONGEST_LABEL = 200
"""Characters. A longer word of feedback is a comment, of which the beginning is kept."""
_TEXTS = (
    "request_id", "decision_id", "parent_request_id", "trace_id", "session_id", "tenant", "unit", "prompt_sha256",
    "arm", "sticky_from", "policy", "bundle_sha256", "model_requested", "model_served", "provider", "status", "purpose",
    "propensity_source", "error_type", "error_message", "cost_source", "cache_tier",
)  # fmt: skip
_COUNTS = (
    "prompt_chars", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
_NUMBERS = (
    "propensity", "arm_probability", "marginal_propensity", "latency_ms", "ttft_ms", "cost_logged_usd", "cost_usd",
)  # fmt: skip


def lines(stream: BinaryIO, *, blank: bool = False) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (line number, line, whether it is ended) for each line; blank ones only where they are asked for."""
    at = 0
    while line := stream.readline(LONGEST_LINE + 1):
        at += 1
        ended = line.endswith(b"\n")
        if not ended and len(line) > LONGEST_LINE:
            while rest := stream.readline(LONGEST_LINE):
                if rest.endswith(b"\n"):
                    break
            yield at, line[: LONGEST_LINE + 1], True
        elif blank or line.strip():
            yield at, line, ended


def refusal(line: int, reason: object, raw: bytes | str, count: int = 1) -> Refusal:
    """Return a refusal with as much of the record as the quarantine keeps."""
    whole = (raw if isinstance(raw, bytes) else raw.encode("utf-8", "replace")).rstrip(b"\r\n")
    kept = whole[: 4 * RAW_CHARS].decode("utf-8", "replace")[:RAW_CHARS]
    kind = reason.kind if isinstance(reason, Impossible) else str(reason)
    return Refusal(line, str(reason), kept, hashlib.sha256(whole).hexdigest(), count, kind=kind)


def names(field: str, value: object) -> tuple[str, ...] | None:
    """Return candidates' names from a list of them or from `a|b`."""
    if not value:
        return None
    parts = value.split("|") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part for part in parts):
        raise Impossible(field, value, "expected a list of names")
    return tuple(part.strip() for part in parts)


def probabilities(field: str, value: object) -> dict[str, float] | None:
    """Return P(plan name) from a JSON object, or from a JSON string of one."""
    known = mapping(field, value)
    if all(type(v) is float and 0 <= v <= 1 for v in known.values()):
        return dict(known) or None
    return {str(k): number(f"{field}[{k}]", v) or 0.0 for k, v in known.items()} or None


def _by_arm(field: str, value: object) -> dict[str, dict[str, float]] | None:
    known = {str(arm): probabilities(f"{field}.{arm}", chances) for arm, chances in mapping(field, value).items()}
    return {arm: chances for arm, chances in known.items() if chances} or None


def plan_name(field: str, value: object) -> str | None:
    """Return a plan's name, also where the plan is spelled as its calls."""
    if isinstance(value, Mapping):
        value = value.get("calls")
    if isinstance(value, list | tuple):
        calls = names(field, value)
        return Plan(calls).name if calls else None
    return text(field, value)


def attempts(field: str, value: object) -> tuple[Attempt, ...]:
    """Return the upstream calls of a plan."""
    if not value:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        raise Impossible(field, value, "expected a list of attempts")
    return tuple(_attempt(f"{field}[{i}]", item) for i, item in enumerate(value))


_FIELDS = tuple(f.name for f in fields(Interaction))
_ATTEMPT = tuple(f.name for f in fields(Attempt))


def _attempt(field: str, value: Mapping[str, Any]) -> Attempt:
    known: dict[str, Any] = {}
    for name, item in value.items():
        if name not in _ATTEMPT:
            raise Impossible(f"{field}.{name}", item, "unknown field of an attempt")
        if name.endswith("_tokens"):
            known[name] = count(f"{field}.{name}", item)
        elif name in ("latency_ms", "ttft_ms", "cost_usd"):
            known[name] = number(f"{field}.{name}", item)
        elif (word := text(f"{field}.{name}", item)) is not None:
            known[name] = word
    if "candidate" not in known:
        raise Impossible(field, dict(value), "an attempt needs its candidate")
    return Attempt(**known)


def _predictions(field: str, value: object) -> tuple[dict[str, Any], ...] | None:
    if not value:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        raise Impossible(field, value, "expected a list of predictions")
    return tuple(dict(item) for item in value)


def plain(row: Interaction) -> dict[str, Any]:
    """Return what is known of an interaction as plain data, without copying what is nested (as `asdict` would)."""
    known = {name: value for name in _FIELDS if (value := getattr(row, name)) is not None and value != ()}
    if row.attempts:
        known["attempts"] = [{name: getattr(attempt, name) for name in _ATTEMPT} for attempt in row.attempts]
    known["at"] = row.at.isoformat()
    return known


def moment_needed(field: str, value: object) -> datetime:
    """Return a moment in UTC; raises Impossible where there is none."""
    known = moment(field, value)
    if known is None:
        raise Impossible(field, value, "every record needs its moment")
    return known


def _object(field: str, value: object) -> dict[str, Any] | None:
    return mapping(field, value) or None


PARSERS: Mapping[str, Callable[[str, object], Any]] = {
    "at": moment_needed,
    **dict.fromkeys(_TEXTS, text),
    **dict.fromkeys(_COUNTS, count),
    **dict.fromkeys(_NUMBERS, number),
    "messages": messages,
    "candidates": names,
    "probabilities": probabilities,
    "arm_probabilities": _by_arm,
    "plan": plan_name,
    "attempts": attempts,
    "predictions": _predictions,
    "context": _object,
    "needs": _object,
}
"""Column -> how a log's value becomes ours; every column that a log may fill."""


def interaction(
    known: Mapping[str, Any], log_format: str, source: Source, native: str, parsed: Mapping[str, Any] | None = None
) -> Interaction:
    """Return a checked interaction from values by column name; raises Impossible naming what cannot be true.

    `native` is the log's own identity of the record. Columns that no interaction has raise too. `parsed` are values
    that the reader made by the parsers of these columns, or by those that they call; where both have one `known` wins.
    """
    values = {} if parsed is None else {name: value for name, value in parsed.items() if value is not None}
    for name, value in known.items():
        if value is None:
            continue
        parse = PARSERS.get(name)
        if parse is text and type(value) is str and value:
            # Most columns are words, which are what they are.
            values[name] = value
        elif parse is None:
            raise Impossible(name, value, "no interaction has such a field")
        elif (read := parse(name, value)) is not None:
            values[name] = read
    for name in ("at", "request_id"):
        if name not in values:
            raise Impossible(name, None, "every interaction needs it")
    _complete(values)
    identity = event_id(log_format, source.deployment, native)
    return check(Interaction(event_id=identity, format=log_format, **values), source.at)


def _complete(values: dict[str, Any]) -> None:
    """Add what follows from the rest of an interaction, and drop what is no measurement."""
    if values.get("status") == "failure" and not values.get("latency_ms"):
        # Gateways log a failure with end = start; that is no latency.
        values["latency_ms"] = values["ttft_ms"] = None
    if "propensity" in values and values.get("propensity_source", "unknown") == "unknown":
        values["propensity_source"] = "logged"
    said = values.get("messages")
    if said and "prompt_chars" not in values:
        values["prompt_sha256"], values["prompt_chars"] = prompt_facts(said)


def feedback(known: Mapping[str, Any], source: Source) -> Feedback:
    """Return a checked word of feedback; raises Impossible. Without `received_at` it was received when it was given.

    A value may be a number on any scale, a boolean, or a word, which is kept as the label.
    """
    request_id, trace_id = text("request_id", known.get("request_id")), text("trace_id", known.get("trace_id"))
    if request_id is None and trace_id is None:
        raise Impossible("request_id", None, "feedback joins by request id, or by trace id")
    value, label = opinion("value", known.get("value"))
    label = label or text("label", known.get("label"))
    if value is None and label is None:
        raise Impossible("value", None, "leave out feedback without a value")
    at = moment_needed("at", known.get("at"))
    received = moment("received_at", known.get("received_at")) or at
    check_moment("at", at, source.at)
    check_moment("received_at", received, source.at)
    if received < at:
        raise Impossible("received_at", received.isoformat(), f"lies before the feedback at {at.isoformat()}")
    return Feedback(
        request_id=request_id,
        trace_id=trace_id,
        event_id=text("event_id", known.get("event_id")),
        signal=text("signal", known.get("signal")) or "score",
        value=value,
        label=label,
        at=at,
        received_at=received,
        source=text("source", known.get("source")),
        supersedes=text("supersedes", known.get("supersedes")),
    )


def opinion(field: str, value: object) -> tuple[float | None, str | None]:
    """Return the number or the word of a signal; booleans, also as text, are 1 and 0."""
    if isinstance(value, str):
        word = value.strip()
        if word.lower() in ("true", "false"):
            return float(word.lower() == "true"), None
        try:
            value = float(word) if word else None
        except ValueError:
            return None, word[:LONGEST_LABEL]
    return number(field, float(value) if isinstance(value, bool) else value, low=-math.inf), None
