"""Failures of every spelling come out in our closed vocabulary."""

import pytest

from beastmode.errors import ERROR_TYPES
from features.formats.failures import STATUSES, WORDS, error_type


@pytest.mark.parametrize(
    ("kind", "message", "code", "expected"),
    [
        ("provider_quota_exceeded", "429 slow down", 429, "provider_quota_exceeded"),
        ("429", None, None, "provider_rate_limited"),
        (503, None, None, "provider_server_error"),
        ("timeout", "Request timed out", None, "provider_timeout"),
        ("ReadTimeout", None, None, "provider_timeout"),
        ("openai.RateLimitError", None, None, "provider_rate_limited"),
        ("builtins.TimeoutError", None, None, "provider_timeout"),
        ("insufficient_quota", None, 429, "provider_quota_exceeded"),
        ("rate_limit_error", None, None, "provider_rate_limited"),
        ("overloaded_error", "Overloaded", 529, "provider_server_error"),
        ("asyncio.exceptions.CancelledError", None, None, "caller_cancelled"),
        (None, "RateLimitError: slow down", None, "provider_rate_limited"),
        (None, "Error code: 401 - {'error': 'wrong key'}", None, "provider_authentication"),
        (None, "429 rate limit", None, "provider_rate_limited"),
        ("_OTHER", "HTTP 404", None, "provider_not_found"),
        (None, None, 504, "provider_timeout"),
        (None, "it took 429 tokens", None, "provider_unknown"),
        (None, "", None, "provider_unknown"),
        (["x"], {"a": 1}, None, "provider_unknown"),
    ],
)
def test_a_failure_is_recognised_by_code_class_word_and_message(
    kind: object, message: object, code: int | None, expected: str
) -> None:
    assert error_type(kind, message, code) == expected


def test_every_word_stands_for_a_type_that_there_is() -> None:
    assert set(WORDS.values()) | set(STATUSES) <= set(ERROR_TYPES)
