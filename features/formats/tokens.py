"""Token counts with one meaning: totals that include what was cached, whatever the source's habit."""

from typing import Any

from features.formats.values import count


def tokens(
    into: object,
    out: object,
    *,
    cache_read: object = None,
    cache_write: object = None,
    reasoning: object = None,
    inclusive: bool = True,
) -> dict[str, Any]:
    """Return the token columns of an interaction; raises Impossible naming a count that is none.

    `inclusive` says that the source's input already holds what was read from or written to a provider's cache, as
    OpenAI, LiteLLM and OpenTelemetry count; Anthropic's own usage and Langfuse's `usageDetails.input` do not.
    """
    known = {
        "input_tokens": count("input_tokens", into),
        "output_tokens": count("output_tokens", out),
        "cache_read_tokens": count("cache_read_tokens", cache_read),
        "cache_write_tokens": count("cache_write_tokens", cache_write),
        "reasoning_tokens": count("reasoning_tokens", reasoning),
    }
    if not inclusive and known["input_tokens"] is not None:
        known["input_tokens"] += (known["cache_read_tokens"] or 0) + (known["cache_write_tokens"] or 0)
    return known
