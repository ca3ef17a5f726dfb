"""One call of a candidate over its OpenAI-compatible interface, and the most that it can cost."""

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message as Headers
from typing import Any

from beastmode.candidates import Candidate
from beastmode.records import Message

ANSWER_LIMIT = 2_000_000
FRAMING = 16
"""Tokens that a provider may add to a message, and to the whole."""


class CallError(Exception):
    """A call that the provider refused, or answered in a way that cannot be read.

    It carries what `beastmode.errors` looks for: `status_code`, `headers` and `body`.
    """

    def __init__(self, said: str, status: int, headers: Headers) -> None:
        super().__init__(said)
        self.status_code = status
        self.headers = headers
        self.body = said


class BadAnswer(json.JSONDecodeError):
    """An answer that is no chat completion."""

    def __init__(self, said: str) -> None:
        super().__init__("no chat completion", said[:200], 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a candidate said."""

    text: str
    usage: Mapping[str, Any] | None
    model: str | None
    whole: Mapping[str, Any] = field(default_factory=dict)
    """The chat completion as the provider sent it."""


def send(
    candidate: Candidate, key: str | None, path: str, body: Mapping[str, Any] | None, timeout: float
) -> tuple[int, Headers, bytes]:
    """Return status, headers and body of one HTTP request to a candidate's host; a `body` is posted.

    Raises what the socket raises; an error status is returned.
    """
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    base = (candidate.base_url or "").rstrip("/")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read(ANSWER_LIMIT)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read(ANSWER_LIMIT)


@dataclass(slots=True)
class Caller:
    """Calls candidates; safe for threads. A host that asks to be left alone is left alone by all of them."""

    environment: Mapping[str, str]
    """Holds the keys under the names that the catalogue gives."""
    max_output_tokens: int
    timeout_seconds: float
    _newer: set[str] = field(default_factory=set)
    """Candidates that know the limit by its newer name."""
    _until: dict[str, float] = field(default_factory=dict)
    """Host -> the monotonic time before which it is not called."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lacks(self, candidate: Candidate) -> str | None:
        """Return why a candidate cannot be called at all, or None where it can."""
        if candidate.base_url is None:
            return "it has no base_url; add one to its block in the catalogue"
        if candidate.api_key_env is not None and not self.environment.get(candidate.api_key_env):
            return f"the variable {candidate.api_key_env} is not set; export the key"
        return None

    def chat(
        self, candidate: Candidate, messages: Sequence[Message], parameters: Mapping[str, Any] | None = None
    ) -> Answer:
        """Return the candidate's answer; raises CallError, BadAnswer or what the socket raises.

        `parameters` (temperature and its like) are sent along.
        """
        key = None if candidate.api_key_env is None else self.environment.get(candidate.api_key_env)
        limit = "max_completion_tokens" if candidate.name in self._newer else "max_tokens"
        body = {limit: self.max_output_tokens, **(parameters or {})}
        body |= {"model": candidate.endpoint.model, "messages": list(messages)}
        status, headers, said = send(candidate, key, "chat/completions", body, self.timeout_seconds)
        if status == 400 and b"max_completion_tokens" in said and limit == "max_tokens":
            # Newer models refuse the older name of the limit, and say so.
            self._newer.add(candidate.name)
            return self.chat(candidate, messages, parameters)
        if status >= 400:
            raise CallError(said.decode(errors="replace")[:300].strip() or f"HTTP {status}", status, headers)
        return _answer(said)

    def leave_alone(self, candidate: Candidate, seconds: float) -> None:
        """Do not call the candidate's host for so long."""
        host = host_of(candidate)
        with self._lock:
            self._until[host] = max(self._until.get(host, 0.0), time.monotonic() + seconds)

    def wait(self, candidate: Candidate, stop: threading.Event) -> None:
        """Return when the candidate's host may be called again, or when `stop` is set."""
        while (left := self._until.get(host_of(candidate), 0.0) - time.monotonic()) > 0:
            if stop.wait(left):
                return


def host_of(candidate: Candidate) -> str:
    """Return the host that a candidate answers at, without credentials."""
    return urllib.parse.urlsplit(candidate.base_url or "").netloc.rpartition("@")[2]


def most(candidate: Candidate, messages: Sequence[Message], max_output_tokens: int) -> float | None:
    """Return the most that a call can cost in US dollars, or None where it cannot be known.

    A token is at least a byte, and everything may be written to the provider's cache or be reasoning, whichever is
    dearest. None where the candidate has no price, or where a message has parts that are not text.
    """
    if any(not isinstance(message.get("content"), str) for message in messages):
        return None
    tokens = FRAMING + sum(FRAMING + len(json.dumps(dict(message)).encode()) for message in messages)
    price = candidate.price
    ways = [
        price.cost_usd(tokens, max_output_tokens, cache_write_tokens=written, reasoning_tokens=reasoned)
        for written in (0, tokens)
        for reasoned in (0, max_output_tokens)
    ]
    known = [way for way in ways if way is not None]
    return max(known) if known else None


def paid(candidate: Candidate, usage: Mapping[str, Any] | None) -> float | None:
    """Return what a call cost by the tokens that the provider counted; None where it did not say."""
    counted = usage or {}
    into, out = counted.get("prompt_tokens"), counted.get("completion_tokens")
    if candidate.price.flat:
        return candidate.price.per_request
    if not isinstance(into, int) or not isinstance(out, int):
        return None
    read = (counted.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoned = (counted.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return candidate.price.cost_usd(into, out, cache_read_tokens=read, reasoning_tokens=reasoned)


def _answer(said: bytes) -> Answer:
    try:
        known = json.loads(said)
        text = known["choices"][0]["message"]["content"]
        usage, model = known.get("usage"), known.get("model")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise BadAnswer(said.decode(errors="replace")) from None
    if text is not None and not isinstance(text, str):
        raise BadAnswer(said.decode(errors="replace"))
    usage, model = usage if isinstance(usage, dict) else None, model if isinstance(model, str) else None
    return Answer(text or "", usage, model, known)
