"""How a challenger comes into service by stages, and how the champion is watched afterwards: the thresholds."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, Lt

from models import experiments


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A share of the units, and how long it is held at least."""

    share: Annotated[float, Gt(0), Lt(1)]
    hours: Annotated[float, Ge(0)] = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """Candidate, shadow, canary, champion: what each asks for."""

    admit: Annotated[tuple[Literal["promote", "hold"], ...], Len(1, 2)] = ("promote",)
    """Verdicts on the held-out slice with which a challenger is tried; with `hold`, those that it could not prove."""
    unit: Literal["session", "user", "tenant"] = "session"
    """What is dealt to an arm."""
    shadow_requests: Annotated[int, Ge(1)] = 500
    """Requests that the challenger decides in the shadow before it serves any."""
    shadow_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """Of the units whose requests are shadowed."""
    shadow_errors: Annotated[float, Gt(0), Lt(1)] = 0.01
    """The share of requests that the challenger may fail to decide; proven above it, it is rolled back."""
    decision_ms: Annotated[float, Gt(0)] = 50.0
    """What the 95th percentile of the challenger's decision time may be."""
    ramp: Annotated[tuple[Step, ...], Len(1)] = (Step(share=0.05), Step(share=0.2), Step(share=0.5, hours=0.0))
    """Shares of the canary; the next is taken by a run that finds no harm once the hours of the last are over."""
    canary: experiments.Settings = field(default_factory=experiments.Settings)
    """What is to become better in the canary, what must not be harmed, and how many units are planned."""
    look_every: Annotated[int, Ge(1)] = 100
    """Units between two points of the interval that the report draws."""

    def __post_init__(self) -> None:
        shares = [step.share for step in self.ramp]
        if shares != sorted(set(shares)):
            raise ValueError(f"stages.ramp: shares {shares} must rise from step to step")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """How the champion is re-checked on what it has served since it was promoted."""

    false_alarms_per_month: Annotated[float, Gt(0), Le(10)] = 0.1
    """The budget: how many alarms a month a champion may raise of which nothing has changed."""
    looks_per_month: Annotated[float, Gt(0)] = 30.0
    """How often the flow runs; the budget is shared among the looks and their checks."""
    window_hours: Annotated[float, Gt(0)] = 168.0
    """How far back the fresh interactions reach."""
    minimum: Annotated[int, Ge(30)] = 200
    """Fresh requests under which nothing is checked, and requests that make a baseline."""
    value_margin: Annotated[float, Ge(0)] = 0.0
    """The best single candidate must be proven better by more utility than this."""
    retrain: bool = True
    """Whether an alarm starts `improve`."""
