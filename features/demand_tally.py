"""A running tally of demand by key: recency, gaps, decayed counts, hours and weekdays, jobs, bursts, tenants."""

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand, Window

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HALF_LIVES = (1.0, 4.0, 12.0, 48.0, 168.0)
"""In windows: with windows of an hour, from an hour to a week."""
GAPS = 8
"""Gaps between visits that are remembered of each key."""
TENANT = 2
"""Place in HALF_LIVES of what a tenant's requests fade with."""
_TINY = 1e-4
_HOUR, _DAY = 3600.0, 86400.0

NAMES = (
    *(f"count_{h:g}" for h in HALF_LIVES), *(f"visits_{h:g}" for h in HALF_LIVES), "last_window", "total", "age",
    "life", "visits_share", *(f"gap_{i + 1}" for i in range(GAPS)), "gap_median", "gap_spread", "phase", "hour_share",
    "near_share", "weekday_share", "burst", "tenant", "traffic", "hour",
)  # fmt: skip
"""The columns of `Tally.features`. Counts, ages and gaps are logarithms, counts of a window, times in windows."""


class Tally:
    """What is known of each key at the end of the windows so far. A visit is a window with at least one request.

    Counts fade by half in each of HALF_LIVES and are divided by what a count of one a window would have become by
    now, so that they are rates also when the log is young. Without a `clock`, where time is a count of requests, the
    hours and weekdays are unknown.
    """

    def __init__(self, tenant: Ints, seconds: float, *, clock: bool = True) -> None:
        keys = len(tenant)
        self.seconds = seconds
        self._clock = clock
        self.now = np.nan
        self.windows = 0
        self.total = np.zeros(keys)
        self.last_window = np.zeros(keys)
        self._half = np.array(HALF_LIVES)[:, None]
        self._counts = np.zeros((len(HALF_LIVES), keys))
        self._visits = np.zeros((len(HALF_LIVES), keys))
        self._shown = np.zeros(keys)
        self._first = np.full(keys, np.nan)
        self._last = np.full(keys, np.nan)
        self._visit = np.full(keys, np.nan)
        self._gaps = np.full((GAPS, keys), np.nan, dtype=np.float32)
        self._hours = np.zeros((24, keys), dtype=np.float32)
        self._weekdays = np.zeros((7, keys), dtype=np.float32)
        self._tenant = tenant
        self._tenants = np.zeros(int(tenant.max()) + 1 if keys else 0)
        self._traffic = 0.0

    def add(self, demand: Demand, window: Window) -> None:
        """Count the requests of the next window."""
        rows = slice(window.begin, window.end)
        key, at = demand.key[rows], demand.at[rows]
        self.now = window.start + self.seconds
        self.windows += 1
        fade = 0.5 ** (1 / self._half)
        self._counts *= fade
        self._visits *= fade
        self._tenants *= float(fade[TENANT, 0])
        self._traffic = float(len(key))
        self.last_window[:] = 0
        if not len(key):
            return
        seen, first, count = np.unique(key, return_index=True, return_counts=True)
        left = (self.now - at) / self.seconds
        for i, half in enumerate(HALF_LIVES):
            self._counts[i] += np.bincount(key, 0.5 ** (left / half), len(self.total))
        self._visits[:, seen] += 1
        self.total[seen] += count
        self.last_window[seen] = count
        # Of equal indices numpy keeps the last, and requests are in time order.
        self._last[key] = at
        came = at[first]
        self._first[seen] = np.where(np.isnan(self._first[seen]), came, self._first[seen])
        self._gaps[1:, seen] = self._gaps[:-1, seen]
        self._gaps[0, seen] = (came - self._visit[seen]) / self.seconds
        self._visit[seen] = came
        self._shown[seen] += 1
        if self._clock:
            self._hours[int(window.start // _HOUR) % 24, seen] += 1
            self._weekdays[int(window.start // _DAY) % 7, seen] += 1
        self._tenants += np.bincount(self._tenant[key], minlength=len(self._tenants))

    @property
    def seen(self) -> Ints:
        """Keys that were asked for at least once."""
        return np.flatnonzero(self.total > 0)

    def latest(self, most: int, among: Ints | None = None) -> Ints:
        """Return at most so many keys, those that were asked for last, of all that were seen or those given."""
        seen = self.seen if among is None else among
        return seen if len(seen) <= most else seen[np.argpartition(-self._last[seen], most - 1)[:most]]

    def count(self, half_life: int, keys: Ints) -> Floats:
        """Return requests a window, faded by `HALF_LIVES[half_life]`, (keys,)."""
        return np.asarray(self._counts[half_life, keys] / self._weight()[half_life])

    def visits(self, half_life: int, keys: Ints) -> Floats:
        """Return visits a window, faded by `HALF_LIVES[half_life]`, (keys,)."""
        return np.asarray(self._visits[half_life, keys] / self._weight()[half_life])

    def features(self, keys: Ints) -> NDArray[np.float32]:
        """Return what a learner sees of some keys that were asked for, (keys, len(NAMES)), NaN where unknown."""
        weight = self._weight()[:, None]
        age = (self.now - self._last[keys]) / self.seconds
        life = np.maximum((self.now - self._first[keys]) / self.seconds, 1.0)
        gaps = self._gaps[:, keys]
        filled = np.sort(gaps, axis=0)
        known = (~np.isnan(gaps)).sum(axis=0)
        middle = np.take_along_axis(filled, np.maximum(known - 1, 0)[None] // 2, axis=0)[0]
        mean = np.nansum(gaps, axis=0) / np.maximum(known, 1)
        spread = np.sqrt(np.nansum((gaps - mean) ** 2, axis=0) / np.maximum(known, 1)) / np.maximum(mean, _TINY)
        since = (self.now - self._visit[keys]) / self.seconds
        unknown = 0.0 if self._clock else np.nan
        hour, day = int(self.now // _HOUR) % 24, int(self.now // _DAY) % 7
        own = np.maximum(self._shown[keys], 1.0)
        near = self._hours[[(hour - 1) % 24, hour, (hour + 1) % 24]][:, keys].sum(axis=0)
        counts, visits = self._counts[:, keys] / weight, self._visits[:, keys] / weight
        columns = [
            *np.log(counts + _TINY), *np.log(visits + _TINY), np.log1p(self.last_window[keys]),
            np.log(self.total[keys]), np.log(age + 0.01), np.log(life), self._shown[keys] / life,
            *np.log(gaps + 0.01), np.log(middle + 0.01), np.where(known > 1, spread, np.nan),
            since / np.maximum(middle, _TINY), self._hours[hour, keys] / own + unknown, near / own + unknown,
            self._weekdays[day, keys] / own + unknown,
            np.log((counts[0] + _TINY) / (counts[3] + _TINY)), np.log1p(self._tenants[self._tenant[keys]]),
            np.full(len(keys), np.log1p(self._traffic)), np.full(len(keys), float(hour) + unknown),
        ]  # fmt: skip
        return np.stack(columns, axis=1).astype(np.float32)

    def _weight(self) -> Floats:
        fade = 0.5 ** (1 / self._half[:, 0])
        return np.asarray((1 - fade ** max(self.windows, 1)) / (1 - fade))
