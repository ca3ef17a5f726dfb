"""The rows of TensorZero's tables: which table a row is of, when it was, and what the calls of models came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from beastmode.interactions import Attempt
from features.formats.events import Source
from features.formats.tokens import tokens
from features.formats.values import Impossible, mapping, moment, number, text

OWN = "tensorzero::"
"""Before the gateway's own tags, its default function, and variants that came with a request."""
PINNED = "tensorzero::variant_pinned"
"""The tag of an inference whose caller named the variant, so that none was drawn."""
NAMESPACE = "tensorzero::namespace"
TABLES = {
    "chatinference": "inference",
    "jsoninference": "inference",
    "chatinferencedata": "prompt",
    "jsoninferencedata": "prompt",
    "modelinference": "call",
    "booleanmetricfeedback": "rating",
    "floatmetricfeedback": "rating",
    "commentfeedback": "comment",
    "demonstrationfeedback": "demonstration",
    "configsnapshot": "config",
}
"""A table, spelled without schema, case, underscores and plural -> what its rows are to us."""
COLUMNS = (
    ("other", {"dataset_name"}),
    ("other", {"batch_id"}),
    ("inference", {"id", "function_name", "variant_name", "episode_id"}),
    ("call", {"id", "inference_id", "model_name"}),
    ("rating", {"target_id", "metric_name", "value"}),
    ("comment", {"target_id", "target_type", "value"}),
    ("demonstration", {"inference_id", "value"}),
    ("config", {"config", "hash"}),
    ("config", {"config", "snapshot_hash"}),
    ("config", {"config_jsonb"}),
    ("prompt", {"id", "input", "output", "inference_params"}),
    ("other", {"id", "raw_request", "raw_response"}),
)
"""What the columns say of a row without the name of its table; the first that fits counts."""


def table_of(values: Mapping[str, Any]) -> str | None:
    """Return what a row is to us; None where it is no row of TensorZero's."""
    named = values.get("table")
    if isinstance(named, str) and named:
        spelled = named.rpartition(".")[2].lower().replace("_", "").removesuffix("s")
        return TABLES.get(spelled, "other")
    names = values.keys()
    return next((kind for kind, needed in COLUMNS if needed <= names), None)


def uuid(value: object) -> UUID | None:
    """Return a UUID; None where it is none."""
    try:
        return UUID(str(value))
    except ValueError:
        return None


def born(value: object) -> datetime | None:
    """Return the moment at which an id was made, to the millisecond, where it is a UUIDv7."""
    known = uuid(value)
    if known is None or known.version != 7:
        return None
    try:
        return datetime.fromtimestamp((known.int >> 80) / 1e3, UTC)
    except (ValueError, OverflowError):
        return None


def stamped(values: Mapping[str, Any]) -> datetime | None:
    """Return a row's `timestamp`, `created_at` in PostgreSQL: seconds in UTC where no zone is named."""
    return moment("timestamp", values.get("timestamp") or values.get("created_at"))


def at(values: Mapping[str, Any]) -> datetime:
    """Return the moment of a row, from its id where that is finer than its timestamp; raises Impossible."""
    stamp, made = stamped(values), born(values.get("id"))
    if stamp is not None and (made is None or not timedelta() <= made - stamp < timedelta(seconds=1)):
        return stamp
    if made is None:
        raise Impossible("timestamp", values.get("timestamp"), "a row has a timestamp, a created_at, or a UUIDv7 as id")
    return made


def name(values: Mapping[str, Any], column: str) -> str:
    """Return a text that a row must have; raises Impossible."""
    known = text(column, values.get(column))
    if known is None:
        raise Impossible(column, None, "every such row of TensorZero's has it")
    return known


def tags(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's tags: an object, its JSON text, or the pairs that a Parquet map comes as."""
    known = values.get("tags")
    if isinstance(known, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in known):
        return {str(key): value for key, value in known}
    return mapping("tags", known)


@dataclass(frozen=True, slots=True)
class Call:
    """One row of ModelInference: what one model did for an inference."""

    id: str
    at: datetime
    """When it ended: its id is made with the answer."""
    attempt: Attempt
    cached: bool
    empty: bool
    """Whether the row holds nothing of an answer."""


def call(values: Mapping[str, Any], source: Source) -> Call:
    """Return a model's call; raises Impossible."""
    native, model = name(values, "id"), name(values, "model_name")
    counts = tokens(
        values.get("input_tokens"),
        values.get("output_tokens"),
        cache_read=values.get("provider_cache_read_input_tokens"),
        cache_write=values.get("provider_cache_write_input_tokens"),
        reasoning=values.get("reasoning_tokens"),
    )
    attempt = Attempt(
        candidate=model,
        latency_ms=number("response_time_ms", values.get("response_time_ms")),
        ttft_ms=number("ttft_ms", values.get("ttft_ms")),
        model_served=text("response_model_name", values.get("response_model_name")) or model,
        provider=text("model_provider_name", values.get("model_provider_name")),
        cost_usd=number("cost", values.get("cost")),
        **counts,
    )
    empty = not any(values.get(key) for key in ("output_tokens", "finish_reason", "output", "raw_response"))
    cached = str(values.get("cached")).lower() in ("true", "t", "1")
    return Call(native, at(values), attempt, cached, empty)


SUMMED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


def outcome(calls: Sequence[Call]) -> dict[str, Any]:
    """Return what the calls of one inference came to, by column of an interaction.

    TensorZero writes a row for a call that answered; what failed leaves none. Several answers are what a variant of
    several calls (best of n, mixture of n) asked together, so their tokens and costs add up, and no one model served.
    An empty row before an answer is a failed call, which the next one retries or falls back from.
    """
    answered = [call.attempt for call in calls if not call.empty] or [call.attempt for call in calls]
    known: dict[str, Any] = {field: _sum(answered, field) for field in SUMMED}
    known["cost_logged_usd"] = _sum(answered, "cost_usd")
    for ours in ("model_served", "provider"):
        found = {getattr(attempt, ours) for attempt in answered}
        known[ours] = found.pop() if len(found) == 1 else None
    known["cache_tier"] = "gateway" if calls and all(call.cached for call in calls) else None
    return known


def _sum(attempts: Sequence[Attempt], field: str) -> Any:
    """Return the sum of a field; None where one does not know it, since a part is no total."""
    values = [getattr(attempt, field) for attempt in attempts]
    return sum(values) if values and None not in values else None


def plain(attempt: Attempt) -> dict[str, Any]:
    """Return what is known of an attempt as plain data."""
    return {field: value for field in Attempt.__slots__ if (value := getattr(attempt, field)) is not None}


def attempts(calls: Sequence[Call]) -> tuple[Attempt, ...]:
    """Return the calls of one inference, in time order, with their roles."""
    answers = any(not call.empty for call in calls)
    found: list[Attempt] = []
    for one in calls:
        before = found[-1] if found else None
        if before is None:
            role = "primary"
        elif before.status == "failure":
            role = "retry" if before.candidate == one.attempt.candidate else "fallback"
        else:
            role = "consult"
        failed = one.empty and answers
        found.append(
            replace(
                one.attempt,
                role=role,
                status="failure" if failed else "success",
                error_type="provider_unknown" if failed else None,
            )
        )
    return tuple(found)
