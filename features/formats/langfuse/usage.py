"""What Langfuse says a generation used and cost: parts that add up, some of which were sent twice."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from features.formats.maps import strict
from features.formats.values import count, number


def tokens(values: Mapping[str, Any], *, failed: bool) -> dict[str, int | None]:
    """Return the token columns of an observation; where all are zero nothing is known.

    The keys of `usageDetails` are parts that do not overlap: `input` is what no cache held. Clients that send a whole
    `input` beside its cached part are found out by their own `total`, which is then smaller than the sum.
    """
    usage = strict("usageDetails", values.get("usage_details")) or strict("usage", values.get("usage"))
    if str(usage.get("unit") or "TOKENS").upper() != "TOKENS":
        return {}
    parts: dict[str, int] = {}
    for name, value in usage.items():
        role = _role(name)
        if role and not isinstance(value, dict) and (known := count(f"usageDetails.{name}", value)) is not None:
            parts[role] = parts.get(role, 0) + known
    into, out, cached = (
        _sum(parts, "fresh", "read", "write"),
        _sum(parts, "out", "reasoning"),
        _sum(parts, "read", "write"),
    )
    if not into and (failed or not out):
        return {}
    total = count("usageDetails.total", usage.get("total"))
    if into is not None and cached and total is not None:
        whole = total - (out or 0)
        if max(parts.get("fresh", 0), cached) <= whole < into:
            into = whole
    return {
        "input_tokens": into or None,
        "output_tokens": out,
        "cache_read_tokens": parts.get("read"),
        "cache_write_tokens": parts.get("write"),
        "reasoning_tokens": parts.get("reasoning"),
    }


def cost(values: Mapping[str, Any], *, cached: bool) -> float | None:
    """Return what Langfuse thinks a generation cost in USD; its zero is no price, except for a cache's answer."""
    parts = strict("costDetails", values.get("cost_details"))
    usage = values.get("usage")
    places = (
        values.get("total_cost"),
        values.get("calculated_total_cost"),
        parts.get("total"),
        usage.get("totalCost") if isinstance(usage, dict) else None,
    )
    known = [number("totalCost", _float(place)) for place in places if place not in (None, "")]
    if not known and parts:
        known = [sum(number(f"costDetails.{name}", _float(value)) or 0.0 for name, value in parts.items())]
    return next((value for value in known if value), 0.0 if cached and known else None)


@lru_cache(maxsize=1024)
def _role(name: str) -> str:
    """Return which part of a usage a key counts: fresh, read, write, out or reasoning, or none.

    >>> [_role(name) for name in ("input", "input_cached_tokens", "cache_creation_input_tokens", "total", "inputCost")]
    ['fresh', 'read', 'write', '', '']
    """
    name = name.lower()
    if "cost" in name or "total" in name:
        return ""
    if "reasoning" in name:
        return "reasoning"
    if "output" in name or "completion" in name:
        return "out"
    if "cache" in name:
        return "write" if "creat" in name or "writ" in name else "read"
    return "fresh" if "input" in name or "prompt" in name else ""


def _sum(parts: Mapping[str, int], *roles: str) -> int | None:
    known = [parts[role] for role in roles if role in parts]
    return sum(known) if known else None


def _float(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value
