"""What a challenger must not harm while it is tried: failures, refusals and slow answers, with Holm's correction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.experiments import quantiles
from models.experiments.differences import Dealing, difference
from models.experiments.rows import CHALLENGER, CHAMPION, Rows
from models.experiments.sequences import cautious, critical
from models.experiments.settings import Settings

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Shown = tuple[Floats, Floats, Floats, Floats]
"""Champion, challenger, limit, each (looks,), and the challenger's lower bounds (levels, looks)."""

SLOW = 0.95
"""Whose quantile of latency is guarded."""
RATE_GUESS = 0.15
"""The deviation of a rare event, for few units: that of 2.3 in a hundred."""


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One thing that must not become worse, at each look; arrays (looks,)."""

    name: str
    champion: Floats
    challenger: Floats
    limit: Floats
    """What the challenger's number must be proven above to count as a breach."""
    low: Floats
    """The challenger's lower bound at the strictest of Holm's levels."""
    breached: Flags

    @property
    def sentence(self) -> str:
        """The last look in words."""
        state = "is breached" if self.breached[-1] else "holds"
        return (
            f"{self.name} {state}: challenger {self.challenger[-1]:.4g} (at least {self.low[-1]:.4g}), "
            f"champion {self.champion[-1]:.4g}, limit {self.limit[-1]:.4g}"
        )


def guardrails(rows: Rows, dealing: Dealing, settings: Settings) -> tuple[Guardrail, ...]:
    """Return every guardrail that the rows can say something of, breaches corrected by Holm at each look."""
    timed = rows.logged & np.isfinite(rows.latency_ms)
    several = 3 if timed.any() else 2
    levels = [settings.guard_alpha / (several - k) for k in range(several)]
    found = {
        "error rate": _rate(rows, dealing, rows.error, settings.error_margin, settings, levels),
        "refusal rate": _rate(rows, dealing, rows.refused, settings.refusal_margin, settings, levels),
    }
    if timed.any():
        found["p95 latency in ms"] = _slow(rows, dealing, timed, settings, levels)
    breached = holm({name: low > limit for name, (_, _, limit, low) in found.items()})
    return tuple(
        Guardrail(name, champion, challenger, limit, low[0], breached[name])
        for name, (champion, challenger, limit, low) in found.items()
    )


def holm(over: Mapping[str, Flags]) -> dict[str, Flags]:
    """Return which of m hypotheses Holm's step-down procedure rejects at each look (Holm 1979).

    `over` says for each whether it would be rejected at alpha / m, alpha / (m - 1), ..., alpha: arrays (m, looks).
    With always-valid bounds the error over all hypotheses and looks is at most alpha.
    """
    tests = np.stack(list(over.values()))
    m, _, looks = tests.shape
    rejected = np.zeros((m, looks), dtype=bool)
    at = np.arange(looks)
    for _ in range(m):
        step = np.minimum(rejected.sum(axis=0), m - 1)
        rejected = rejected | tests[:, step, at]
    return dict(zip(over, rejected, strict=True))


def _rate(
    rows: Rows, dealing: Dealing, flags: Flags, margin: float, settings: Settings, levels: Sequence[float]
) -> Shown:
    found = difference(dealing, np.where(rows.logged, flags, np.nan))
    se = cautious(found.se, found.least, RATE_GUESS)
    enough = found.least >= settings.min_units
    # Harm must be found early, not at the plan's end: the sequence is narrowest where the first promotion may be.
    widths = [critical(np.maximum(found.n, 1), max(settings.promote_after, 100), level, 1) for level in levels]
    low = [np.where(enough, found.value - width * se, -np.inf) for width in widths]
    return found.champion, found.champion + found.value, found.champion + margin, found.champion + np.stack(low)


def _slow(rows: Rows, dealing: Dealing, timed: Flags, settings: Settings, levels: Sequence[float]) -> Shown:
    """Return p95 of both arms; each arm's bound errs with half of a level.

    The champion's rows weigh the odds of the challenger's arm at their moment, so that both speak of the traffic that
    the challenger served: a ramp does not compare quiet days with busy ones.
    """
    bounds = {}
    weight = np.where(rows.arm == CHALLENGER, 1.0, 1 / rows.arm_probability - 1)
    for arm in (CHAMPION, CHALLENGER):
        inside = timed & (rows.arm == arm)
        values = rows.latency_ms[inside]
        looks = np.cumsum(inside)[dealing.looks - 1]
        spread = _design_effect(values, rows.unit[inside])
        bounds[arm] = quantiles.always(values, SLOW, levels, looks, spread, weight[inside])
    champion, _, highest = bounds[CHAMPION]
    challenger, lowest, _ = bounds[CHALLENGER]
    # Both bounds belong to one level, so Holm compares their ratio with a limit that is the same at all levels.
    with np.errstate(invalid="ignore"):
        low = np.where(np.isfinite(highest), lowest * champion / highest, -np.inf)
    return champion, challenger, settings.p95_ratio * champion, low


def _design_effect(values: Floats, units: NDArray[np.str_]) -> float:
    """Return by how much clusters raise the variance of the count of slow rows; 1 at the least."""
    if len(values) < 2:
        return 1.0
    slow = values > np.quantile(values, SLOW)
    rate = float(slow.mean())
    _, unit = np.unique(units, return_inverse=True)
    together = float(np.square(np.bincount(unit, weights=slow - rate)).sum())
    alone = len(values) * rate * (1 - rate)
    return max(together / alone, 1.0) if alone > 0 else 1.0
