"""A stream of distinct questions before a semantic cache: what earlier ones are offered, and what that earns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.exact import upper

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

    def __len__(self) -> int:
        return len(self.score)

    @property
    def ceiling(self) -> float:
        """The share of requests whose answer had been given before."""
        return float(self.possible.mean())

    def at(self, threshold: float) -> dict[str, float]:
        """Return the shares of requests served, served right and served wrong, with the upper 95% bound of the last."""
        served = self.score >= threshold
        good, wrong, n = int((served & self.right).sum()), int((served & ~self.right).sum()), len(self)
        return {
            "threshold": threshold,
            "hit": float(served.mean()),
            "good": good / n,
            "wrong": wrong / n,
            "wrong_upper": upper(wrong, n, 0.05),
            "wrong_of_hits": wrong / max(good + wrong, 1),
            "good_of_ceiling": good / max(int(self.possible.sum()), 1),
        }


def served(found: Candidates, score: Floats, classes: Integers, order: Integers) -> Served:
    """Return what the candidate of the highest score would give each request of the stream."""
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
    return Served(best, right, possible)


def joined(parts: list[Served]) -> Served:
    """Return several streams as one list of requests."""
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("score", "right", "possible"))
    return Served(*columns)


def point_threshold(told: Served, budget: float) -> float:
    """Return the least threshold at which the wrong answers that were seen stay within the budget of requests."""
    return _lowest(told, int(budget * len(told) + 1e-9))


def bounded_threshold(told: Served, budget: float, delta: float = 0.05) -> float:
    """Return the least threshold at which the upper bound of wrong answers stays within the budget of requests.

    Thresholds are tried from the strictest on, and the first whose exact bound (Clopper and Pearson 1934) passes the
    budget ends it: a fixed sequence needs no correction for the many thresholds (Angelopoulos et al. 2021, Learn then
    Test), so that the risk at the chosen one exceeds the budget with probability `delta` at most, where requests come
    from the same stream independently. Infinite where not even the strictest passes.
    """
    allowed = -1
    while upper(allowed + 1, len(told), delta) <= budget:
        allowed += 1
    return _lowest(told, allowed)


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
