"""What an experiment is for, what it must not harm, and how sure it has to be."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Len, Lt

Aim = Literal["utility", "quality", "cost_usd", "latency_ms"]


@dataclass(frozen=True, slots=True)
class Settings:
    """A challenger is promoted when its quality is proven not worse by the margin AND an aim is proven better."""

    aims: Annotated[tuple[Aim, ...], Len(1, 4)] = ("utility",)
    """What is to become better; with several, one of them will do, and they share alpha."""
    quality_margin: Annotated[float, Ge(0), Lt(1)] = 0.01
    """The challenger may answer worse than the champion by less than this; 0.01 is one point."""
    alpha: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    """The chance that a challenger which is no better is ever promoted, at any of the looks."""
    planned: Annotated[int, Ge(100)] = 20_000
    """Units of both arms that the experiment is planned for: most of alpha is saved for them."""
    min_units: Annotated[int, Ge(2)] = 100
    """Units with a known outcome in the smaller arm under which a mean is no evidence."""
    promote_after: Annotated[int, Ge(0)] = 1000
    """Units dealt before any promotion, however great the gain: rare failures and slow tails take time to show."""
    guard_alpha: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    """The chance that a harmless challenger is ever rolled back by a guardrail; Holm shares it among them."""
    error_margin: Annotated[float, Ge(0), Lt(1)] = 0.01
    """By how much the share of failed requests may rise."""
    refusal_margin: Annotated[float, Ge(0), Lt(1)] = 0.01
    """By how much the share of refused requests may rise."""
    p95_ratio: Annotated[float, Ge(1)] = 1.2
    """By what factor the 95th percentile of latency may rise."""
    mismatch_alpha: Annotated[float, Gt(0), Lt(0.5)] = 0.01
    """The chance of a false alarm about how units are dealt; as much again about how they are logged."""
    cost_cap_usd: Annotated[float, Gt(0)] | None = None
    """Where it is set, the cost is also shown with dearer requests counted as this much; the verdict never uses it."""
