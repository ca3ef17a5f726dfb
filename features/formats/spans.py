"""What the formats of spans share: ids, nanoseconds, messages in parts, token habits, the events of one line."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from beastmode.records import Message
from features.formats.events import Event, Note, Rating, Refusal, Row
from features.formats.failures import STATUSES, error_type
from features.formats.rows import refusal
from features.formats.tokens import tokens
from features.formats.values import Impossible, count, messages, parse, text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRACE, SPAN = 16, 8
"""Bytes of a trace's and of a span's id."""
_HEX = frozenset("0123456789abcdef")
_OBJECTS = re.compile(r'\s*\[?\s*\{\s*"')
"""How JSON begins that holds messages; a prompt of words may begin with a bracket too."""


def identity(field: str, value: object, size: int) -> str:
    """Return an id of `size` bytes in hex, from hex (OTLP/JSON) or from base64 (protobuf's own JSON, MLflow).

    >>> identity("traceId", "6oU9deLO+z0IS0tnr10UgQ==", 16)
    'ea853d75e2cefb3d084b4b67af5d1481'
    """
    if isinstance(value, str):
        plain = value.lower().removeprefix("0x")
        if len(plain) == 2 * size and _HEX.issuperset(plain):
            return plain
        try:
            known = base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            known = b""
        if len(known) == size:
            return known.hex()
    raise Impossible(field, value, f"expected an id of {size} bytes, in hex or in base64")


def derived(name: str, size: int) -> str:
    """Return an id of `size` bytes in hex that stands for a name."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[: 2 * size]


def nanos(field: str, value: object) -> int | None:
    """Return nanoseconds since 1970, which JSON holds as text or as a number; None for null, empty and zero."""
    if isinstance(value, str):
        value = value.strip()
        if value.isdecimal() and len(value) <= 19:
            value = int(value)
    if not value:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise Impossible(field, value, "expected nanoseconds since 1970")
    return value


def moment_of(ns: int) -> datetime:
    """Return a moment, to the microsecond that a datetime holds."""
    return EPOCH + timedelta(microseconds=ns // 1000)


def nanos_of(at: datetime) -> int:
    """Return the nanoseconds since 1970 of a moment, exactly."""
    return (at - EPOCH) // timedelta(microseconds=1) * 1000


def listed(owner: object, *spellings: str) -> list[Any]:
    """Return what an object lists under a name; what is no list counts as one item, for its reader to refuse."""
    if not isinstance(owner, dict):
        return [owner]
    for name in spellings:
        if (value := owner.get(name)) is not None:
            return value if isinstance(value, list) else [value]
    return []


def usage(into: object, out: object, total: object = None, **others: Any) -> tuple[dict[str, Any], bool]:
    """Return the token columns, and whether the source counts cached tokens beside its input, against the conventions.

    It does where more tokens were cached than went in, or where its total is the sum of all three kinds. The
    conventions want them included, but emitters for Anthropic and Bedrock hand on what the provider says:
    github.com/traceloop/openllmetry/issues/4449. `others` are those of `tokens`.
    """
    known = tokens(into, out, **others)
    cached = (known["cache_read_tokens"] or 0) + (known["cache_write_tokens"] or 0)
    told, answered = known["input_tokens"], known["output_tokens"] or 0
    if not cached or told is None:
        return known, False
    if cached <= told and count("total_tokens", total) != told + cached + answered:
        return known, False
    return tokens(into, out, inclusive=False, **others), True


FAILED = frozenset({"2", "STATUS_CODE_ERROR", "ERROR"})
"""A span's status where its operation failed: as a number, as OTLP spells it, as MLflow does."""


def outcome(
    status: Mapping[str, Any],
    events: Sequence[tuple[str, Mapping[str, Any]]],
    served: object,
    kind: object = None,
    code: int | None = None,
) -> dict[str, Any]:
    """Return status, error and the model served, from a span's status and an exception among its events.

    `events` are (name, attributes); `kind` is the error that an attribute names, `code` an HTTP status, and `served`
    the model that answered where one did.
    """
    if not kind and str(status.get("code")) not in FAILED:
        return {"status": "success", "model_served": served}
    raised: Mapping[str, Any] = next((inner for name, inner in events if name == "exception"), {})
    message = text("status.message", status.get("message")) or text("exception", raised.get("exception.message"))
    named = error_type(kind or raised.get("exception.type"), message, code)
    if named == "provider_unknown":
        named = error_type(raised.get("exception.type"), message, code)
    return {"status": STATUSES.get(named, "failure"), "error_type": named, "error_message": message}


BESIDE = (
    "the input tokens of {who!r} leave out what its cache held, against the conventions: cached tokens are added "
    "where they exceed the input or the total says so"
)


def spoken(field: str, value: object) -> tuple[Message, ...] | None:
    """Return chat messages from the conventions' messages in parts, or from OpenAI's; None where there is no text.

    JSON that was cut by an attribute's length limit is no prompt, and None too.
    """
    if isinstance(value, str) and _OBJECTS.match(value):
        try:
            value = parse(value.encode("utf-8", "replace"))
        except ValueError:
            return None
    known = messages(field, value)
    if known is None:
        return None
    return tuple(_spoken(message) if "parts" in message else message for message in known)


def _spoken(message: Message) -> Message:
    parts = message["parts"]
    if not isinstance(parts, list):
        raise Impossible("parts", parts, "a message's parts are a list")
    known = {name: item for name, item in message.items() if name != "parts"}
    if len(parts) == 1 and _is_text(parts[0]):
        return {**known, "content": parts[0]["content"]}
    return {
        **known,
        "content": [{"type": "text", "text": part["content"]} if _is_text(part) else part for part in parts],
    }


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("content"), str)


def in_parts(said: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as the conventions spell them: the inverse of `spoken`."""
    return [_in_parts(message) for message in said]


def _in_parts(message: Message) -> dict[str, Any]:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    spelled = [
        {"type": "text", "content": part["text"]}
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
        else part
        for part in parts
    ]
    return {**{name: item for name, item in message.items() if name != "content"}, "parts": spelled}


def refused(line: int, reason: object, item: object, *, call: bool) -> Refusal:
    """Return a refusal of one span or word of feedback among several in a line."""
    known = refusal(line, reason, json.dumps(item, ensure_ascii=False, default=str, sort_keys=True), 0)
    return replace(known, of_call=call)


def sharing(events: Iterable[Event], lines: int, told: set[str]) -> Iterator[Event]:
    """Yield the events of one record, the first of which takes its lines, and of the notes those not yet `told`.

    Calls come first, so that a line with a call is counted as a call's.
    """
    for event in sorted(events, key=_order):
        if isinstance(event, Note):
            if event.text not in told:
                told.add(event.text)
                yield event
            continue
        yield replace(event, lines=lines) if event.lines != lines else event
        lines = 0


def _order(event: Event) -> int:
    if isinstance(event, Note | Row):
        return 0
    if isinstance(event, Refusal):
        return 1 if event.of_call else 4
    return 3 if isinstance(event, Rating) else 2
