"""What no true interaction can say: each check names the field, the value and the remedy."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from beastmode.interactions import Interaction
from features.formats.values import Impossible

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""An earlier moment is a wrong unit or a missing value."""
CLOCK_SKEW = timedelta(days=1)
"""How far a log's clock may run ahead of the reader's."""
PURPOSES = ("serve", "probe", "judge", "shadow", "canary", "warm")
STATUSES = ("success", "failure", "cancelled", "unknown")
SOURCES = ("logged", "reconstructed", "unknown")
LONGEST_MS = 30 * 86_400_000.0
MOST = 1 + 1e-9
"""A probability may exceed 1 by what rounding adds."""


def check(row: Interaction, now: datetime) -> Interaction:
    """Return the interaction if it can be true; raises Impossible."""
    check_moment("at", row.at, now)
    for field, value, known in (
        ("purpose", row.purpose, PURPOSES),
        ("status", row.status, STATUSES),
        ("propensity_source", row.propensity_source, SOURCES),
    ):
        if value not in known:
            raise Impossible(field, value, f"expected one of {', '.join(known)}")
    _outcome(row)
    _propensity(row)
    return row


def check_moment(field: str, at: datetime, now: datetime) -> None:
    """Raise Impossible for a moment that has not come yet, or that is a wrong unit."""
    if at > now + CLOCK_SKEW:
        raise Impossible(field, at.isoformat(), f"lies after the reading at {now.isoformat()}; mind the clock")
    if at < EARLIEST:
        raise Impossible(field, at.isoformat(), "lies before 2000; mind the unit of the timestamp")


def _outcome(row: Interaction) -> None:
    for field, span in (("latency_ms", row.latency_ms), ("ttft_ms", row.ttft_ms)):
        if span is not None and span > LONGEST_MS:
            raise Impossible(field, span, "is more than thirty days; mind the unit")
    if row.latency_ms is not None and row.ttft_ms is not None and row.ttft_ms > row.latency_ms * 1.001 + 1:
        raise Impossible("ttft_ms", row.ttft_ms, f"comes after the end of the call at {row.latency_ms} ms")
    for part, less, whole, more in (
        ("cache_read_tokens", row.cache_read_tokens, "input_tokens", row.input_tokens),
        ("reasoning_tokens", row.reasoning_tokens, "output_tokens", row.output_tokens),
    ):
        if less is not None and more is not None and less > more:
            raise Impossible(part, less, f"is more than {whole} = {more}, which includes it")


def _propensity(row: Interaction) -> None:
    for field in ("propensity", "arm_probability", "marginal_propensity"):
        value = getattr(row, field)
        if value is not None and not 0 < value <= MOST:
            raise Impossible(field, value, "must lie in (0, 1]; leave it out where it is unknown")
    if row.plan is not None and row.candidates is not None:
        strange = [call for call in row.plan.split(" > ") if call not in row.candidates]
        if strange:
            raise Impossible("plan", row.plan, f"was not among the candidates {', '.join(row.candidates)}")
    if row.probabilities is not None:
        _probabilities(row, row.probabilities)


def _probabilities(row: Interaction, known: Mapping[str, float]) -> None:
    for name, value in known.items():
        if not 0 <= value <= MOST:
            raise Impossible(f"probabilities[{name}]", value, "must lie in [0, 1]")
    total = math.fsum(known.values())
    if abs(total - 1) > 1e-6:
        raise Impossible("probabilities", total, "must sum to 1 over the eligible plans")
    if row.plan is None:
        return
    if row.plan not in known:
        raise Impossible("plan", row.plan, "was drawn but has no probability")
    if row.propensity is not None and abs(known[row.plan] - row.propensity) > 1e-6:
        raise Impossible("propensity", row.propensity, f"differs from probabilities[{row.plan!r}]")
