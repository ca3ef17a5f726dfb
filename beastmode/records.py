"""The nouns of routing: what is asked, what is decided, what came of it."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

Message = Mapping[str, Any]


def new_id() -> str:
    """Return a fresh id: 48 bits of milliseconds, so that ids sort by time, and 80 random bits, in hex."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


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


def message_chars(message: Message) -> int:
    """Return how many characters of one chat message are paid for: its text, calls of tools and what these returned.

    Images and audio are left out, as their price is no matter of characters.

    >>> message_chars({"role": "assistant", "content": "hi", "tool_calls": []})
    2
    """
    calls, content = [message.get("tool_calls"), message.get("function_call")], message.get("content")
    chars = len(message_text(message))
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [part for part in content if isinstance(part, Mapping)]
        chars += sum(len(message_text(part)) for part in parts)
        calls += [part.get("input") for part in parts]
    return chars + sum(len(str(call)) for call in calls if call)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request demands of a candidate; a candidate that lacks it is not eligible.

    Raises ValueError on regions given as one string, and on a budget or a deadline that is no positive number.
    """

    tools: bool = False
    json: bool = False
    vision: bool = False
    output_tokens: int | None = None
    """The most tokens the answer may take, counted against the context limit and the budget."""
    regions: tuple[str, ...] | None = None
    """Where the request may be processed; anywhere where it is None. A candidate whose region nobody stated is not
    among them."""
    budget_usd: float | None = None
    """The most that the request may cost in US dollars: the 95% quantile of the predicted cost is held against it."""
    deadline_ms: float | None = None
    """The longest that the answer may take: the 95% quantile of the predicted latency is held against it."""

    def __post_init__(self) -> None:
        if isinstance(self.regions, str):
            raise ValueError(f"needs: regions = {self.regions!r} must be a tuple of names; write ({self.regions!r},)")
        if self.regions is not None:
            object.__setattr__(self, "regions", tuple(self.regions))
        for name in ("budget_usd", "deadline_ms"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"needs: {name} = {limit!r} must be a positive number; leave it out for no limit")


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

    def __post_init__(self) -> None:
        # An experiment looks into the context, and none was no trouble until one was started.
        object.__setattr__(self, "context", self.context or {})

    @classmethod
    def of(cls, prompt: "str | Sequence[Message] | Request", **known: Any) -> "Request":
        """Make a request of a prompt or of chat messages; `known` are its other fields, in place of a Request's own.

        >>> Request.of("2+2?").text
        '2+2?'
        """
        if isinstance(prompt, Request):
            return replace(prompt, **known) if known else prompt
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
        return sum(map(message_chars, self.messages))


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
    """The mean, which `cost_usd` is the price of."""
    output_tokens_low: float | None = None
    """The 5% quantile, as every `_low`; `_high` is the 95% quantile, so that both enclose nine answers in ten."""
    output_tokens_median: float | None = None
    output_tokens_high: float | None = None
    cost_usd_low: float | None = None
    cost_usd_high: float | None = None
    latency_ms_low: float | None = None
    latency_ms_median: float | None = None
    latency_ms_high: float | None = None


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
    predictions: Sequence[Prediction]
    reason: str
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Why a candidate of the bundle was not eligible."""
    arm: str = "champion"
    arm_probability: float = 1.0
    """P(arm) at that moment: the share in force."""
    sticky_from: str | None = None
    endpoint: Endpoint = Endpoint()
    """Where the candidate that is asked first answers."""
    decision_id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    unit: str | None = None
    """What an experiment dealt; None where none runs."""
    arm_probabilities: Mapping[str, Mapping[str, float]] | None = None
    """What each arm does, P(plan name) by arm, while an experiment runs: a turn that an arm would keep is certain."""
    marginal_propensity: float | None = None
    """P(plan) over both arms, the sum of share times that arm's probability: what off-policy evaluation divides by."""
    shadow: "Callable[[], Decision] | None" = field(default=None, repr=False, compare=False)
    """Works out what a challenger would have done, for the journal, once the answer is here; it may raise."""

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
            "arm_probabilities": self.arm_probabilities and {k: dict(v) for k, v in self.arm_probabilities.items()},
            "marginal_propensity": self.marginal_propensity,
            "unit": self.unit,
            "sticky_from": self.sticky_from,
            "policy": self.policy,
            "bundle_sha256": self.bundle_sha256,
        }
        return {name: value for name, value in known.items() if value is not None}
