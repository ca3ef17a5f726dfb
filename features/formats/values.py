"""Turn what logs hold into numbers, moments and messages, and say which field cannot be true."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from beastmode.records import Message, Request

LARGEST = 2**53


class Impossible(ValueError):
    """A value that cannot be true: names the field, the value and the remedy."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        self.kind = f"{field}: {remedy}"
        """The same without the value, so that like ones can be counted together and prompts are not shown."""
        shown = repr(value)
        super().__init__(f"{field} = {shown[:77] + '...' if len(shown) > 80 else shown}: {remedy}")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def parse(line: bytes) -> Any:
    """Return the JSON value of one line; raises ValueError with the reason."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        # The standard library says where it is broken, and reads the lone surrogates that orjson refuses.
        return _parse_slowly(line)


def _parse_slowly(line: bytes) -> Any:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; export the log as UTF-8") from error
    try:
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply to be a log record") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at character {error.pos} ({error.msg})") from error
    # A lone surrogate is legal in JSON's escapes but has no UTF-8, so nothing could store it.
    return clean(value) if "\\ud" in text or "\\uD" in text else value


def clean(value: Any) -> Any:
    """Return a JSON value whose strings can all be written as UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return value


def record(line: bytes) -> dict[str, Any]:
    """Return the JSON object of one line; raises ValueError with the reason."""
    value = parse(line)
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__} where a JSON object is expected")
    return value


def text(field: str, value: object) -> str | None:
    """Return a string, or None for null and the empty string."""
    if type(value) is str:
        return value or None
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise Impossible(field, value, "expected text")


def number(field: str, value: object, *, low: float = 0.0, high: float = math.inf) -> float | None:
    """Return a finite number of [low, high], or None for null and the empty string."""
    if type(value) is float and low <= value <= high and -LARGEST <= value <= LARGEST:
        return value
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise Impossible(field, value, "expected a number") from error
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Impossible(field, value, "expected a number")
    if not math.isfinite(value):
        raise Impossible(field, value, "must be finite; leave it out where it is unknown")
    if abs(value) > LARGEST:
        raise Impossible(field, value, "too large to be true")
    if not low <= value <= high:
        span = f"at least {low:g}" if high >= LARGEST else f"in [{low:g}, {high:g}]"
        raise Impossible(field, value, f"must be {span}; leave it out where it is unknown")
    return float(value)


def count(field: str, value: object) -> int | None:
    """Return a whole number of tokens or characters, not negative, or None where there is none."""
    if value is None or (type(value) is int and 0 <= value <= LARGEST):
        return value
    known = number(field, value, high=LARGEST)
    if known is None:
        return None
    if known != int(known):
        raise Impossible(field, value, "must be a whole number")
    return int(known)


def mapping(field: str, value: object) -> dict[str, Any]:
    """Return a JSON object, also where the log holds it as a string; empty where there is none."""
    if type(value) is dict:
        return value
    if isinstance(value, str) and value.strip():
        try:
            value = parse(value.encode("utf-8", "replace"))
        except ValueError as error:
            raise Impossible(field, value, f"expected a JSON object, but it is {error}") from error
    if not value:
        return {}
    if not isinstance(value, dict):
        raise Impossible(field, value, "expected a JSON object")
    return value


DATE_DIGITS = 8
"""So many digits are a compact date, more are an epoch."""
_FRACTION = re.compile(r"(\.\d{6})\d+")


def moment(field: str, value: object) -> datetime | None:
    """Return a moment in UTC from ISO 8601 (UTC where no zone is named) or from an epoch in s, ms, us or ns."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return _in_utc(value)
    if isinstance(value, str) and len(value) > DATE_DIGITS and value.isdecimal():
        # Milliseconds as text would pass for a compact date and time.
        value = int(value)
    if isinstance(value, str):
        try:
            # Nanoseconds, as some logs have them, are more than a datetime holds.
            return _in_utc(datetime.fromisoformat(_FRACTION.sub(r"\1", value.strip()) if len(value) > 27 else value))
        except (ValueError, OverflowError):
            try:
                value = float(value)
            except ValueError as error:
                raise Impossible(field, value, "expected a moment in ISO 8601 or seconds") from error
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Impossible(field, value, "expected a moment in ISO 8601 or seconds")
    for unit in (1, 1e3, 1e6, 1e9):
        # Seconds are below 1e11 until the year 5138, milliseconds above it since 1973.
        if 0 <= value < 1e11 * unit:
            return datetime.fromtimestamp(value / unit, UTC)
    raise Impossible(field, value, "is no moment since 1970, in seconds or in nanoseconds")


def _in_utc(known: datetime) -> datetime:
    if known.tzinfo is UTC:
        return known
    return known.replace(tzinfo=UTC) if known.tzinfo is None else known.astimezone(UTC)


def messages(field: str, value: object) -> tuple[Message, ...] | None:
    """Return chat messages from a list of them, a JSON string of such a list, or a bare prompt."""
    if value is None or value in ("", "{}", "[]", "null"):
        return None
    if isinstance(value, str):
        if value.lstrip()[:1] in "[{":
            try:
                inner = parse(value.encode("utf-8", "replace"))
            except ValueError:
                inner = None
            if isinstance(inner, list | dict):
                return messages(field, inner)
        return ({"role": "user", "content": value},)
    if isinstance(value, Mapping):
        return messages(field, value.get("messages")) if value else None
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        if all(type(item) is dict or isinstance(item, Mapping) for item in value):
            return tuple(value) or None
        if all(isinstance(item, str) for item in value):
            return ({"role": "user", "content": "\n".join(value)},)
    raise Impossible(field, value, "expected chat messages: a list of objects with role and content")


def prompt_facts(known: Sequence[Message]) -> tuple[str, int]:
    """Return the sha256 of the text that is routed on, and the length of the whole conversation."""
    request = Request(messages=tuple(known), request_id="")
    return hashlib.sha256(request.text.encode("utf-8", "replace")).hexdigest(), request.chars
