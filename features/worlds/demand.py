"""A world of demand: jobs on the clock, popular keys, bursts, and a stock of keys that drifts."""

from dataclasses import dataclass

import numpy as np

from features.demand import Demand

_HOUR, _DAY = 3600.0, 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandSettings:
    """How much of each kind there is."""

    days: float = 14.0
    start: float = 1_767_571_200.0
    """Seconds since 1970 of the first moment; a Monday's midnight, 2026-01-05 UTC."""
    jobs: int = 60
    """Keys that are asked for once a day, each at an hour of its own."""
    popular: int = 200
    """Keys that are asked for at any time, by Zipf's law."""
    popular_per_day: float = 400.0
    bursts_per_day: float = 4.0
    """A key that nobody asked for before is asked for `burst` times within some three hours, and then no more."""
    burst: int = 15
    drift_days: float | None = 20.0
    """In so many days every popular key has been replaced by another; none ever is where it is None."""


def demand(settings: DemandSettings, seed: int) -> Demand:
    """Return the requests of such a world; keys are numbered in the order of their kinds, jobs first."""
    rng = np.random.default_rng(seed)
    key, at = [], []
    for day in range(int(settings.days)):
        jobs = np.arange(settings.jobs)
        key.append(jobs)
        at.append(day * _DAY + (jobs % 24 + rng.uniform(0, 0.5, len(jobs))) * _HOUR)
    n = int(rng.poisson(settings.popular_per_day * settings.days))
    when = np.sort(rng.uniform(0, settings.days, n))
    weight = 1 / np.arange(1, settings.popular + 1)
    rank = rng.choice(settings.popular, n, p=weight / weight.sum())
    # Each rank changes its key at moments of its own, so that the stock never changes as a whole.
    phase = rng.uniform(0, 1, settings.popular)[rank]
    generation = np.zeros(n) if settings.drift_days is None else np.floor(when / settings.drift_days + phase)
    key.append(settings.jobs + rank + settings.popular * generation.astype(np.int64))
    at.append(when * _DAY)
    first = settings.jobs + settings.popular * (int(generation.max(initial=0)) + 1)
    for number in range(int(rng.poisson(settings.bursts_per_day * settings.days))):
        begin = rng.uniform(0, settings.days - 0.25)
        key.append(np.full(settings.burst, first + number))
        at.append(begin * _DAY + rng.exponential(_HOUR, settings.burst))
    keys, moments = np.concatenate(key), settings.start + np.concatenate(at)
    order = np.argsort(moments, kind="stable")
    return Demand.of(keys[order].astype(np.int64), moments[order])


def evenly(keys: int, per_day: float, days: float, seed: int) -> Demand:
    """Return Poisson demand: `keys` keys of different popularity, each asked for at any time, whatever came before."""
    settings = DemandSettings(
        days=days, jobs=0, popular=keys, popular_per_day=per_day, bursts_per_day=0.0, drift_days=None
    )  # fmt: skip
    return demand(settings, seed)
