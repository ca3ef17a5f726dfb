"""The nouns of routing: what is asked, what is decided, what came of it."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Self

Message = Mapping[str, Any]


def new_id() -> str:
    """Return a fresh id: 48 bits of milliseconds, so that ids sort by time, and 80 random bits, in hex."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def message_text(message: Message) -> str:
    """Return the text of one chat message; parts that are not text (images, audio) are left out.

    >>> message_text({"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]})
    'hi'
    """
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request demands of a candidate; a candidate that lacks it is not eligible."""

    tools: bool = False
    json: bool = False
    vision: bool = False
    output_tokens: int | None = None
    """The most tokens the answer may take, counted against the context limit."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a language model, before a model is chosen."""

    messages: tuple[Message, ...]
    tenant: str | None = None
    session_id: str | None = None
    unit: str | None = None
    """What an experiment deals to its arms; the session where nothing else is named."""
    context: Mapping[str, str] = field(default_factory=dict)
    """What else the application knows: a task tag, a region, a user tier."""
    needs: Needs = Needs()
    request_id: str = field(default_factory=new_id)

    @classmethod
    def of(cls, prompt: "str | Sequence[Message] | Request", **known: Any) -> "Request":
        """Make a request of a prompt or of chat messages.

        >>> Request.of("2+2?").text
        '2+2?'
        """
        if isinstance(prompt, Request):
            return prompt
        messages = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else tuple(prompt)
        return cls(messages=messages, **known)

    @property
    def text(self) -> str:
        """The text that is routed on: the last user message, or the last message where no user speaks."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return message_text(message)
        return message_text(self.messages[-1]) if self.messages else ""

    @property
    def chars(self) -> int:
        """The length of the whole conversation in characters: what is paid for."""
        return sum(len(message_text(message)) for message in self.messages)


@dataclass(frozen=True, slots=True)
class Plan:
    """The action a policy chooses: calls in order, and the rule by which the plan stops.

    A single candidate is the plan of length one.

    >>> Plan.single("small").name
    'small'
    """

    calls: tuple[str, ...]
    stop: str = "first"

    def __post_init__(self) -> None:
        if not self.calls:
            raise ValueError("a plan needs at least one call; name a candidate")

    @classmethod
    def single(cls, candidate: str) -> "Plan":
        """Return the plan that asks one candidate."""
        return cls((candidate,))

    @property
    def candidate(self) -> str:
        """The candidate that is asked first."""
        return self.calls[0]

    @property
    def name(self) -> str:
        """The plan as one word, as logs and probability maps spell it."""
        return " > ".join(self.calls)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a selector expects of one candidate for one request."""

    candidate: str
    quality: float
    """In [0, 1]."""
    cost_usd: float | None
    latency_ms: float | None
    utility: float
    output_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a candidate answers: what the application's own client needs to call it."""

    model: str = ""
    """The id that the provider knows it by."""
    base_url: str | None = None
    api_key_env: str | None = None
    """The environment variable that holds the key."""
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The drawn plan, with all that is needed to evaluate another policy on it later."""

    request: Request
    plan: Plan
    probabilities: Mapping[str, float]
    """P(plan name | request, eligible candidates, arm), over every eligible plan; sums to 1."""
    propensity: float | None
    """The drawn plan's probability; None when an earlier choice was kept (`sticky_from`)."""
    policy: str
    bundle_sha256: str | None
    predictions: tuple[Prediction, ...]
    reason: str
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Why a candidate of the bundle was not eligible."""
    arm: str = "champion"
    arm_probability: float = 1.0
    sticky_from: str | None = None
    endpoint: Endpoint = Endpoint()
    """Where the candidate that is asked first answers."""
    decision_id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def candidate(self) -> str:
        """The model to call."""
        return self.plan.candidate

    @property
    def prediction(self) -> Prediction | None:
        """What is expected of the chosen candidate."""
        return next((p for p in self.predictions if p.candidate == self.candidate), None)

    def metadata(self) -> dict[str, Any]:
        """Return what another gateway's log should carry, under `metadata.beastmode`, to be evaluated later."""
        known = {
            "request_id": self.request.request_id,
            "decision_id": self.decision_id,
            "plan": self.plan.name,
            "candidates": list(self.probabilities),
            "probabilities": dict(self.probabilities),
            "propensity": self.propensity,
            "arm": self.arm,
            "arm_probability": self.arm_probability,
            "sticky_from": self.sticky_from,
            "policy": self.policy,
            "bundle_sha256": self.bundle_sha256,
        }
        return {name: value for name, value in known.items() if value is not None}


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
    """serve, probe, shadow, canary or warm."""
    format: str = "journal"
    decision_id: str | None = None
    parent_request_id: str | None = None
    """The request that a probe repeats."""
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
    """A later signal of an interaction's quality, joined by request id as of a moment."""

    request_id: str
    signal: str
    """thumb, score, judge, test: what kind of word was spoken."""
    value: float
    """In [0, 1]."""
    at: datetime
    received_at: datetime
    source: str | None = None
    supersedes: str | None = None
