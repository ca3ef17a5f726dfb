"""A stream of distinct questions before a semantic cache: what earlier ones are offered, and what that earns."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from models.exact import uppers

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Flags = NDArray[np.bool_]

CHUNK = 512


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Earlier questions offered to later ones, (m,) each, in the order of the stream, the nearest first."""

    asked: Integers
    stored: Integers
    cosine: Floats

    def __len__(self) -> int:
        return len(self.asked)


def candidates(vectors: NDArray[np.float32], order: Integers, most: int, floor: float) -> Candidates:
    """Return for each question at most `most` of those before it in `order`, of at least the cosine `floor`.

    `vectors` are of unit length, (n, width).
    """
    rows = np.ascontiguousarray(vectors[order])
    asked, stored, cosine = [], [], []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        near = part @ rows[: start + len(part)].T
        near[np.triu_indices(len(part), start, near.shape[1])] = -np.inf
        kept = min(most, near.shape[1])
        best = np.argpartition(-near, kept - 1, axis=1)[:, :kept]
        values = np.take_along_axis(near, best, axis=1)
        sorting = np.argsort(-values, axis=1, kind="stable")
        best, values = np.take_along_axis(best, sorting, axis=1), np.take_along_axis(values, sorting, axis=1)
        for i, (places, cosines) in enumerate(zip(best, values, strict=True)):
            found = int((cosines >= floor).sum())
            asked += [order[start + i]] * found
            stored += order[places[:found]].tolist()
            cosine += cosines[:found].tolist()
    return Candidates(np.array(asked, dtype=np.intp), np.array(stored, dtype=np.intp), np.array(cosine))


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What each request of a stream would be served, were the threshold low enough."""

    score: Floats
    """(requests,) Of the best candidate; -inf where there is none."""
    right: Flags
    """(requests,) Whether its answer is the right one."""
    possible: Flags
    """(requests,) Whether a right answer had been given before."""
    group: Integers | None = None
    """(requests,) Numbers of what belongs together: wrong answers of one group are no independent mistakes. Where it
    is None each request is its own."""

    def __len__(self) -> int:
        return len(self.score)

    @property
    def ceiling(self) -> float:
        """The share of requests whose answer had been given before."""
        return float(self.possible.mean())

    def at(self, threshold: float) -> dict[str, float]:
        """Return the shares of requests served, served right and served wrong, with the upper 95% bound of the last."""
        served = self.score >= threshold
        mistaken = served & ~self.right
        good, wrong, n = int((served & self.right).sum()), int(mistaken.sum()), len(self)
        return {
            "threshold": threshold,
            "hit": float(served.mean()),
            "good": good / n,
            "wrong": wrong / n,
            "wrong_upper": float(wrong_bounds(self, np.flatnonzero(mistaken), 0.05)[-1]),
            "wrong_of_hits": wrong / max(good + wrong, 1),
            "good_of_ceiling": good / max(int(self.possible.sum()), 1),
        }


def served(
    found: Candidates, score: Floats, classes: Integers, order: Integers, groups: Integers | None = None
) -> Served:
    """Return what the candidate of the highest score would give each request of the stream.

    `classes` and `groups` are of all questions, (n,).
    """
    place = np.empty(len(classes), dtype=np.intp)
    place[order] = np.arange(len(order))
    best, right = np.full(len(order), -np.inf), np.zeros(len(order), dtype=bool)
    rows = place[found.asked]
    # The highest score of a request last, so that it is the one that stays.
    rising = np.lexsort((-np.arange(len(score)), score))
    best[rows[rising]] = score[rising]
    right[rows[rising]] = (classes[found.asked] == classes[found.stored])[rising]
    first = np.unique(classes[order], return_index=True)[1]
    possible = np.ones(len(order), dtype=bool)
    possible[first] = False
    return Served(best, right, possible, None if groups is None else groups[order])


def joined(parts: list[Served]) -> Served:
    """Return several streams as one list of requests; either all of them know their groups, or none does."""
    names = [field.name for field in fields(Served) if getattr(parts[0], field.name) is not None]
    return Served(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def point_threshold(told: Served, budget: float) -> float:
    """Return the least threshold at which the wrong answers that were seen stay within the budget of requests."""
    return _lowest(told, int(budget * len(told) + 1e-9))


def bounded_threshold(told: Served, budget: float, delta: float = 0.05) -> float:
    """Return the least threshold at which the upper bound of wrong answers stays within the budget of requests.

    Thresholds are tried from the strictest on, and the first whose exact bound (Clopper and Pearson 1934) passes the
    budget ends it: a fixed sequence needs no correction for the many thresholds (Angelopoulos et al. 2021, Learn then
    Test), so that the risk at the chosen one exceeds the budget with probability `delta` at most, where the groups of
    requests come from the same stream independently. Infinite where not even the strictest passes.
    """
    wrong = np.flatnonzero(~told.right & np.isfinite(told.score))
    bounds = wrong_bounds(told, wrong[np.argsort(-told.score[wrong], kind="stable")], delta)
    passed = np.flatnonzero(bounds > budget)
    return _lowest(told, (int(passed[0]) if len(passed) else len(bounds)) - 1)


def wrong_bounds(told: Served, wrong: Integers, delta: float) -> Floats:
    """Return upper bounds of wrong answers per request when the first 0, 1, 2, ... of `wrong` are served, (wrong + 1,).

    The exact bound of Clopper and Pearson at the size that a sample of independent requests with the same variance
    would have: both counts are divided by the design effect of the groups (Korn and Graubard 1998), at least 1.
    """
    n, k = len(told), np.arange(len(wrong) + 1)
    group = np.arange(n) if told.group is None else np.unique(told.group, return_inverse=True)[1]
    size, mine = np.bincount(group), group[wrong]
    # Of the count c and the size s of each group, the sums of c * c and of c * s, after each wrong answer.
    own = np.concatenate([[0], np.cumsum(2 * _earlier(mine) + 1)])
    both = np.concatenate([[0], np.cumsum(size[mine])])
    p = k / n
    variance = (own - 2 * p * both + p**2 * (size**2).sum()) * len(size) / max(len(size) - 1, 1) / n**2
    alone = p * (1 - p) / max(n - 1, 1)
    effect = np.maximum(np.divide(variance, alone, out=np.ones(len(k)), where=alone > 0), 1.0)
    return np.where(k < n, uppers(k / effect, np.maximum(n, k + 1) / effect, delta), 1.0)


def _earlier(group: Integers) -> Integers:
    """Return for each place how many before it are of the same group."""
    order = np.argsort(group, kind="stable")
    first = np.r_[True, np.diff(group[order]) != 0] if len(group) else np.zeros(0, dtype=bool)
    place = np.arange(len(group))
    earlier = np.empty(len(group), dtype=np.intp)
    earlier[order] = place - np.maximum.accumulate(np.where(first, place, 0))
    return earlier


def _lowest(told: Served, allowed: int) -> float:
    """Return the least score that lets at most so many wrong answers through; infinite where none does."""
    wrong = np.sort(told.score[~told.right & np.isfinite(told.score)])[::-1]
    finite = np.sort(told.score[np.isfinite(told.score)])
    if allowed < 0 or not len(finite):
        return float("inf")
    if len(wrong) <= allowed:
        return float(finite[0])
    above = finite[finite > wrong[allowed]]
    return float(above[0]) if len(above) else float("inf")
