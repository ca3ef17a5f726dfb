"""Challenger less champion at every look, clustered by unit, with what was predicted taken out of the noise.

A metric is a ratio of sums over rows, so its error comes from the sums of each unit (the delta method: Deng, Knoblich
and Lu 2018, "Applying the Delta Method in Metric Analytics"). Rows weigh 1 / P(arm), which keeps a ramp from comparing
the quiet days of one arm with the busy days of the other. The covariate is CUPED's (Deng, Xu, Kohavi and Walker 2013)
with a prediction in it (CUPAC: Tang et al. 2020): theta is shared by both arms, and fitted on the half of the units
that it is not used on.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.experiments.rows import CHALLENGER, Rows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

FEWEST = 20
"""Units of a group under which theta is zero."""
FOLDS = 2


@dataclass(frozen=True, slots=True)
class Dealing:
    """Who was dealt where, and when it is looked at; arrays (n,) unless said otherwise."""

    group: Indices
    """Arm and half: 0 and 1 are the champion's halves, 2 and 3 the challenger's."""
    weight: Floats
    """1 / P(arm)"""
    order: Indices
    """Sorts rows by cluster, a unit in an arm, and keeps time within it."""
    start: Indices
    """Where the cluster of each sorted row begins."""
    new: Flags
    """Whether the unit is seen for the first time, in either arm."""
    looks: Indices
    """(looks,) Rows seen at each look."""

    @classmethod
    def of(cls, rows: Rows, every: int) -> Self:
        """Return the dealing with a look after every so many new units, and one at the last row."""
        if every < 1:
            raise ValueError(f"experiment: every = {every!r} units must be at least 1")
        names, first, unit = np.unique(rows.unit, return_index=True, return_inverse=True)
        challenger = rows.arm == CHALLENGER
        new = np.zeros(len(rows), dtype=bool)
        new[first] = True
        seen = np.cumsum(new)
        looks = np.searchsorted(seen, np.arange(every, len(names) + 1, every)) + 1
        if len(rows) and (not len(looks) or looks[-1] != len(rows)):
            looks = np.append(looks, len(rows))
        # Halves by when a unit came up, alternately, so that both grow alike.
        half = np.argsort(np.argsort(first))[unit] % FOLDS
        cluster = unit * 2 + challenger
        order = np.argsort(cluster, kind="stable")
        ranked = cluster[order]
        begins = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(rows) else np.zeros(0, int)
        start = np.repeat(begins, np.diff(np.append(begins, len(rows))))
        return cls(challenger * FOLDS + half, 1 / rows.arm_probability, order, start, new, looks)

    def before(self, columns: Floats) -> Floats:
        """Return the sums of columns (n, k) over the earlier rows of the same cluster."""
        ranked = columns[self.order]
        total = np.cumsum(ranked, axis=0) - ranked
        found = np.empty_like(columns)
        found[self.order] = total - total[self.start]
        return found


@dataclass(frozen=True, slots=True)
class Difference:
    """Challenger less champion at each look; all arrays (looks,)."""

    n: Floats
    """Units with a known outcome, of both arms."""
    least: Floats
    """Of the smaller arm."""
    value: Floats
    se: Floats
    """Infinite where an arm has fewer than two units."""
    cut: Floats
    """The share of the variance that the prediction took out."""
    champion: Floats
    """The champion's own mean."""


def difference(dealing: Dealing, outcome: Floats, expected: Floats | None = None) -> Difference:
    """Return the difference in the mean of `outcome` (n,) a row, NaN left out; `expected` (n,) is the covariate."""
    known = np.isfinite(outcome)
    centre = float(outcome[known].mean()) if known.any() else 0.0
    columns = np.stack([np.ones(len(outcome)), outcome - centre, np.zeros(len(outcome))], axis=1)
    if expected is not None and np.isfinite(expected).any():
        columns[:, 2] = np.nan_to_num(expected - np.nanmean(expected))
    columns = np.where(known[:, None], columns * dealing.weight[:, None], 0.0)
    before = dealing.before(columns)
    units, sums, squares = _at_looks(dealing, columns, before)

    raw, _ = _variance(units, sums, squares, np.zeros(units.shape))
    value_raw = _means(sums, np.zeros(units.shape))
    theta = _theta(units, sums, squares) if expected is not None else np.zeros(units.shape)
    variance, mean = _variance(units, sums, squares, theta)
    with np.errstate(invalid="ignore", divide="ignore"):
        cut = np.where(np.isfinite(raw) & (raw > 0), 1 - variance / raw, 0.0)
    arms = units.sum(axis=2)
    return Difference(
        n=arms.sum(axis=1), least=arms.min(axis=1), value=mean[:, 1] - mean[:, 0], se=np.sqrt(variance), cut=cut,
        champion=value_raw[:, 0] + centre,
    )  # fmt: skip


