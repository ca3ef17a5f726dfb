"""Requests condensed to prototypes: groups large enough that none of them gives a single request away."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.neighbours import Kernel, Prototypes
from models.examples import Examples

Matrix = NDArray[np.float32]
Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

MEMBERS = 5
"""The fewest requests that a prototype may stand for."""
SESSIONS = 2
"""The fewest sessions that they come from."""
TYPICAL = 6
"""Requests to a prototype that condensing aims at."""
IDS = 3
"""The most request ids that a prototype keeps."""
IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/+=-]{1,64}")
"""What may be kept as one: a log whose ids are prose would have its prose in the bundle."""
PASSES = 6
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Condensed:
    """Prototypes, and who is in them."""

    prototypes: Prototypes
    label: Labels
    """(n,) The prototype of each request; -1 where in none."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Prototypes of all taught requests, and for each fold those of the other folds."""

    known: Examples
    every: Condensed
    others: tuple[Condensed, ...]

    @property
    def whole(self) -> Prototypes:
        """The prototypes of all taught requests."""
        return self.every.prototypes

    @classmethod
    def of(cls, known: Examples, most: int, seed: int) -> "Memory | None":
        """Condense the examples to at most `most` prototypes; None where too few stand outside some fold."""
        groups = min(most, max(1, int(known.taught.sum()) // TYPICAL))
        whole = condense(known, known.taught, groups, seed)
        without = []
        for fold in range(known.folds):
            others = condense(known, known.taught & (known.fold != fold), groups, seed)
            if others is None:
                return None
            without.append(others)
        if whole is None or not without:
            return None
        return cls(known, replace(whole, prototypes=_with_ids(known, whole)), tuple(without))

    def smooth(self, kernel: Kernel, rows: Labels) -> Floats:
        """Return what neighbours outside each row's own fold say of it, (rows, m)."""
        found = np.empty((len(rows), len(self.known.mean)))
        for prototypes, block in self.blocks(rows):
            similarity = prototypes.similarity(self.known.encoding[rows[block]])
            found[block] = kernel.smooth(prototypes, similarity)
        return found

    def blocks(self, rows: Labels) -> list[tuple[Prototypes, Labels]]:
        """Return positions in `rows`, a bounded number at a time, with the prototypes of the other folds."""
        found = []
        for fold, others in enumerate(self.others):
            inside = np.flatnonzero(self.known.fold[rows] == fold)
            found += [(others.prototypes, inside[i : i + BLOCK]) for i in range(0, len(inside), BLOCK)]
        return found

    def kernel(self, temperature: float, share: float) -> Kernel:
        """Return the kernel that looks at a share of the prototypes."""
        return Kernel(temperature, max(1, round(share * len(self.whole.centre))))


def cluster(unit: Matrix, groups: int, seed: int) -> Labels:
    """Return the group of each row of unit vectors (n, d): k-means by similarity (Lloyd 1982), a few passes."""
    groups = max(1, min(groups, len(unit)))
    centre = unit[np.random.default_rng(seed).choice(len(unit), groups, replace=False)]
    for _ in range(PASSES):
        label = _nearest(unit, centre)
        total, count = _totals(unit, label, len(centre))
        centre = _normalised(total[count > 0])
    return _nearest(unit, centre)


def merge_small(unit: Matrix, label: Labels, sessions: NDArray[np.str_]) -> Labels | None:
    """Dissolve groups of too few requests or sessions into their nearest neighbours; None where none can stand."""
    _, person = np.unique(sessions, return_inverse=True)
    if len(unit) < MEMBERS or person.max(initial=-1) + 1 < SESSIONS:
        return None
    while True:
        _, label = np.unique(label, return_inverse=True)
        total, count = _totals(unit, label, int(label.max()) + 1)
        pairs = np.unique(np.stack([label, person], axis=1), axis=0)
        people = np.bincount(pairs[:, 0], minlength=len(count))
        fit = (count >= MEMBERS) & (people >= SESSIONS)
        if fit.all():
            return np.asarray(label)
        if not fit.any():
            return np.zeros(len(unit), dtype=np.intp)
        lost = ~fit[label]
        label = label.copy()
        label[lost] = np.flatnonzero(fit)[_nearest(unit[lost], _normalised(total[fit]))]


def condense(known: Examples, rows: NDArray[np.bool_], groups: int, seed: int) -> Condensed | None:
    """Return prototypes of some rows (a mask), or None where there are too few to hide one another."""
    unit = known.unit[rows]
    if len(unit) < MEMBERS:
        return None
    label = merge_small(unit, cluster(unit, groups, seed), known.table.sessions[rows])
    if label is None:
        return None
    total, count = _totals(unit, label, int(label.max()) + 1)
    excess, _ = _totals(known.excess[rows], label, len(count))
    span = known.embedding
    centre = as_stored(total / count[:, None])
    made = Prototypes(centre, count.astype(np.float64), as_stored(excess), span.start, span.stop)
    place = np.full(len(known), -1, dtype=np.intp)
    place[rows] = label
    return Condensed(made, place)


def _with_ids(known: Examples, condensed: Condensed) -> Prototypes:
    """Return the prototypes with the ids of the members nearest to each centre, no two of one session."""
    made, table = condensed.prototypes, known.table
    rows = np.flatnonzero(condensed.label >= 0)
    label = condensed.label[rows]
    near = np.einsum("ij,ij->i", known.unit[rows].astype(np.float64), made.centre[label])
    ids: list[list[str]] = [[] for _ in made.centre]
    seen: set[tuple[int, str]] = set()
    for place in np.lexsort((-near, label)).tolist():
        group, session = int(label[place]), str(table.sessions[rows[place]])
        name = str(table.request_ids[rows[place]])
        if len(ids[group]) < IDS and (group, session) not in seen and IDENTIFIER.fullmatch(name):
            ids[group].append(name)
            seen.add((group, session))
    return replace(made, ids=tuple(map(tuple, ids)))


def as_stored(values: Floats) -> Floats:
    """Return the values as a bundle's float32 tables give them back: what is trained on is what is served."""
    return values.astype(np.float32).astype(np.float64)


def _nearest(unit: Matrix, centre: Matrix) -> Labels:
    blocks = [np.argmax(unit[i : i + BLOCK] @ centre.T, axis=1) for i in range(0, len(unit), BLOCK)]
    return np.concatenate(blocks)


def _totals(values: NDArray[Any], label: Labels, groups: int) -> tuple[Floats, Labels]:
    columns = [np.bincount(label, weights=column, minlength=groups) for column in values.T]
    return np.stack(columns, axis=1), np.bincount(label, minlength=groups)


def _normalised(total: Floats) -> Matrix:
    length = np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
    return np.asarray(total / length, dtype=np.float32)
