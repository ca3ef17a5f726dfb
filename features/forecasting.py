"""What will be spent: weekdays, a slope and a wandering level in daily sums, with an interval that keeps its word."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MINIMUM_DAYS = 14
"""Fewer days with spend than this say nothing of weekdays and growth at once."""
WINDOW_DAYS = 56
"""Older days are not looked at: eight weeks tell the weekdays, and what was before them is another traffic."""
LEVEL = 0.8
"""The share of intervals that should hold the truth."""
GAPS = 0.25
"""More days without spend than this share, on weekdays that otherwise have some, are too irregular to forecast."""
GROWTH = 0.015
"""Standard deviation a day of the growth that is believed possible before any is seen; 1.5% a day is 56% a month."""
WANDERING = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
"""Variances of the level's daily step, in units of a day's own noise, that are held equally likely before the data."""
DRAWS = 4_000


@dataclass(frozen=True, slots=True)
class Days:
    """Sums of whole days in US dollars, without a gap."""

    first: np.datetime64
    usd: Floats

    @property
    def next(self) -> np.datetime64:
        """The day after the last."""
        return self.first + np.timedelta64(len(self.usd), "D")

    def mean(self, last: int = 7) -> float | None:
        """Return the mean of the last days, or None where there is no whole day."""
        return float(self.usd[-last:].mean()) if len(self.usd) else None


def whole_days(at: NDArray[np.datetime64], usd: Floats, until: np.datetime64 | None = None) -> Days:
    """Return the sums of the days of some calls before `until`, the latest `WINDOW_DAYS`; days without calls are zero.

    The first day, and the last where no `until` is given, are left out: a log seldom begins or ends at midnight. What
    has no known cost counts for nothing, so the sums are a lower bound where something is unpriced.
    """
    day = at.astype("datetime64[D]")
    end = day.max() if until is None and len(day) else until
    known = day < end if end is not None else np.zeros(0, dtype=bool)
    first = day[known].min() + 1 if known.any() else end
    if end is None or first is None or first >= end:
        return Days(np.datetime64("1970-01-01", "D") if end is None else end, np.empty(0))
    known &= day >= first
    sums = np.bincount(
        (day[known] - first).astype(np.int64), np.nan_to_num(usd[known]), int((end - first).astype(int))
    ).astype(np.float64)
    return Days(end - min(len(sums), WINDOW_DAYS), sums[-WINDOW_DAYS:])


@dataclass(frozen=True, slots=True)
class Forecast:
    """A sum to come in US dollars, with the interval that should hold it."""

    days: int
    usd: float
    """The median."""
    low: float
    high: float
    level: float = LEVEL


@dataclass(frozen=True)
class Outlook:
    """Possible paths of the days after the last known one, equally likely."""

    first: np.datetime64
    paths: Floats
    """US dollars, shape (draws, days)."""

    @cached_property
    def cumulative(self) -> Floats:
        """What is spent from the first day on, to the end of each, shape (draws, days)."""
        return np.cumsum(self.paths, axis=1)

    def forecast(self, days: int, level: float = LEVEL) -> Forecast:
        """Return the sum of the first days."""
        sums = self.cumulative[:, days - 1]
        low, middle, high = np.quantile(sums, [0.5 - level / 2, 0.5, 0.5 + level / 2])
        return Forecast(days, float(middle), float(low), float(high), level)


def outlook(days: Days, horizon: int, seed: int = 0) -> Outlook:
    """Return possible futures of some daily sums; raises ValueError where they are too few or too irregular.

    The logarithm of a day's sum is its weekday, a slope, a level that wanders and noise. How much the level wanders
    is not known and is averaged over, as the variances are, so that the interval holds all that the data leave open
    (universal kriging; Cressie, Statistics for Spatial Data, 1993, 3.4.5, with the mixture of Student's predictive
    distributions that follows from flat priors). A weekday that never had spend has none; another day without spend is
    taken for a gap in the log.
    """
    usd, n = days.usd, len(days.usd)
    weekday = (np.arange(n + horizon) + days.first.astype(np.int64)) % 7
    active = np.array([bool((usd[weekday[:n] == k] > 0).any()) for k in range(7)])
    seen = np.flatnonzero(usd > 0)
    if len(seen) < MINIMUM_DAYS:
        raise ValueError(f"not enough days: {len(seen)} whole days with spend, and a forecast needs {MINIMUM_DAYS}")
    gaps = 1 - len(seen) / active[weekday[:n]].sum()
    if gaps > GAPS:
        raise ValueError(f"too irregular: {gaps:.0%} of the days have no spend at all")
    ahead = np.arange(n, n + horizon)
    ahead = ahead[active[weekday[ahead]]]
    design = np.eye(7)[weekday][:, active]
    logs = _futures(np.log(usd[seen]), seen, ahead, design, np.random.default_rng(seed))
    paths = np.zeros((DRAWS, horizon))
    paths[:, ahead - n] = np.exp(logs)
    return Outlook(days.next, paths)


def _futures(y: Floats, seen: NDArray[np.int64], ahead: NDArray[np.int64], design: Floats,
             rng: np.random.Generator) -> Floats:  # fmt: skip
    """Return draws of the days ahead, shape (draws, days), given `y` on the days seen."""
    x, n = design[seen], len(seen)
    every = np.concatenate([seen, ahead])
    free = n - x.shape[1]
    usual = np.column_stack([x, seen])
    left = y - usual @ np.linalg.lstsq(usual, y, rcond=None)[0]
    noise = max(float(left @ left) / max(1, free - 1), 1e-8)
    sloping = GROWTH**2 / noise * np.multiply.outer(every - every.mean(), every - every.mean())
    wander = np.minimum.outer(every, every) - every.min()
    fits = [_fit(np.eye(len(every)) + q * wander + sloping, y, x, design[ahead]) for q in WANDERING]
    likely = np.array([fit[0] for fit in fits])
    shares = np.exp(likely - likely.max())
    counts = rng.multinomial(DRAWS, shares / shares.sum())
    drawn = []
    for count, (_, mean, root, scale) in zip(counts, fits, strict=True):
        sigma = np.sqrt(scale / rng.chisquare(free, size=(count, 1)))
        drawn.append(mean + sigma * (rng.normal(size=(count, len(ahead))) @ root.T))
    return np.concatenate(drawn)


def _fit(cov: Floats, y: Floats, x: Floats, x_ahead: Floats) -> tuple[float, Floats, Floats, float]:
    """Return the restricted log-likelihood of a covariance, the mean ahead, the root of its spread, and the scale."""
    n = len(y)
    inverse = np.linalg.inv(cov[:n, :n])
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ y)
    error = y - x @ beta
    scale = max(float(error @ inverse @ error), 1e-12)
    weight = cov[n:, :n] @ inverse
    gap = x_ahead - weight @ x
    spread = cov[n:, n:] - weight @ cov[:n, n:] + gap @ np.linalg.solve(information, gap.T)
    root = np.asarray(np.linalg.cholesky(spread + 1e-10 * np.eye(len(spread))), dtype=np.float64)
    determinants = np.linalg.slogdet(cov[:n, :n])[1] + np.linalg.slogdet(information)[1]
    likelihood = -0.5 * float(determinants) - 0.5 * (n - x.shape[1]) * float(np.log(scale))
    return float(likelihood), x_ahead @ beta + weight @ error, root, scale
