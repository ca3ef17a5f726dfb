"""Helicone's exports: the rows of its API and of its export tool, the tool's CSV, and ClickHouse's own columns."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, BinaryIO

from beastmode.errors import ERROR_TYPES
from features.formats.decisions import KEY, taken
from features.formats.events import GRACE, Event, Format, Rating, Row, Skipped, Source, Waiting
from features.formats.failures import STATUSES, error_type
from features.formats.helicone import prompts
from features.formats.helicone.writing import NO_CACHE, PROPERTY_SESSION, TIMEOUT, write
from features.formats.journal import PROCESS_ENDED
from features.formats.maps import loose
from features.formats.pages import EMPTY, first, items
from features.formats.rows import feedback, interaction, moment_needed, refusal
from features.formats.tabular import Record, records
from features.formats.tokens import tokens
from features.formats.values import Impossible, count, moment, number, text

# web/components/templates/requests/statusBadge.tsx: what its statuses below zero mean.
BELOW_ZERO: Mapping[int, str] = {TIMEOUT: "provider_timeout", -3: "caller_cancelled", -4: "policy_content_filtered"}
PENDING = (0, -2)
NANO_USD = 1e-9
"""ClickHouse keeps costs as whole billionths of a dollar (COST_PRECISION_MULTIPLIER)."""
AT_ONCE_MS = 5.0
"""No model answers within this; a cache does."""
THUMB, BOOLEAN = "helicone-score-feedback", "-hcone-bool"
OTHER_PATHS = ("embeddings", "/images", "/audio", "moderations", "/rerank", "/files", "/batches")


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the calls of a Helicone export, each with the feedback and scores that stand in its row."""
    for item in records(stream):
        if item.values is None:
            yield item.event()
            continue
        lines = item.lines
        for part in items(item.values):
            yield from _events(part, item, lines, source)
            lines = 0


def _events(part: Any, item: Record, lines: int, source: Source) -> Iterator[Event]:
    raw = (item.raw if part is item.values else b"") or json.dumps(part, default=str, sort_keys=True).encode()
    try:
        event = _call(part, raw, item.line, lines, source)
    except Impossible as error:
        event = replace(refusal(item.line, error, raw, lines), of_call=not lines)
    yield event
    if isinstance(event, Row):
        for signal, value in _opinions(part):
            try:
                yield Rating(_rating(signal, value, part, event, source), lines=0)
            except Impossible as error:
                yield refusal(item.line, error, raw, 0)


def _call(values: Any, raw: bytes, line: int, lines: int, source: Source) -> Event:
    if not isinstance(values, dict):
        raise Impossible("data", values, "a page holds requests")
    if values is EMPTY:
        return Skipped(line, "an empty page", lines)
    asked = prompts.body(values.get("request_body"))
    if _is_other(str(values.get("request_path") or values.get("target_url") or "")) or "_type" in asked:
        return Skipped(line, "a request that is no chat or completion", lines)
    native = _native(values, raw)
    known = _outcome(values, asked)
    if known["status"] == "unknown" and source.at - known["at"] <= GRACE:
        return Waiting(line, f"request {native!r} is still pending", lines)
    properties = {str(name): value for name, value in _properties(values).items()}
    lower = {name.lower(): value for name, value in properties.items()}
    known |= taken((lower, loose(asked.get("metadata"))))
    known["request_id"] = known.get("request_id") or native
    known["session_id"] = text(PROPERTY_SESSION, lower.get(PROPERTY_SESSION.lower()))
    known["unit"] = known.get("unit") or _user(values)
    known["messages"] = prompts.prompt(values.get("request_body"), asked)
    own = ("helicone-", KEY)
    known["context"] = {name: value for name, value in properties.items() if not name.lower().startswith(own)} or None
    return Row(interaction(known, "helicone", source, native), lines, line=line)


@lru_cache(maxsize=1024)
def _is_other(path: str) -> bool:
    return any(word in path.lower() for word in OTHER_PATHS)


def _native(values: Mapping[str, Any], raw: bytes) -> str:
    """Return the identity of a request; the tool's CSV has only the response's, and that not always."""
    for name in ("request_id", "response_id"):
        if native := text(name, values.get(name)):
            return native
    return f"row-{hashlib.sha256(raw.rstrip()).hexdigest()[:24]}"


def _properties(values: Mapping[str, Any]) -> dict[str, Any]:
    return loose(values.get("request_properties")) or loose(values.get("properties"))


def _user(values: Mapping[str, Any]) -> str | None:
    user = text("request_user_id", values.get("request_user_id") or values.get("user_id"))
    # Helicone writes an absent user as JavaScript spells it.
    return None if user in ("undefined", "null") else user


