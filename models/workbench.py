"""The parts of a blend, fitted, and the weights by which least squares joins their out-of-fold words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from beastmode.blend import PARTS, Blend, combine
from beastmode.neighbours import Kernel
from beastmode.scoring import Usage
from models.examples import Examples
from models.fitted import Learning
from models.forests import ForestFit, fit_forests
from models.prototypes import Memory
from models.ridge import PENALTIES, RidgeFit, fit_ridges

Floats = NDArray[np.float64]

REACH = 0.08
"""The gap in mean quality at which a rival of the incumbent counts for 1 / e in weighing differences."""
HELD = 0.1
"""How firmly a candidate's slope is held to one, as a share of the evidence of all rows."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part's word counts: on the request's difficulty (`level`), and on who is better (`difference`)."""

    level_near: float
    difference_near: float
    level_ridge: Floats
    """(penalties,)"""
    difference_ridge: Floats
    factors: Floats
    """(directions,): the first is the level, the others are differences."""

    def told_apart(self, neighbours: float, ridge: float, factors: float) -> "Weights":
        """Return the weights with each part's word on differences multiplied; that on difficulty stays."""
        stretch = np.concatenate([[1.0], np.full(len(self.factors) - 1, factors)])
        return replace(
            self,
            difference_near=neighbours * self.difference_near,
            difference_ridge=ridge * self.difference_ridge,
            factors=stretch * self.factors,
        )

    def report(self) -> dict[str, Any]:
        """Return the weights as plain data."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Workbench:
    """All parts, fitted, with their out-of-fold words."""

    known: Examples
    memory: Memory
    kernel: Kernel
    near: Floats
    """(n, m)"""
    ridges: RidgeFit
    forests: ForestFit

    @classmethod
    def of(cls, known: Examples, memory: Memory, kernel: Kernel, settings: Learning, seed: int) -> "Workbench":
        """Fit every part."""
        near = memory.smooth(kernel, np.arange(len(known)))
        ridges = fit_ridges(known, memory.whole)
        return cls(known, memory, kernel, near, ridges, fit_forests(known, near, settings, seed))

    def committee(self, only: str | None = None) -> Weights:
        """Return the mean of the least-squares weights over every penalty and every rank.

        No member is picked: choosing among them by what they earn out of fold was no better than chance would have
        it, and their mean was better than most of them. `only` silences every part but one of `PARTS`.
        """
        heard = [only in (None, name) for name in PARTS]
        directions = self.forests.loadings.shape[1]
        members = []
        for penalty, rank in product(range(len(PENALTIES)), range(1, max(directions, 2))):
            level, difference = self._least_squares(penalty, rank, heard)
            there = np.eye(len(PENALTIES))[penalty]
            reached = (np.arange(directions) <= rank) * difference[2]
            reached[0] = level[2]
            members.append((level[0], difference[0], level[1] * there, difference[1] * there, reached))
        means = [np.mean(values, axis=0) for values in zip(*members, strict=True)]
        return Weights(float(means[0]), float(means[1]), *means[2:])

    def _least_squares(self, penalty: int, rank: int, heard: list[bool]) -> tuple[Floats, Floats]:
        """Return non-negative weights (parts,) of the words on difficulty, and of those on differences."""
        known, rows = self.known, self.known.judged
        forests = self.forests.out_of_fold[:, : rank + 1] @ self.forests.loadings[:, : rank + 1].T
        parts = [self.near[rows], self.ridges.out_of_fold[penalty][rows], forests[rows]]
        parts = [part * loud for part, loud in zip(parts, heard, strict=True)]
        excess = known.excess[rows]
        level = _least_squares([part.mean(axis=1) for part in parts], excess.mean(axis=1))
        return level, _least_squares([rivalry(known, part) for part in parts], rivalry(known, excess))

    def excesses(self, weights: Weights) -> list[Floats]:
        """Return the weighed out-of-fold excesses of the parts, each (n, m)."""
        ridge = _folded(self.ridges.out_of_fold, weights)
        forests = self.forests.out_of_fold @ (self.forests.loadings * weights.factors).T
        return [self.near, ridge, forests]

    def slope(self, weights: Weights) -> Floats:
        """Return how much each candidate's quality moves with the difficulty, (m,)."""
        rows, none = self.known.judged, np.zeros_like(self.known.mean)
        parts = [part[rows] for part in self.excesses(weights)]
        level, difference = _heard(weights)
        hard = combine(parts, level, 0 * difference, none + 1.0, none)
        better = combine(parts, 0 * level, difference, none, none)
        return np.where(self.known.active, _slopes(hard, self.known.excess[rows] - better), 1.0)

    def quality(self, weights: Weights) -> Floats:
        """Return the qualities promised out of fold, (n, m)."""
        level, difference = _heard(weights)
        said = combine(self.excesses(weights), level, difference, self.slope(weights), self.known.mean)
        return np.clip(said, 0.0, 1.0)

    def scorer(self, weights: Weights, usage: Usage) -> Blend:
        """Return the blend to serve: the ridges folded into one, the weights of factors into their loadings."""
        folded = _folded([ridge.weight for ridge in self.ridges.ridges], weights)
        speaks = self.forests.speaks or bool(weights.factors.any())
        blend = Blend(
            self.memory.whole,
            self.kernel,
            replace(self.ridges.ridges[0], weight=folded) if folded.any() else None,
            self.forests.factors(weights.factors) if speaks else None,
            *_heard(weights),
            self.slope(weights),
            self.known.mean,
            usage,
        )
        # As it comes back from a bundle, so that what is reported is what is served.
        return Blend.from_parts(blend.parts())


def _heard(weights: Weights) -> tuple[Floats, Floats]:
    """Return the weights (parts,) of parts whose own weights are folded into them already, but the neighbours'."""
    return np.array([weights.level_near, 1.0, 1.0]), np.array([weights.difference_near, 1.0, 1.0])


def _folded(words: Sequence[Floats], weights: Weights) -> Floats:
    """Return one matrix (rows, m) of several: its mean over candidates by the level's weights, the rest by the others'.

    The words may be predictions or the linear weights that make them.
    """
    level = np.tensordot(weights.level_ridge, np.stack(words), axes=1)
    apart = np.tensordot(weights.difference_ridge, np.stack(words), axes=1)
    return np.asarray(level.mean(axis=1, keepdims=True) + apart - apart.mean(axis=1, keepdims=True))


def _least_squares(words: list[Floats], truth: Floats) -> Floats:
    """Return non-negative weights (parts,) of words, each of the shape of the truth."""
    matrix = np.stack([word.ravel() for word in words], axis=1)
    gram = matrix.T @ matrix
    held = gram + 1e-6 * max(float(np.trace(gram)), 1e-12) * np.eye(len(gram))
    return np.asarray(nnls(held, matrix.T @ truth.ravel())[0])


def rivalry(known: Examples, excess: Floats) -> Floats:
    """Return differences from the incumbent, (n, m), weighed by how near a rival comes to it in the mean."""
    gap = np.maximum(known.mean[known.incumbent] - known.mean, 0.0)
    weight = np.where(known.active, np.exp(-gap / REACH), 0.0)
    return np.asarray((excess - excess[:, [known.incumbent]]) * np.sqrt(weight))


def _slopes(hard: Floats, excess: Floats) -> Floats:
    """Return how much each candidate's excess (n, m) moves with the difficulty (n, m), held to one."""
    power = (hard**2).sum(axis=0)
    held = HELD * power + 1e-9
    return np.asarray(((hard * excess).sum(axis=0) + held) / (power + held))
