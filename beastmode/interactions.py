"""What came of a decision: attempts, interactions and feedback, as the journal and the lake hold them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Self

from beastmode.records import Message


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upstream call of a plan."""

    candidate: str
    role: str = "primary"
    """primary, retry, fallback, consult or judge."""
    status: str = "success"
    """success, failure, cancelled, or unknown when the process ended before the call did."""
    latency_ms: float | None = None
    ttft_ms: float | None = None
    error_type: str | None = None
    error_message: str | None = None
    model_served: str | None = None
    provider: str | None = None
    input_tokens: int | None = None
    """Cached tokens included."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A request, its decision, its attempts and its outcome: one row of the lake.

    The fields are the lake's columns, in their order. What a source cannot know is None, never a made-up zero.
    """

    event_id: str
    request_id: str
    at: datetime
    purpose: str = "serve"
    """serve, probe, judge (the grading of a probe), shadow, canary or warm."""
    format: str = "journal"
    decision_id: str | None = None
    parent_request_id: str | None = None
    """The request that a probe repeats."""
    trace_id: str | None = None
    """What the calls of one piece of work share: a trace, an episode. Feedback may speak of it as a whole."""
    session_id: str | None = None
    tenant: str | None = None
    unit: str | None = None
    messages: tuple[Message, ...] | None = None
    prompt_sha256: str | None = None
    prompt_chars: int | None = None
    context: Mapping[str, Any] | None = None
    needs: Mapping[str, Any] | None = None
    candidates: tuple[str, ...] | None = None
    plan: str | None = None
    probabilities: Mapping[str, float] | None = None
    propensity: float | None = None
    propensity_source: str = "unknown"
    """logged, reconstructed or unknown."""
    arm: str | None = None
    arm_probability: float | None = None
    arm_probabilities: Mapping[str, Mapping[str, float]] | None = None
    """By arm, P(plan) of what that arm does."""
    marginal_propensity: float | None = None
    """P(plan) over both arms, where an experiment ran."""
    sticky_from: str | None = None
    policy: str | None = None
    bundle_sha256: str | None = None
    predictions: tuple[Mapping[str, Any], ...] | None = None
    model_requested: str | None = None
    model_served: str | None = None
    provider: str | None = None
    status: str = "success"
    error_type: str | None = None
    error_message: str | None = None
    latency_ms: float | None = None
    ttft_ms: float | None = None
    input_tokens: int | None = None
    """Cached tokens included."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_logged_usd: float | None = None
    cost_usd: float | None = None
    cost_source: str | None = None
    cache_tier: str | None = None
    attempts: tuple[Attempt, ...] = ()

    def to_json(self) -> str:
        """Return the interaction as one line of JSON; what is None is left out."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        known["at"] = self.at.isoformat()
        return json.dumps(known, ensure_ascii=False, separators=(",", ":"), default=str)

    @classmethod
    def from_mapping(cls, known: Mapping[str, Any]) -> Self:
        """Return the interaction that `to_json` wrote; raises ValueError naming an unknown or missing field."""
        unknown = set(known) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown field {sorted(unknown)[0]!r} in an interaction")
        values = dict(known)
        try:
            values["at"] = datetime.fromisoformat(values["at"])
        except (KeyError, TypeError) as error:
            raise ValueError("an interaction needs 'at', the moment of the request in ISO 8601") from error
        for name in ("messages", "candidates", "predictions"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        values["attempts"] = tuple(Attempt(**attempt) for attempt in values.get("attempts") or ())
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"an interaction cannot be read: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """A later signal of quality, as it was given: on one interaction, or on all of a trace."""

    request_id: str | None = None
    """The interaction it speaks of; where it is None, `trace_id` says which ones."""
    trace_id: str | None = None
    event_id: str | None = None
    """The log record it speaks of, where the log names that and not our request: it goes before the request id."""
    signal: str
    """What kind of word was spoken: the name of a thumb, score, judge or test."""
    value: float | None = None
    """As the source has it, on any scale; the configured signals turn it into a quality in [0, 1]."""
    label: str | None = None
    """The word of a signal that is no number."""
    at: datetime
    received_at: datetime
    source: str | None = None
    supersedes: str | None = None
