"""What OpenTelemetry's attributes say of a model call, in every spelling the conventions have had."""

from collections.abc import Mapping, Sequence
from typing import Any

from beastmode.records import Message
from features.formats.spans import listed, spoken, usage
from features.formats.values import Impossible, mapping, messages, number, text

Attributes = Mapping[str, Any]
DEEPEST = 40
"""Values are nested no deeper than this: content is a few levels of messages and parts."""

# Newest first; names before mid-2025 from opentelemetry-semantic-conventions 0.66b2 and from OpenLLMetry.
OPERATION = ("gen_ai.operation.name", "llm.request.type")
PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
REQUESTED = ("gen_ai.request.model",)
ANSWERED = ("gen_ai.response.model",)
CONVERSATION = ("gen_ai.conversation.id", "session.id")
USER = ("user.id", "enduser.id")
INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
TOTAL = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens")
CACHE_READ = (
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cached_tokens", "gen_ai.usage.cached_input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
)  # fmt: skip
CACHE_WRITE = (
    "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
)  # fmt: skip
REASONING = ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens")
COST = ("gen_ai.usage.cost", "operation.cost")
"""No convention has a cost; these are what Langfuse and Logfire take and write."""
FIRST_CHUNK = ("gen_ai.response.time_to_first_chunk",)
PROMPT = ("gen_ai.input.messages", "gen_ai.prompt")
INSTRUCTIONS = "gen_ai.system_instructions"
CALLS = frozenset({"chat", "text_completion", "completion", "generate_content"})
"""Operations that answer a prompt. An agent's span only sums up the calls below it."""
ROLES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
"""Events of a span that each hold one message of the prompt."""


def attributes(owner: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span, an event or a log record by name; raises Impossible where they are none."""
    value = owner.get("attributes")
    if isinstance(value, dict):
        return dict(value)
    known = {}
    for pair in listed(owner, "attributes"):
        if not isinstance(pair, dict) or not isinstance(pair.get("key"), str):
            raise Impossible("attributes", pair, "expected objects with a key and a value")
        known[pair["key"]] = plain(pair.get("value"))
    return known


_SCALARS = frozenset(
    {
        "stringValue", "intValue", "doubleValue", "boolValue", "bytesValue",
        "string_value", "int_value", "double_value", "bool_value", "bytes_value",
    }
)  # fmt: skip


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value of OTLP as JSON would have it; a value that is in no wrapper is taken as it is."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    [(kind, inner)] = value.items()
    if kind in _SCALARS:
        return inner
    if depth > DEEPEST:
        raise Impossible("attributes", "...", f"nested deeper than {DEEPEST} levels")
    if kind in ("arrayValue", "array_value"):
        return [plain(item, depth + 1) for item in listed(inner, "values")]
    if kind in ("kvlistValue", "kvlist_value"):
        pairs = [pair for pair in listed(inner, "values") if isinstance(pair, dict)]
        return {str(pair.get("key")): plain(pair.get("value"), depth + 1) for pair in pairs}
    return value


def first(known: Attributes, names: Sequence[str]) -> Any:
    """Return the value of the newest spelling that is there."""
    for name in names:
        if (value := known.get(name)) is not None:
            return value
    return None


def operation(known: Attributes) -> str | None:
    """Return what a span does, as the conventions call it; None for a span that names neither it nor a model."""
    named = text("gen_ai.operation.name", first(known, OPERATION))
    return named or ("chat" if first(known, (*REQUESTED, *ANSWERED)) else None)


def consumption(known: Attributes) -> tuple[dict[str, Any], bool]:
    """Return tokens, cost and time to first token, and whether cached tokens were counted beside the input."""
    columns, beside = usage(
        first(known, INPUT),
        first(known, OUTPUT),
        first(known, TOTAL),
        cache_read=first(known, CACHE_READ),
        cache_write=first(known, CACHE_WRITE),
        reasoning=first(known, REASONING),
    )
    seconds = number("time_to_first_chunk", first(known, FIRST_CHUNK))
    columns["ttft_ms"] = None if seconds is None else seconds * 1e3
    columns["cost_logged_usd"] = first(known, COST)
    return columns, beside


def prompt(known: Attributes, events: Sequence[tuple[str, Attributes]]) -> tuple[Message, ...] | None:
    """Return the prompt of a call from wherever its emitter put it; None where it was not recorded, or cut.

    `events` are (name, attributes).
    """
    said = _whole(known) or next((found for _, inner in events if (found := _whole(inner))), None)
    return said or _from_events(events) or _flat(known)


def _whole(known: Attributes) -> tuple[Message, ...] | None:
    """Return a prompt that one attribute holds, the instructions before it."""
    said = next((spoken(name, known[name]) for name in PROMPT if known.get(name) is not None), None)
    if said is None or known.get(INSTRUCTIONS) is None:
        return said
    parts = known[INSTRUCTIONS]
    before = spoken(INSTRUCTIONS, [{"role": "system", "parts": parts}]) if isinstance(parts, list) else None
    if before is None and (spelled := spoken(INSTRUCTIONS, parts)):
        # A JSON text of parts reads as messages without a role.
        before = tuple({"role": "system", "content": part.get("content", "")} for part in spelled)
    return (*(before or ()), *said)


def _from_events(events: Sequence[tuple[str, Attributes]]) -> tuple[Message, ...] | None:
    """Return a prompt that a span's events hold message by message."""
    said: list[Message] = []
    for name, inner in events:
        if name not in ROLES:
            continue
        whole = inner.get("gen_ai.event.content")
        message = mapping("gen_ai.event.content", whole) if whole else dict(inner)
        content = message.get("content")
        if content is not None:
            said.append({"role": message.get("role") or ROLES[name], "content": content})
    return tuple(said) or None


def _flat(known: Attributes) -> tuple[Message, ...] | None:
    """Return a prompt that OpenLLMetry spread over numbered attributes."""
    said: list[Message] = []
    while (content := known.get(f"gen_ai.prompt.{len(said)}.content")) is not None:
        role = known.get(f"gen_ai.prompt.{len(said)}.role") or "user"
        if isinstance(content, str) and content.startswith("[{"):
            content = messages("content", content) or content
            content = list(content) if isinstance(content, tuple) else content
        said.append({"role": str(role), "content": content})
    return tuple(said) or None
