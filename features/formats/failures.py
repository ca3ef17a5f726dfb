"""How a failure is spelled in logs - a status code, a class name, a provider's word, a message - in our vocabulary."""

import re
from collections.abc import Mapping

from beastmode.errors import ERROR_TYPES, classify

_CLASS = re.compile(r"[A-Za-z_][A-Za-z_0-9.]*")
_CODE = re.compile(r"(?:error code|status code|http)\D{0,3}([45]\d\d)\b|^\s*([45]\d\d)\b", re.IGNORECASE)
"""A status code in a message: `Error code: 429 - {...}` as OpenAI's clients say it, `429 rate limit`."""
WORDS: Mapping[str, str] = {
    # What Anthropic's and OpenAI's error bodies call their errors.
    "invalid_request_error": "caller_invalid_request", "authentication_error": "provider_authentication",
    "invalid_api_key": "provider_authentication", "permission_error": "provider_permission",
    "not_found_error": "provider_not_found", "model_not_found": "provider_not_found",
    "request_too_large": "caller_context_length", "rate_limit_error": "provider_rate_limited",
    "rate_limit_exceeded": "provider_rate_limited", "billing_error": "provider_quota_exceeded",
    "api_error": "provider_server_error", "server_error": "provider_server_error",
    "overloaded_error": "provider_server_error", "timeout_error": "provider_timeout",
    # Python's own, which a log knows by name alone.
    "TimeoutError": "provider_timeout", "ConnectionRefusedError": "provider_connection_refused",
    "gaierror": "provider_dns", "SSLError": "provider_tls", "ConnectionError": "provider_connection_lost",
    "ConnectionResetError": "provider_connection_lost", "BrokenPipeError": "provider_connection_lost",
    "JSONDecodeError": "provider_bad_response", "CancelledError": "caller_cancelled", "cancelled": "caller_cancelled",
    "canceled": "caller_cancelled",
}  # fmt: skip
"""A word that stands for a failure -> our name of it."""
STATUSES: Mapping[str, str] = {"caller_cancelled": "cancelled", "router_process_ended": "unknown"}
"""Error types that say how a call ended, where a log knows success and failure alone."""


def error_type(kind: object, message: object = None, code: int | None = None, word: str = "") -> str:
    """Return our name of a failure from what a log says of it; `provider_unknown` where nothing is recognised.

    `kind` may be our own name, a status code, a class (`openai.RateLimitError`) or a provider's word; `code` is an
    HTTP status and `word` what the log calls the outcome.

    >>> error_type("429"), error_type("builtins.TimeoutError"), error_type(None, "Error code: 401 - no such key")
    ('provider_rate_limited', 'provider_timeout', 'provider_authentication')
    """
    if isinstance(kind, str) and kind in ERROR_TYPES:
        return kind
    said = str(message or "")
    if code is None and str(kind).isdecimal() and len(str(kind)) == 3:
        code = int(str(kind))
    if code is None and (found := _CODE.search(said)):
        code = int(found[1] or found[2])
    return next((name for name in _names(kind, said, code, word) if name != "provider_unknown"), "provider_unknown")


def _names(kind: object, said: str, code: int | None, word: str) -> list[str]:
    """Return what each spelling comes to, the most telling first."""
    # A class may stand in any of these, and before a message: `ReadTimeout`, `RateLimitError: slow down`.
    spelled = [name for name in (str(kind or ""), said.partition(":")[0], word) if _CLASS.fullmatch(name)]
    found = [WORDS.get(name.rpartition(".")[2], "provider_unknown") for name in spelled]
    # What a provider calls it tells more than a status: `context_length_exceeded` beside a 400.
    whole = " ".join((said, *spelled))
    found += [classify(name.title() if name.islower() else name, code, whole).name for name in spelled]
    found.append(classify(None, code, whole).name)
    return found