def _at_looks(dealing: Dealing, columns: Floats, before: Floats) -> tuple[Floats, Floats, Floats]:
    """Return units (looks, arms, halves), sums (.., k) and summed products of unit sums (.., k, k)."""
    k = columns.shape[1]
    shape = (len(dealing.looks), 2, FOLDS)
    units, sums, squares = np.zeros(shape), np.zeros((*shape, k)), np.zeros((*shape, k, k))
    # (A + a)(B + b) - AB: what a row adds to the product of its unit's sums.
    products = {
        (i, j): columns[:, i] * (columns[:, j] + before[:, j]) + before[:, i] * columns[:, j]
        for i in range(k) for j in range(i, k)
    }  # fmt: skip
    fresh = (columns[:, 0] > 0) & (before[:, 0] == 0)

    def grown(values: Floats, group: int) -> Floats:
        return np.asarray(np.cumsum(np.where(dealing.group == group, values, 0.0))[dealing.looks - 1])

    for group in range(2 * FOLDS):
        arm, half = divmod(group, FOLDS)
        units[:, arm, half] = grown(fresh.astype(np.float64), group)
        for i in range(k):
            sums[:, arm, half, i] = grown(columns[:, i], group)
        for (i, j), values in products.items():
            squares[:, arm, half, i, j] = squares[:, arm, half, j, i] = grown(values, group)
    return units, sums, squares


def _means(sums: Floats, theta: Floats) -> Floats:
    """Return each arm's adjusted mean, (looks, arms); NaN where nothing is known."""
    total = sums.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (total[..., 2].sum(axis=1) / total[..., 0].sum(axis=1))[:, None, None]
        taken = (theta * (sums[..., 2] - np.nan_to_num(middle) * sums[..., 0])).sum(axis=2)
        return np.asarray((total[..., 1] - taken) / total[..., 0])


def _theta(units: Floats, sums: Floats, squares: Floats) -> Floats:
    """Return each half's theta, (looks, arms, halves): of the other half, and the same in both arms."""
    other = slice(None, None, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.nan_to_num(sums / sums[..., :1])
        scale = np.nan_to_num(1 / sums[..., 0] ** 2, posinf=0.0)
    y = np.stack([-rate[..., 1], np.ones(units.shape), np.zeros(units.shape)], axis=-1)
    x = np.stack([-rate[..., 2], np.zeros(units.shape), np.ones(units.shape)], axis=-1)
    crossed = (np.einsum("lahi,lahij,lahj->lah", y, squares, x) * scale).sum(axis=1)
    own = (np.einsum("lahi,lahij,lahj->lah", x, squares, x) * scale).sum(axis=1)
    enough = (units >= FEWEST).all(axis=1) & (own > 1e-30)
    theta = np.where(enough, crossed / np.where(enough, own, 1.0), 0.0)[:, other]
    return np.broadcast_to(theta[:, None, :], units.shape)


def _variance(units: Floats, sums: Floats, squares: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """Return the variance of the difference, (looks,), and the adjusted means, (looks, arms)."""
    total = sums.sum(axis=2)
    mean = _means(sums, theta)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.nan_to_num(total[..., 2].sum(axis=1) / total[..., 0].sum(axis=1))[:, None, None]
        around = np.stack([theta * middle - mean[..., None], np.ones(units.shape), -theta], axis=-1)
        spread = np.einsum("lahi,lahij,lahj->la", np.nan_to_num(around), squares, np.nan_to_num(around))
        count = units.sum(axis=2)
        arms = np.where(count > 1, np.maximum(spread, 0.0) * count / (count - 1) / total[..., 0] ** 2, np.inf)
    return arms.sum(axis=1), mean
