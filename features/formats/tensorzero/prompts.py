"""What was asked, in TensorZero's blocks of every age, as chat messages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from beastmode.records import Message
from features.formats.values import Impossible, mapping, messages, parse


def prompt(value: object) -> tuple[Message, ...] | None:
    """Return the messages of an `input`: an object, or its JSON text, of `system` and `messages`."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = mapping("input", value)
    if not isinstance(value, Mapping):
        return messages("input", value)
    said = _list("input.messages", value.get("messages"))
    return conversation(value.get("system"), said)


def conversation(system: object, said: Sequence[object]) -> tuple[Message, ...] | None:
    """Return a system text and messages, whose content may be TensorZero's blocks, as chat messages."""
    found: list[Message] = [] if system in (None, "", {}) else [{"role": "system", "content": _text(system)}]
    for message in said:
        if not isinstance(message, Mapping):
            raise Impossible("input.messages", message, "expected a message with role and content")
        found.append({"role": message.get("role"), "content": _content(message.get("content"))})
    return tuple(found) or None


def call_prompt(values: Mapping[str, Any]) -> tuple[Message, ...] | None:
    """Return the messages of a ModelInference row: `system` and `input_messages`."""
    return conversation(values.get("system"), _list("input_messages", values.get("input_messages")))


def _list(field: str, value: object) -> list[Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = parse(value.encode("utf-8", "replace"))
        except ValueError as error:
            raise Impossible(field, value, f"expected a JSON list, but it is {error}") from error
    if value and not isinstance(value, list):
        raise Impossible(field, value, "expected a list of messages")
    return value if isinstance(value, list) else []


def _content(value: object) -> object:
    if not isinstance(value, list):
        return value if isinstance(value, str) else _text(value)
    parts = [_part(block) for block in value]
    if len(parts) == 1 and isinstance(parts[0], Mapping) and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _part(block: object) -> object:
    """Return a content block as a part of a chat message; a template's arguments are all that the caller said."""
    if not isinstance(block, Mapping) or block.get("type") not in ("text", "raw_text", "template"):
        return block
    said = next((block[key] for key in ("text", "value", "arguments") if block.get(key) is not None), "")
    return {"type": "text", "text": _text(said)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
