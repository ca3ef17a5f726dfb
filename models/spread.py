"""What lies around a prediction: quantiles of what came true, a candidate's own or, where few are known, lent ones."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from beastmode.scoring import QUANTILES

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

MOST = 8
"""Groups of requests, by how long the answer is expected to be, that have quantiles of their own."""
ENOUGH = 50
"""Observations, of all candidates, that a group needs."""
LENT = 20.0
"""Observations that the other candidates' residuals count for in each group."""
HELD = 50.0
"""Observations that the typical spread counts for in a candidate's own."""
STEEP = 1.5
"""The most that the logarithm of a length is believed to rise with a request's place."""
POINTS = (np.arange(99) + 1) / 100
"""The levels by which a pool of residuals is remembered."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Requests in groups of equal number by a candidate's place, the smallest places first."""

    label: Labels
    """(n, m) The group of each request, which differs between candidates."""
    knots: Floats
    """(m, k) Mean places; a candidate of fewer groups repeats its last."""
    lead: Floats
    """(n, m) By how much a request's place is ahead of its group's knot."""

    @classmethod
    def of(cls, place: Floats, observed: int) -> Self:
        """Group the requests by places (n, m), in as many groups as the number of observed answers bears."""
        n, m = place.shape
        k = int(np.clip(observed // ENOUGH, 1, MOST))
        label, knots = np.zeros((n, m), dtype=np.intp), np.zeros((m, k))
        for column, values in enumerate(place.T):
            if np.ptp(values) > 1e-6:
                edges = np.quantile(values, np.arange(1, k) / k)
                # Where many places are equal, some group is empty: it is left out.
                _, label[:, column] = np.unique(np.searchsorted(edges, values, "right"), return_inverse=True)
            count = np.bincount(label[:, column])
            means = np.bincount(label[:, column], weights=values) / count
            knots[column] = means[np.minimum(np.arange(k), len(means) - 1)]
        return cls(label, knots, place - np.take_along_axis(knots.T, label, axis=0))

    def each(self, column: int) -> list[NDArray[np.bool_]]:
        """Return which requests are in each of a candidate's `k` groups."""
        last = self.label[:, column].max()
        return [self.label[:, column] == min(group, last) for group in range(self.knots.shape[1])]

    def rise(self, values: Floats) -> Floats:
        """Return by how much values at the knots, (m, k, columns), rise there with the place: from zero to `STEEP`."""
        found = np.zeros_like(values)
        for column, knots in enumerate(self.knots):
            own, first, repeated = np.unique(knots, return_index=True, return_inverse=True)
            if len(own) > 1:
                found[column] = np.gradient(values[column, first], own, axis=0)[repeated]
        return np.clip(found, 0.0, STEEP)

    def quantiles(self, residual: Floats, rise: Floats) -> Floats:
        """Return the quantiles at every knot of what lies around the places, (m, k, quantiles); NaN where unknown.

        `residual` (n, m) is NaN where it is unknown; `rise` (m, k, quantiles) is by how much what is looked for rises
        with the place, which carries every request of a group to its knot. A candidate's own residuals stand beside
        those that all candidates lend, in units of their spread. The i-th of n stands at the level i / (n + 1), where
        the next one falls below it (as in split conformal prediction: Lei et al. 2018).
        """
        m, k = self.knots.shape
        unit, count = _unit(residual)
        scaled = residual / unit
        pools = [_pool(scaled[self.label == group]) for group in range(k)]
        whole = _pool(scaled)
        found = np.full((m, k, len(QUANTILES)), np.nan)
        for column in np.flatnonzero(count).tolist():
            known = np.isfinite(residual[:, column])
            # What was fitted to few is itself in doubt: the next one lies farther off than these did.
            wide = unit[column] * np.sqrt(1 + 1 / count[column])
            for group, inside in enumerate(self.each(column)):
                own, lead = residual[inside & known, column], self.lead[inside & known, column]
                pool = wide * (pools[group] if len(pools[group]) else whole)
                weight = np.concatenate([np.ones(len(own)), np.full(len(pool), LENT / len(pool))])
                for at, level in enumerate(QUANTILES):
                    carried = own + (1 - rise[column, group, at]) * lead
                    found[column, group, at] = weighted_quantile(np.concatenate([carried, pool]), weight, level)
        return found


def weighted_quantile(values: Floats, weight: Floats, level: float) -> float:
    """Return a quantile of weighed values, between order statistics at the levels i / (n + 1) for equal weights."""
    order = np.argsort(values, kind="stable")
    until = np.cumsum(weight[order])
    levels = (until - weight[order] / 2 + 0.5) / (until[-1] + 1)
    return float(np.interp(level, levels, values[order]))


def _unit(residual: Floats) -> tuple[Floats, Floats]:
    """Return each candidate's mean absolute residual, held to that of all, and how many are known, both (m,)."""
    size = np.abs(residual)
    count = np.isfinite(size).sum(axis=0).astype(np.float64)
    total = np.nansum(size, axis=0)
    typical = total.sum() / max(count.sum(), 1.0)
    return np.maximum((total + HELD * typical) / (count + HELD), 1e-6), count


def _pool(residual: Floats) -> Floats:
    known = residual[np.isfinite(residual)]
    return np.quantile(known, POINTS, method="weibull") if len(known) else known
