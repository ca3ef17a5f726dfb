"""Has what a router meets changed since it was promoted? Levels and shapes then and now, and an alarm with a budget."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, fisher_exact, t

from models.intervals import mean

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]

DIRECTIONS, BINS = 6, 8
"""In how many directions of the encoding the prompts are looked at, and in how many bins each."""


@dataclass(frozen=True, slots=True)
class Level:
    """The mean of something over requests, with its standard error clustered by session."""

    value: float
    se: float
    n: int

    @classmethod
    def of(cls, values: Floats, sessions: Labels) -> Self | None:
        """Return the level of values (n,), NaN left out; None of fewer than two."""
        known = np.isfinite(values)
        if known.sum() < 2:
            return None
        found = mean(values[known], sessions[known])
        return cls(found.value, found.se, found.n)

    def p(self, now: "Level") -> float:
        """Return how surprising `now` would be if nothing had changed: Welch's t test (1947), two-sided."""
        variance = self.se**2 + now.se**2
        if variance == 0:
            return 1.0 if self.value == now.value else 0.0
        freedom = variance**2 / (self.se**4 / max(self.n - 1, 1) + now.se**4 / max(now.n - 1, 1))
        return float(2 * t.sf(abs(now.value - self.value) / np.sqrt(variance), freedom))


def more_often(before: tuple[int, int], now: tuple[int, int]) -> float:
    """Return how surprising it would be that something rare, (hits, n), became no more frequent (Fisher, exact).

    >>> round(more_often((1, 100), (9, 100)), 4)
    0.0092
    """
    table = [[now[0], now[1] - now[0]], [before[0], before[1] - before[0]]]
    return float(fisher_exact(table, alternative="greater")[1])


def calibration_error(expected: Floats, observed: Floats, bins: int = 10) -> float:
    """Return the mean distance of expected and observed quality over bins of equally many outcomes (ECE).

    It is above zero for a calibrated router too, by noise, so it is shown and `Level` of the residuals is tested.
    """
    known = np.isfinite(expected) & np.isfinite(observed)
    if not known.any():
        return float("nan")
    order = np.argsort(expected[known], kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
    off = [abs(float((observed[known] - expected[known])[part].sum())) for part in parts]
    return sum(off) / int(known.sum())


@dataclass(frozen=True, slots=True)
class Shape:
    """How encoded requests are spread along their main directions; no text and no request in it."""

    centre: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    """(k, columns) Principal directions."""
    edges: tuple[tuple[float, ...], ...]
    """By direction, the inner edges of its bins."""
    shares: tuple[tuple[float, ...], ...]
    """By direction, the share of the requests in each bin."""
    n: int

    @classmethod
    def of(cls, encoded: NDArray[np.floating]) -> Self:
        """Return the shape of encoded requests (n, columns)."""
        values = np.asarray(encoded, dtype=np.float64)
        centre = values.mean(axis=0)
        _, _, axes = np.linalg.svd(values - centre, full_matrices=False)
        axes = axes[:DIRECTIONS]
        along = (values - centre) @ axes.T
        edges, shares = [], []
        for column in along.T:
            inner = np.unique(np.quantile(column, np.arange(1, BINS) / BINS))
            counts = np.bincount(np.searchsorted(inner, column), minlength=len(inner) + 1)
            edges.append(tuple(inner.tolist()))
            shares.append(tuple((counts / len(column)).tolist()))
        told = tuple(tuple(axis.tolist()) for axis in axes)
        return cls(tuple(centre.tolist()), told, tuple(edges), tuple(shares), len(values))

    def drift(self, encoded: NDArray[np.floating]) -> tuple[float, float]:
        """Return the largest population stability index over the directions, and its p-value.

        The counts of n requests in bins made of N others have 1 + n / N times the covariance of a multinomial's, so
        that X^2 / (1 + n / N) is compared with chi-square; directions share the error (Bonferroni).
        """
        along = (np.asarray(encoded, dtype=np.float64) - np.array(self.centre)) @ np.array(self.axes).T
        n, worst, least = len(along), 0.0, 1.0
        for column, edges, shares in zip(along.T, self.edges, self.shares, strict=True):
            share = np.maximum(np.array(shares), 0.5 / self.n)
            seen = np.bincount(np.searchsorted(np.array(edges), column), minlength=len(share))
            now = np.maximum(seen / n, 0.5 / n)
            worst = max(worst, float(((now - share) * np.log(now / share)).sum()))
            square = float(((seen - n * share) ** 2 / (n * share)).sum()) / (1 + n / self.n)
            least = min(least, float(chi2.sf(square, max(len(share) - 1, 1))))
        return worst, min(1.0, least * len(self.edges))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, known: dict[str, Any]) -> Self:
        """Return the shape that `to_json` gave."""
        nested = {name: tuple(tuple(row) for row in known[name]) for name in ("axes", "edges", "shares")}
        return cls(tuple(known["centre"]), n=int(known["n"]), **nested)


def limit(false_alarms: float, looks: float, checks: int) -> float:
    """Return the p-value under which a check is an alarm, so that a quiet month brings `false_alarms` on average.

    The expected number of false alarms of `looks` looks with `checks` checks each is at most the sum of their chances,
    however they depend on each other.

    >>> round(limit(0.1, 30, 5), 6)
    0.000667
    """
    return min(false_alarms / (looks * max(checks, 1)), 1.0)


def firsts(labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the rows at which each label is seen first: one request of each session, since a session's are alike."""
    return np.sort(np.unique(np.array(labels, dtype=str), return_index=True)[1])
