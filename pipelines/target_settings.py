"""What measured figures are held to: the section [targets] of a configuration."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Interval, Le

Share = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """Targets of `python -m pipelines progress`; each is optional, and one that is None is measured all the same."""

    hit_rate: Share | None = None
    """At least this share of the served requests is answered by a tier of the cache."""
    p95_ms: Annotated[float, Gt(0)] | None = None
    """At most so many milliseconds for 95 of 100 answered requests, retries and fallbacks included."""
    selection_accuracy: Share | None = None
    """At least this share of the random probes on which the router takes a candidate that is as good as the best."""
    saving: Annotated[float, Le(1)] | None = None
    """At least this share of what the baseline would have cost, net of probes, grading and warming."""
    error_rate: Share | None = None
    """At most this share of requests without an answer in the end."""
    uptime: Share | None = None
    """At least this share of the minutes with traffic in which a request was answered."""
    days: Annotated[float, Gt(0)] = 7.0
    """How far back requests are looked at, from the newest one."""
    margin: Annotated[float, Ge(0)] = 0.1
    """Utility by which a choice may fall short of the best candidate's and still counts as right: a tenth of what a
    right answer is worth more than a wrong one."""
    baseline: str | None = None
    """The candidate against which money is saved; the best single one of the champion's training where it is None."""
    stale_hours: Annotated[float, Gt(0)] = 24.0
    """A log without a new request for longer is dead, and every other figure old."""
    gaps: Annotated[float, Ge(1)] = 3.0
    """The same for so many times the longest silence of the days that are looked at."""
