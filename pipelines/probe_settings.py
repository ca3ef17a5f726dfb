"""What `probe` may spend, on what, and how answers are scored."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Le

RUBRIC = "Is the answer correct, complete and useful to the person who asked?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """The section [probe] of a configuration."""

    budget_usd: Annotated[float, Gt(0)] | None = None
    """The most that one plan may spend, judge included. Nothing is asked before it is set."""
    requests: Annotated[int, Ge(1)] = 100
    """The most requests that one plan asks of candidates."""
    random_share: Annotated[float, Interval(ge=0, le=1)] = 0.2
    """Of the requests, drawn by lot and asked of every candidate: what the gate may judge routers by."""
    scoring: Literal["exact", "function", "judge"] = "exact"
    reference: str = "answer"
    """The key of a request's context that holds the right answer, or a list of right answers."""
    function: str | None = None
    """`module:function` of yours, called as function(request, answer, reference); it runs in this process."""
    judge: str | None = None
    """The candidate of the catalogue that grades the answers."""
    rubric: str = RUBRIC
    """What the judge is asked of each answer."""
    max_output_tokens: Annotated[int, Ge(1)] = 1024
    """Sent with every call, and what a call is reckoned to cost at most."""
    concurrency: Annotated[int, Ge(1), Le(64)] = 4
    tries: Annotated[int, Ge(1), Le(20)] = 4
    """Of one call, where its failure is worth another try."""
    timeout_seconds: Annotated[float, Gt(0)] = 120.0
    longest_wait_seconds: Annotated[float, Ge(0)] = 60.0
    """A provider that asks to be left alone for longer than this is left alone for the rest of the run."""
    journal: str = "{root}/logs"
    """The folder of the journal; a source of [ingest] must read it."""
