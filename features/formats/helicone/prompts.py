"""The provider's own bodies inside a Helicone row: what was asked, and what the answer says it used."""

from collections.abc import Mapping
from typing import Any

from features.formats.maps import loose
from features.formats.values import Impossible, messages

NOT_HERE = "helicone_message"
"""The key of what stands in place of a body that lies in a bucket."""


def body(value: object) -> dict[str, Any]:
    """Return a provider's body, or nothing where the row has none or only a part of it as text."""
    known = loose(value)
    return {} if NOT_HERE in known else known


def prompt(value: object, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...] | None:
    """Return the conversation of a request to any provider; `asked` is its body, `value` what the row has of it."""
    if not asked:
        # ClickHouse's own column holds the prompt's text alone.
        bare = isinstance(value, str) and value.lstrip()[:1] not in ("", "{", "[")
        return messages("request_body", value) if bare else None
    for name in ("messages", "input", "prompt"):
        try:
            said = messages(name, asked.get(name))
        except Impossible:
            continue
        if said:
            # Anthropic keeps the system's message apart, and so does OpenAI's responses interface.
            system = asked.get("system") or asked.get("instructions")
            return ({"role": "system", "content": system}, *said) if system else said
    return _gemini(asked.get("contents"))


def _gemini(contents: object) -> tuple[Mapping[str, Any], ...] | None:
    if not isinstance(contents, list) or not all(isinstance(turn, dict) for turn in contents):
        return None
    said = []
    for turn in contents:
        parts = turn.get("parts")
        texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        role = "assistant" if turn.get("role") == "model" else "user"
        said.append({"role": role, "content": "\n".join(text for text in texts if isinstance(text, str))})
    return tuple(said) or None


def reasoning(answered: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the reasoning tokens and all output tokens as the provider says, where it says both."""
    usage = answered.get("usage")
    if not isinstance(usage, dict):
        return None, None
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    thought = details.get("reasoning_tokens") if isinstance(details, dict) else None
    spent = usage.get("completion_tokens", usage.get("output_tokens"))
    if type(thought) is int and type(spent) is int and 0 <= thought <= spent:
        return thought, spent
    return None, None
