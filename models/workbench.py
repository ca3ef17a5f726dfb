"""The parts of a blend, fitted, and the weights by which least squares joins their out-of-fold words."""

from dataclasses import dataclass, replace
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
from models.nearness import NearFit, fit_nearness
from models.prototypes import Memory
from models.ridge import RidgeFit, fit_ridge
from models.rivalry import apart, directions, rivalry

Floats = NDArray[np.float64]

SPREAD = 0.1
"""How far weights on differences are expected to lie from equal ones, and a direction's from the overall ones."""
FREE = 1.0
"""How far weights on the difficulty are: it is easily learned, and probabilities are honest by it."""
HELD = 0.1
"""How firmly a candidate's slope is held to one, as a share of the evidence of all rows."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part's word counts: on the request's difficulty (`level`), and on who is better, by direction."""

    level: Floats
    """(parts,)"""
    directions: Floats
    """(m, d) Of unit length, at right angles to each other and to the level."""
    difference: Floats
    """(parts, d)"""

    def told_apart(self, neighbours: float, ridge: float, factors: float) -> "Weights":
        """Return the weights with each part's word on differences multiplied; that on difficulty stays."""
        return replace(self, difference=self.difference * np.array([[neighbours], [ridge], [factors]]))

    def report(self) -> dict[str, Any]:
        """Return the weights as plain data."""
        return {name: getattr(self, name).tolist() for name in ("level", "difference")}


@dataclass(frozen=True, slots=True)
class Workbench:
    """All parts, fitted, with their out-of-fold words."""

    known: Examples
    near: NearFit
    ridge: RidgeFit
    forests: ForestFit

    @classmethod
    def of(cls, known: Examples, memory: Memory, kernel: Kernel, settings: Learning, seed: int) -> "Workbench":
        """Fit every part; each hears the ones before it."""
        ridge = fit_ridge(known, memory.whole)
        near = fit_nearness(memory, kernel, ridge.out_of_fold, seed)
        return cls(known, near, ridge, fit_forests(known, near.out_of_fold, ridge.out_of_fold, settings, seed))

    @property
    def words(self) -> list[Floats]:
        """What each of `PARTS` says out of fold: the excess of quality, (n, m)."""
        return [self.near.out_of_fold, self.ridge.out_of_fold, self.forests.out_of_fold @ self.forests.loadings.T]

    def weigh(self, only: str | None = None) -> Weights:
        """Return non-negative least-squares weights, those of each direction held to those of all directions.

        `only` silences every part but one of `PARTS`.
        """
        known, rows = self.known, self.known.judged
        heard = np.array([float(only in (None, name)) for name in PARTS])
        equal, words, truth = heard / heard.sum(), self.words, known.excess[rows]
        words = [word[rows] * loud for word, loud in zip(words, heard, strict=True)]
        level = _least_squares([word @ self._mean for word in words], truth @ self._mean, equal, FREE)
        overall = _least_squares([rivalry(known, word) for word in words], rivalry(known, truth), equal)
        along = directions(known, self.near.out_of_fold[rows])
        split = [apart(known, word) @ along for word in words]
        true = apart(known, truth) @ along
        each = [_least_squares([w[:, d] for w in split], true[:, d], overall) for d in range(along.shape[1])]
        return Weights(level, along, np.array(each).reshape(-1, len(PARTS)).T)

    @property
    def _mean(self) -> Floats:
        """What averages over the active candidates, (m,)."""
        return self.known.active / max(int(self.known.active.sum()), 1)

    def mix(self, weights: Weights) -> Floats:
        """Return what each part's excess adds to each candidate's quality, (parts, m, m)."""
        better = np.array([(weights.directions * along) @ weights.directions.T for along in weights.difference])
        words = [word[self.known.judged] for word in self.words]
        hard = sum(level * (word @ self._mean) for level, word in zip(weights.level, words, strict=True))
        rest = self.known.excess[self.known.judged] - combine(words, better, np.zeros_like(self._mean))
        slope = np.where(self.known.active, _slopes(np.asarray(hard), rest), 1.0)
        return np.asarray(weights.level[:, None, None] * np.outer(self._mean, slope) + better)

    def quality(self, mix: Floats) -> Floats:
        """Return the qualities promised out of fold, (n, m)."""
        return np.clip(combine(self.words, mix, self.known.mean), 0.0, 1.0)

    def scorer(self, mix: Floats, mean: Floats, usage: Usage) -> Blend:
        """Return the blend to serve; `mean` (m,) is what the mix adds to."""
        near, factors = self.near, self.forests.factors()
        blend = Blend(
            near.prototypes, near.kernel, near.taste, self.ridge.ridge, factors, mix, mean, usage
        )  # fmt: skip
        # As it comes back from a bundle, so that what is reported is what is served.
        return Blend.from_parts(blend.parts())


def _least_squares(words: list[Floats], truth: Floats, prior: Floats, spread: float = SPREAD) -> Floats:
    """Return non-negative weights (parts,) of words, each of the shape of the truth, held to a prior as noise bids.

    They are the most likely ones where the truth is the weighed words and noise of its own size, and weights lie
    around the prior with the deviation `spread`.
    """
    matrix = np.stack([word.ravel() for word in words], axis=1)
    held = float((truth**2).mean()) / spread**2 + 1e-9
    # The normal equations, solved in the root of their matrix: non-negative least squares proper.
    root = np.linalg.cholesky(matrix.T @ matrix + held * np.eye(len(words))).T
    return np.asarray(nnls(root, np.linalg.solve(root.T, matrix.T @ truth.ravel() + held * prior))[0])


def _slopes(hard: Floats, excess: Floats) -> Floats:
    """Return how much each candidate's excess (n, m) moves with the difficulty (n,), held to one."""
    power = float(hard @ hard)
    held = HELD * power + 1e-9
    return np.asarray((hard @ excess + held) / (power + held))
