"""Tuned nearest neighbours over the raw training requests: the baseline at its strongest, which no bundle may hold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.examples import Examples
from models.values import Gain, best

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]

TEMPERATURES = (1.0, 2.0, 5.0, 10.0, 20.0)
NEAREST = (30, 60, 100, 200, 300, 500, 800)
TRUSTS = (0.4, 0.7, 1.0)
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class PlainNeighbours:
    """The k nearest requests, weighed by exp(temperature * cosine)."""

    unit: Matrix
    """(rows, d)"""
    excess: Floats
    """(rows, m)"""
    mean: Floats
    nearest: int
    temperature: float
    trust: float

    def quality(self, unit: Matrix) -> Floats:
        """Return predicted qualities, (n, m), of requests with unit vectors (n, d)."""
        blocks = [
            _smooth(unit[i : i + BLOCK] @ self.unit.T, self.excess, self.nearest, self.temperature)
            for i in range(0, len(unit), BLOCK)
        ]
        return self.mean + self.trust * np.concatenate(blocks)


def tune(known: Examples) -> PlainNeighbours:
    """Return the neighbours whose k, temperature and trust have the highest cross-validated quality.

    Everything is judged on the training folds alone, and by the mean, as the literature tunes it: no margin and no
    caution stand between the neighbours' word and the choice.
    """
    rows = np.flatnonzero(known.judged)
    unit, fold = known.unit[rows], known.fold[rows]
    quality, excess = known.table.quality[rows], known.excess[rows]
    smallest = len(rows) - int(np.bincount(fold).max())
    counts = sorted({min(count, smallest) for count in NEAREST})
    said = {(t, k): np.empty_like(excess) for t in TEMPERATURES for k in counts}
    for f in np.unique(fold):
        others = fold != f
        for block in np.array_split(np.flatnonzero(~others), max(1, int((~others).sum()) // BLOCK)):
            similarity = unit[block] @ unit[others].T
            for (temperature, count), found in said.items():
                found[block] = _smooth(similarity, excess[others], count, temperature)
    reached, chosen = -np.inf, (1.0, counts[-1], 1.0)
    held = quality[:, known.incumbent]
    for (temperature, count), found in said.items():
        for trust in TRUSTS:
            choice = best(np.where(known.active, known.mean + trust * found, np.nan))
            gain = Gain.of(quality[np.arange(len(choice)), choice] - held).mean
            if gain > reached:
                reached, chosen = gain, (temperature, count, trust)
    temperature, count, trust = chosen
    return PlainNeighbours(unit, excess, known.mean, count, temperature, trust)


def _smooth(similarity: Matrix, excess: Floats, nearest: int, temperature: float) -> Floats:
    """Return the weighted mean excess of the nearest rows, (n, m), for similarities (n, rows)."""
    weight = np.exp(np.float32(temperature) * (similarity - similarity.max(axis=1, keepdims=True)))
    if nearest < similarity.shape[1]:
        cut = similarity.shape[1] - nearest
        last = np.partition(similarity, cut, axis=1)[:, cut, None]
        weight = np.where(similarity >= last, weight, np.float32(0))
    return np.asarray((weight @ excess.astype(np.float32)) / weight.sum(axis=1, keepdims=True), dtype=np.float64)