def _outcome(values: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    start = moment_needed("request_created_at", values.get("request_created_at"))
    code = number("response_status", values.get("response_status", values.get("status")), low=-99, high=999)
    answered = prompts.body(values.get("response_body"))
    requested = text("request_model", values.get("request_model") or values.get("model") or asked.get("model"))
    cached = _cached(values)
    known: dict[str, Any] = {"at": start, "model_requested": requested, **_tokens(values, answered)}
    known["provider"] = (text("provider", values.get("provider")) or "").lower() or None
    known["cost_logged_usd"] = _cost(values, cached=cached)
    if code is None or code in PENDING:
        known |= {"status": "unknown", "error_type": PROCESS_ENDED, "error_message": "the response never came"}
    elif 0 < code < 400:
        known["status"] = "success"
        known["model_served"] = (
            text("response_model", values.get("response_model") or answered.get("model")) or requested
        )
        known["cache_tier"] = "gateway" if cached else None
    else:
        known |= _failure(int(code), answered)
    return known | _times(values, start, cached=cached, succeeded=known["status"] == "success")


def _failure(code: int, answered: Mapping[str, Any]) -> dict[str, Any]:
    error = answered.get("error")
    inner = error if isinstance(error, dict) else answered
    message = error if isinstance(error, str) else inner.get("message")
    message = message if isinstance(message, str) and message else None
    sort = inner.get("type")
    # OpenAI calls a context that is too long an invalid request; only its code names it, so that is read as text.
    said = f"{sort} {inner.get('code')} {message}"
    known = sort if isinstance(sort, str) and sort in ERROR_TYPES else None
    ours = error_type(known, said, code) if code > 0 else BELOW_ZERO.get(code, "provider_unknown")
    return {"status": STATUSES.get(ours, "failure"), "error_type": ours, "error_message": message}


def _times(values: Mapping[str, Any], start: datetime, *, cached: bool, succeeded: bool) -> dict[str, float | None]:
    """Return the times in ms; ClickHouse writes zero for what was not measured, which only a cache can mean."""
    latency = number("delay_ms", _float(values.get("delay_ms") or values.get("latency")))
    end = moment("response_created_at", values.get("response_created_at"))
    if not latency and end is not None and end > start:
        latency = (end - start) / timedelta(microseconds=1) / 1e3
    first = number("time_to_first_token", _float(values.get("time_to_first_token"))) if succeeded else None
    return {"latency_ms": latency or (0.0 if cached and succeeded else None), "ttft_ms": first or None}


def _tokens(values: Mapping[str, Any], answered: Mapping[str, Any]) -> dict[str, Any]:
    """Return the token columns; where all are zero nothing is known, as after a failure or a cache's answer.

    Helicone's prompt_tokens hold none that were cached, whoever the provider (packages/cost/usage), and its
    completion_tokens have ceased to hold reasoning, which the row or the provider's own usage tells apart.
    """
    into, out = (
        count("prompt_tokens", values.get("prompt_tokens")),
        count("completion_tokens", values.get("completion_tokens")),
    )
    reads, writes = (
        count(name, values.get(name)) for name in ("prompt_cache_read_tokens", "prompt_cache_write_tokens")
    )
    thought = count("reasoning_tokens", values.get("reasoning_tokens"))
    if not (into or out or reads or writes):
        return {}
    whole = (out or 0) + thought if thought else out
    if thought is None:
        thought, spent = prompts.reasoning(answered)
        whole = out if spent is None else spent
    return tokens(into, whole, cache_read=reads, cache_write=writes, reasoning=thought, inclusive=False)


def _cached(values: Mapping[str, Any]) -> bool:
    """Whether Helicone's own cache gave the answer: it says which request's, or was on and answered at once."""
    if (values.get("cache_reference_id") or NO_CACHE) != NO_CACHE:
        return True
    if str(values.get("cache_enabled")).lower() not in ("true", "1"):
        return False
    latency = number("delay_ms", _float(values.get("delay_ms") or values.get("latency")))
    return not _cost(values, cached=False) and latency is not None and latency <= AT_ONCE_MS


def _cost(values: Mapping[str, Any], *, cached: bool) -> float | None:
    """Return what Helicone thinks a request cost in USD; its zero means no price, except for its cache's answer."""
    named = values.get("costUSD")
    known = number("cost", _float(values.get("cost") if named is None else named))
    if "status" in values and "response_status" not in values:
        known = None if known is None else known * NANO_USD
    return known or (known if cached else None)


def _float(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


def _opinions(values: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield what was said of a call: the thumb, which also stands among the scores, and each score as it was given."""
    scores = loose(values.get("scores"))
    thumb = values.get("feedback_rating")
    if thumb in (None, ""):
        thumb = scores.get(THUMB)
    if thumb is not None:
        yield "thumb", _plain(thumb)
    for name, value in scores.items():
        if name != THUMB and value is not None:
            yield name.removesuffix(BOOLEAN), _plain(value)


def _plain(value: object) -> object:
    return value.get("value") if isinstance(value, dict) else value


def _rating(signal: str, value: object, values: Mapping[str, Any], event: Row, source: Source) -> Any:
    row = event.interaction
    end = row.at + timedelta(milliseconds=row.latency_ms or 0)
    at = (moment("feedback_created_at", values.get("feedback_created_at")) if signal == "thumb" else None) or end
    changed = moment("updated_at", values.get("updated_at")) or at
    said = {
        "request_id": row.request_id,
        "event_id": row.event_id,
        "signal": signal,
        "value": value,
        "source": "helicone",
    }
    return feedback({**said, "at": at, "received_at": max(at, changed)}, source)


def sniff(head: bytes) -> float:
    """Return how sure it is that a log which begins so is Helicone's."""
    if head.startswith(b"PAR1"):
        return 0.1
    names = first(head)
    return 0.97 if "request_created_at" in names and any(mark in names for mark in MARKS) else 0.0


MARKS = ("response_status", "response_created_at", "request_user_id", "delay_ms", "proxy_key_id")
LOST = frozenset({"event_id", "format", "tenant", "needs", "predictions", "attempts", "cost_usd", "cost_source"})
FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=LOST)
