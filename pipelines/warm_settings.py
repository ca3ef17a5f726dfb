"""What `train-warmer` and `warm` may do: the cache, the budget, and how fast providers are asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Le, Len, Lt


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmSettings:
    """The section [warming] of a configuration."""

    cache: str | None = None
    """A file of the tier Sqlite, as in `{root}/cache.sqlite`, or a `redis://` URL; nothing is filled without it."""
    model: str | None = None
    """The model that your application names in the key; the champion's policy where it names none."""
    quality_ratio: Annotated[float, Gt(0)] | None = None
    """The operating point that your application's router serves, as `Router.load(..., quality_ratio=...)` takes it:
    where the policy is the key, each point has answers of its own."""
    guaranteed: bool = False
    """Whether it serves the certified operating point instead."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The parameters that your application names in the key; they are sent to the provider."""
    answer: Literal["text", "completion"] = "text"
    """What your application holds: the text of the answer, or the whole completion as JSON data."""
    window_hours: Annotated[float, Gt(0)] = 1.0
    """How far ahead keys are predicted; one run of `warm` in each window."""
    history_days: Annotated[float, Gt(0)] = 28.0
    """How far back demand is read."""
    ttl_seconds: Annotated[float, Gt(0)] = 3600.0
    """How long an answer lives; what the warmer bundle's tuned settings say goes before it."""
    flush: Literal["daily"] | Annotated[int, Ge(60)] | None = None
    """When your application empties its cache, where it does: `daily` at midnight (UTC), or a number of seconds, at
    whose multiples since 1970 it does."""
    keys: Literal["exact", "clusters", "best"] = "exact"
    """What is foreseen and asked ahead: `exact` questions, `clusters` of those that the semantic tier answers alike, or
    the `best` of both: clusters where `train-warmer` proves them better at the first of `budgets`."""
    budget_usd: Annotated[float, Gt(0)] | None = None
    """The most that one window may spend. Nothing is asked before it is set."""
    prefills: Annotated[int, Ge(1)] = 1000
    """The most prefills of one window."""
    hit_usd: Annotated[float, Ge(0)] | None = None
    """What a hit is worth beside what it saves: the wait that it spares. Where it is None, the objective's price of a
    second for as long as the request took, in US dollars."""
    price_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """What a prefill costs of a request's price: .5 where your prefills go to a batch interface."""
    requests_per_minute: Annotated[float, Gt(0)] = 60.0
    """Of one provider."""
    providers: Mapping[str, Annotated[float, Gt(0)]] = field(default_factory=dict)
    """Requests per minute of single providers, by name."""
    concurrency: Annotated[int, Ge(1), Le(64)] = 4
    tries: Annotated[int, Ge(1), Le(20)] = 3
    max_output_tokens: Annotated[int, Ge(1)] = 1024
    timeout_seconds: Annotated[float, Gt(0)] = 120.0
    longest_wait_seconds: Annotated[float, Ge(0)] = 60.0
    """A provider that asks to be left alone for longer ends the run."""
    follow: bool = False
    """Whether `warm` goes on until its window ends, and fetches what mostly follows the requests that come: a run then
    takes as long as a window."""
    follow_poll_seconds: Annotated[float, Gt(0)] = 1.0
    """How often the application's journals are looked at meanwhile."""
    keepalive: bool = False
    """Whether sessions' prefixes are kept alive in their providers' prompt caches, where that pays."""
    keepalive_periods: Annotated[int, Ge(1), Le(100)] = 12
    """How many times to live ahead a keep-alive looks."""
    keepalive_seconds: Annotated[float, Gt(0)] = 240.0
    """The time to the next run of `warm`: prefixes that would die by then are due."""
    test_share: Annotated[float, Interval(gt=0, lt=1)] = 0.4
    """The latest part of demand, on which the tournament is judged."""
    budgets: Annotated[tuple[Annotated[float, Gt(0)], ...], Len(1)] = (0.1, 0.2, 0.4)
    """Prefills a request at which warmers are compared; the first decides."""
    alpha: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    """The chance that the lower bound of the learned warmer's lead errs."""
    trials: Annotated[int, Ge(1)] = 40
    """Of the cache's settings: time to live, tier and size."""
    half_life_hours: Annotated[float, Gt(0)] | None = None
    """The age at which half of the answers are no longer true; None where they stay true."""
    wrong_usd: Annotated[float, Ge(0)] = 0.0
    """What it costs to serve an answer that is no longer true."""
    workers: Annotated[int, Ge(1)] = 1
    """Processes of your application, each with a memory of its own."""
    memory_gigabyte_month_usd: Annotated[float, Ge(0)] = 3.0
    """What it costs to hold a gigabyte for a month in one process's memory."""
    disk_gigabyte_month_usd: Annotated[float, Ge(0)] = 0.1

    @property
    def flush_seconds(self) -> int | None:
        """The cache is emptied at multiples of this; None where it never is."""
        return 86_400 if self.flush == "daily" else self.flush

    def life_seconds(self, at: float, ttl_seconds: float) -> float:
        """Return how long an answer lives that is fetched at a moment, in seconds since 1970: until a flush at most."""
        every = self.flush_seconds
        return ttl_seconds if every is None else min(ttl_seconds, every - at % every)
