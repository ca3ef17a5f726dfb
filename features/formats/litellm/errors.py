"""LiteLLM's spelling of failures, in our closed vocabulary and back."""

import re
from collections.abc import Mapping
from typing import Any

from beastmode.errors import classify

# `normalized_error` of litellm 1.109.1, litellm_core_utils/error_normalization.py.
NORMALISED: Mapping[str, str] = {
    "429_RATE_LIMIT_EXCEEDED": "provider_rate_limited",
    "429_BUDGET_EXCEEDED": "policy_budget_exceeded",
    "429_NO_HEALTHY_DEPLOYMENTS": "policy_no_eligible_candidate",
    "401_AUTHENTICATION_FAILED": "provider_authentication",
    "403_MODEL_ACCESS_DENIED": "provider_permission",
    "403_PERMISSION_DENIED": "provider_permission",
    "400_MISSING_REQUIRED_PARAMETER": "caller_invalid_request",
    "400_INVALID_PARAMETER_VALUE": "caller_invalid_request",
    "400_INVALID_REQUEST": "caller_invalid_request",
    "400_CONTEXT_WINDOW_EXCEEDED": "caller_context_length",
    "400_CONTENT_POLICY_VIOLATION": "policy_content_filtered",
    "404_RESOURCE_NOT_FOUND": "provider_not_found",
    "408_UPSTREAM_TIMEOUT": "provider_timeout",
    "500_PROVIDER_CONNECTION_ERROR": "provider_connection_lost",
    "503_PROVIDER_OVERLOADED": "provider_server_error",
    "500_PROVIDER_INTERNAL_ERROR": "provider_server_error",
    "500_ROUTER_NO_FALLBACK": "provider_unknown",
    "500_ROUTER_FALLBACK_FAILURE": "provider_unknown",
    "500_UPSTREAM_PASSTHROUGH": "provider_server_error",
    "500_UNSUPPORTED_OPERATION": "caller_invalid_request",
}

# LiteLLM calls all of these a connection error; only the message tells them apart.
_MESSAGES = (
    (re.compile(r"connection refused|\[Errno 111\]|connect call failed", re.IGNORECASE), "provider_connection_refused"),
    (re.compile(r"name or service not known|getaddrinfo|name resolution|nodename", re.IGNORECASE), "provider_dns"),
    (re.compile(r"certificate|\bssl\b|\btls\b", re.IGNORECASE), "provider_tls"),
)
_QUOTA = re.compile(r"insufficient_quota|billing", re.IGNORECASE)


def error_type(known: Mapping[str, Any], message: str) -> str:
    """Return the kind of a failure from LiteLLM's `error_information` and its message."""
    normalised, code = known.get("normalized_error"), str(known.get("error_code") or "")
    kind = NORMALISED.get(normalised) if isinstance(normalised, str) else None
    if kind is None:
        name = known.get("error_class")
        status = int(code) if code.isdigit() and 100 <= int(code) < 600 else None
        # LiteLLM gives a lost connection the status 500 of its own making, so the class speaks first.
        lost = name in ("APIConnectionError", "Timeout")
        kind = classify(name if isinstance(name, str) else None, None if lost else status, message).name
    if kind == "provider_rate_limited" and _QUOTA.search(message):
        return "provider_quota_exceeded"
    if kind in ("provider_connection_lost", "provider_server_error"):
        return next((finer for pattern, finer in _MESSAGES if pattern.search(message)), kind)
    return kind


_SPELLED = {ours: theirs for theirs, ours in reversed(list(NORMALISED.items()))}
_CLASSES = {
    "provider_timeout": "Timeout",
    "provider_rate_limited": "RateLimitError",
    "provider_authentication": "AuthenticationError",
    "provider_permission": "PermissionDeniedError",
    "provider_not_found": "NotFoundError",
    "caller_invalid_request": "BadRequestError",
    "caller_context_length": "ContextWindowExceededError",
    "policy_content_filtered": "ContentPolicyViolationError",
    "policy_budget_exceeded": "BudgetExceededError",
    "provider_server_error": "InternalServerError",
}
_CONNECTION = {
    "provider_connection_refused": "Connection refused",
    "provider_dns": "Name or service not known",
    "provider_tls": "SSL certificate problem",
}


def error_information(kind: str | None, message: str | None) -> dict[str, Any]:
    """Return how LiteLLM would spell a failure."""
    spelled = _SPELLED.get(kind or "")
    text = message or ""
    if kind in _CONNECTION:
        spelled = "500_PROVIDER_CONNECTION_ERROR"
        text = text if error_type({"normalized_error": spelled}, text) == kind else f"{_CONNECTION[kind]}: {text}"
    return {
        "error_code": (spelled or "500").split("_", 1)[0],
        "error_class": _CLASSES.get(kind or "", "APIConnectionError"),
        "error_message": text,
        "normalized_error": spelled or "UNCLASSIFIED",
    }


CARRIED = frozenset(NORMALISED.values()) | frozenset(_CONNECTION)
"""Our error types that survive LiteLLM's spelling."""
