"""What can go wrong, in a closed vocabulary, and what to do about it.

BeastmodeError
  BundleError      a bundle that does not verify, does not reproduce or cannot be read
  StoreError       a store without a champion, or a name that is taken
    StaleError     a decision on what a store held, which holds something else by now
  RegistryError    a registry that cannot be reached, or a version that cannot be trusted
  RoutingError     a request that no candidate may serve, or an operating point that the bundle lacks
  JournalError     a journal that cannot be written where it was asked to be
  CacheError       a cache that was set up wrongly, or asked for what it cannot hold
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beastmode.vocabulary import ERROR_TYPES as ERROR_TYPES
from beastmode.vocabulary import ErrorType as ErrorType


class BeastmodeError(Exception):
    """Any error of this package; its text names the thing, the value and the remedy."""


class BundleError(BeastmodeError):
    """A bundle that does not verify, does not reproduce or cannot be read."""


class StoreError(BeastmodeError):
    """A store without a champion, a pointer that cannot be read, or a name that is taken."""


class StaleError(StoreError):
    """A decision on what a store held when it was looked at, which holds something else by now: look again."""


class RegistryError(BeastmodeError):
    """A registry that cannot be reached, or a version in it that cannot be trusted."""


class RoutingError(BeastmodeError):
    """A request that no candidate may serve, or an operating point that the bundle lacks."""


class JournalError(BeastmodeError):
    """A journal that cannot be written where it was asked to be."""


class CacheError(BeastmodeError):
    """A cache that was set up wrongly, that is asked for what it cannot hold, or that cannot forget just now."""


_STATUSES = {
    400: "caller_invalid_request", 401: "provider_authentication", 402: "provider_quota_exceeded",
    403: "provider_permission", 404: "provider_not_found", 405: "provider_not_found",
    408: "provider_timeout", 413: "caller_context_length", 422: "caller_invalid_request",
    429: "provider_rate_limited", 499: "caller_cancelled", 504: "provider_timeout",
}  # fmt: skip

# What providers write in an error body's `code` or `type`, or a gateway in its message; the first found counts.
_CODES = {
    "context_length_exceeded": "caller_context_length",
    "maximum context length": "caller_context_length",
    "ContextWindowExceeded": "caller_context_length",
    "insufficient_quota": "provider_quota_exceeded",
    "billing_not_active": "provider_quota_exceeded",
    "content_policy_violation": "policy_content_filtered",
    "content_filter": "policy_content_filtered",
    "ContentPolicyViolation": "policy_content_filtered",
    "BudgetExceeded": "policy_budget_exceeded",
    "budget_exceeded": "policy_budget_exceeded",
}

# By the names of classes: importing asyncio, ssl and http for theirs would double what serving imports.
_CANCELLED = frozenset(
    {"asyncio.exceptions.CancelledError", "builtins.KeyboardInterrupt", "builtins.SystemExit", "builtins.GeneratorExit"}
)
_EXCEPTIONS = {
    "beastmode.errors.RoutingError": "policy_no_eligible_candidate",
    "beastmode.errors.BeastmodeError": "router_error",
    "builtins.ConnectionRefusedError": "provider_connection_refused",
    "socket.gaierror": "provider_dns",
    "ssl.SSLError": "provider_tls",
    "builtins.TimeoutError": "provider_timeout",
    "builtins.ConnectionError": "provider_connection_lost",
    "http.client.IncompleteRead": "provider_connection_lost",
    "http.client.HTTPException": "provider_bad_response",
    "json.decoder.JSONDecodeError": "provider_bad_response",
}

# Client libraries that are not imported here, by the names of their exceptions.
_NAMES = {
    "ConnectTimeout": "provider_timeout", "ReadTimeout": "provider_timeout", "WriteTimeout": "provider_timeout",
    "PoolTimeout": "provider_timeout", "Timeout": "provider_timeout", "APITimeoutError": "provider_timeout",
    "AuthenticationError": "provider_authentication", "PermissionDeniedError": "provider_permission",
    "NotFoundError": "provider_not_found", "RateLimitError": "provider_rate_limited",
    "BadRequestError": "caller_invalid_request", "UnprocessableEntityError": "caller_invalid_request",
    "InternalServerError": "provider_server_error", "ServiceUnavailableError": "provider_server_error",
    "BadGatewayError": "provider_server_error", "RemoteProtocolError": "provider_connection_lost",
    "APIConnectionError": "provider_connection_lost", "ReadError": "provider_connection_lost",
    "APIResponseValidationError": "provider_bad_response", "JSONSchemaValidationError": "provider_bad_response",
}  # fmt: skip


def classify(error: BaseException | str | None = None, status: int | None = None, message: str = "") -> ErrorType:
    """Return the kind of a failure, from an exception, its class name, an HTTP status, or what a log holds.

    An exception is read with its causes: a client library's own error mostly wraps the socket's. What came from no
    provider at all is `caller_application_error`.

    >>> classify(ConnectionRefusedError()).name
    'provider_connection_refused'
    >>> classify(status=429, message="insufficient_quota").name
    'provider_quota_exceeded'
    """
    causes = list(_causes(error)) if isinstance(error, BaseException) else []
    name = error if isinstance(error, str) else ""
    if causes and not _CANCELLED.isdisjoint(_classes(causes[0])):
        return ERROR_TYPES["caller_cancelled"]
    status = status or next((s for s in map(_status, causes) if s is not None), None)
    kind = None
    if status is not None or name:
        text = " ".join([message, name, *(f"{told(cause)} {getattr(cause, 'body', '')}" for cause in causes)])
        kind = next((kind for code, kind in _CODES.items() if code in text), None)
    if kind is None and status is not None and status >= 400:
        kind = _STATUSES.get(status) or _by_hundred(status)
    kind = kind or _by_exception(causes, name)
    return ERROR_TYPES[kind or ("caller_application_error" if causes else "provider_unknown")]


def told(error: BaseException) -> str:
    """Return an exception's class and text; one that fails to say its own text is no reason to fail over it."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"its text cannot be read ({broken})"
    return f"{type(error).__name__}: {text}"


