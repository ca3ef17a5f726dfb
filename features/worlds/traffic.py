"""When requests arrive, and which of them belong together."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MINUTES = 10
"""Resolution of the daily shape."""


def load(hour: Floats) -> Floats:
    """Return how busy hosts are at an hour of the day (UTC), 1 on average: quiet at 3, busy at 15."""
    return 1 + 0.35 * np.cos((hour - 15) / 24 * 2 * np.pi)


def arrivals(n: int, span_days: float, gaps: Floats | None, rng: np.random.Generator) -> Floats:
    """Return n rising moments in [0, span_days), in days.

    `gaps` are the times between arrivals of a trace, in any unit: they keep their bursts, repeat as often as needed and
    are stretched over the span, then bent so that days are busier than nights and workdays than weekends. Without a
    trace the gaps are exponential.
    """
    if gaps is None or not len(gaps):
        gaps = rng.exponential(size=n)
    start = int(rng.integers(len(gaps)))
    steps = np.resize(np.roll(gaps, -start), n) + 1e-12
    share = np.cumsum(steps) / (steps.sum() + steps.mean())
    grid = np.arange(0, span_days + 1e-9, MINUTES / 1440)
    grid = np.append(grid, span_days) if grid[-1] < span_days else grid
    weekend = (grid % 7) >= 5
    intensity = (1 + 0.8 * np.cos((grid * 24 - 14) / 24 * 2 * np.pi)) * np.where(weekend, 0.6, 1.0) + 0.05
    total = np.concatenate([[0.0], np.cumsum((intensity[1:] + intensity[:-1]) / 2 * np.diff(grid))])
    return np.asarray(np.interp(share, total / total[-1], grid))


def moments(start: datetime, days: Floats) -> list[datetime]:
    """Return moments from days after a start, to the millisecond."""
    return [start + timedelta(milliseconds=round(day * 86_400_000)) for day in days.tolist()]


def drifting(subjects: Sequence[str], shift: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return an order of requests in which the mix of subjects changes over time.

    Each subject gets a leaning a in {-1, 1}; a request of it comes at u of the span with density in proportion to
    exp(shift a (2u - 1)). With shift = 0 the order is a plain permutation.
    """
    known, code = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    leaning = rng.permutation(np.where(np.arange(len(known)) % 2, -1.0, 1.0))[code] * shift * 2
    u = rng.random(len(code))
    # The inverse of the distribution function of a truncated exponential; u itself where there is no leaning.
    safe = np.where(np.abs(leaning) < 1e-9, 1.0, leaning)
    bent = np.where(np.abs(leaning) < 1e-9, u, np.log1p(u * np.expm1(safe)) / safe)
    return np.argsort(bent, kind="stable")


def sessions(n: int, stay: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a session number for each of n requests: a request joins one of the last ten sessions with P = stay."""
    number = np.empty(n, dtype=np.int64)
    joins = rng.random(n) < stay
    back = rng.integers(0, 10, size=n)
    opened = 0
    for i in range(n):
        if joins[i] and opened:
            number[i] = max(opened - 1 - int(back[i]), 0)
        else:
            number[i] = opened
            opened += 1
    return number