def _by_exception(causes: Sequence[BaseException], name: str) -> str | None:
    """Return the kind of the innermost cause that has one, else what a client library's class name says."""
    for cause in reversed(causes):
        for cls in _classes(cause):
            if cls in _EXCEPTIONS:
                return _EXCEPTIONS[cls]
    names = (name.rpartition(".")[2], *(type(cause).__name__ for cause in causes))
    return next((_NAMES[name] for name in names if name in _NAMES), None)


def _classes(error: BaseException) -> list[str]:
    """Return the names of an exception's class and of those it derives from, the nearest first."""
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__]


def _by_hundred(status: int) -> str:
    return "provider_server_error" if status >= 500 else "provider_unknown"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what caused it, outermost first."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        # urllib hides the socket's error in `reason`; others raise `from None`, and the context is there all the same.
        queue += [getattr(current, "reason", None), current.__cause__ or current.__context__]


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    for value in (getattr(error, "status_code", None), getattr(response, "status_code", None)):
        if isinstance(value, int):
            return value
    code = getattr(error, "code", None)
    return code if isinstance(code, int) and 100 <= code < 600 else None


def retry_after(error: BaseException) -> float | None:
    """Return the seconds that a provider asks to be left alone, from the Retry-After header of its refusal.

    None where there is no such header, or where it holds a date: providers of language models send seconds.
    """
    for cause in _causes(error):
        headers = getattr(getattr(cause, "response", None), "headers", None) or getattr(cause, "headers", None)
        said = headers.get("Retry-After") if headers is not None and hasattr(headers, "get") else None
        if isinstance(said, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", said.strip()):
            return float(said)
    return None


def tip(kind: ErrorType | str, known: Mapping[str, Any] | None = None) -> str:
    """Return what a person should do, with what is known filled in.

    `known` may hold candidate, host, key (the *name* of the key's variable), elapsed_ms and retry_after (seconds).

    >>> tip("provider_authentication", {"host": "api.example.com", "key": "EXAMPLE_KEY", "elapsed_ms": 41.2})
    'the provider did not accept the key (after 41 ms): set EXAMPLE_KEY to a valid key for api.example.com'
    """
    kind = ERROR_TYPES[kind] if isinstance(kind, str) else kind
    values = {name: value for name, value in (known or {}).items() if value is not None}
    elapsed = values.get("elapsed_ms")
    after = "" if elapsed is None else f" (after {elapsed:.0f} ms)"
    remedy = kind.remedy.format(
        candidate=repr(values["candidate"]) if "candidate" in values else "the candidate",
        host=values.get("host", "the provider's host"),
        key=values.get("key", "the variable named by api_key_env"),
        wait=f"{values['retry_after']:g} s" if "retry_after" in values else "a moment",
    )
    return f"{kind.meaning}{after}: {remedy}"
