"""What answers to some candidates say of all: Gaussian beliefs on quality, with one difficulty for each request.

    quality[i, j] = mean[j] + features[i] . weight[j] + difficulty[i] + noise

Candidates that answer the same request share its difficulty, so that what is learned of them is their difference, as
it is with paired probes; a request may have been asked of any of them (ridge regression as a posterior, Bishop 2006,
section 3.3; the spread of the weights by its evidence, section 3.5).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

Floats = NDArray[np.float64]

DIRECTIONS = 24
"""Main directions of the embedding that beliefs are linear in."""
SPREADS = (0.03, 0.08, 0.15, 0.3)
"""Prior standard deviations of a weight; the evidence takes one."""
MEAN_SPREAD = 0.15
"""Prior standard deviation of a candidate's mean around one half."""
NOISE = 0.18
"""Variance of an answer's quality that neither text nor difficulty explains."""
SHARED = 0.5
"""Variance of the difficulty, in units of the noise."""


@dataclass(frozen=True, slots=True)
class Features:
    """What beliefs are linear in: one, and the main directions of an embedding, of mean square norm one together."""

    mean: Floats
    """(d,)"""
    directions: Floats
    """(d, k)"""

    @classmethod
    def of(cls, embedding: NDArray[np.float32]) -> Self:
        """Learn the directions of an embedding (n, d)."""
        known = np.asarray(embedding, dtype=np.float64)
        mean = known.mean(axis=0)
        values, vectors = np.linalg.eigh((known - mean).T @ (known - mean) / len(known))
        kept = min(DIRECTIONS, int((values > 1e-9 * max(values[-1], 1e-12)).sum()))
        return cls(mean, vectors[:, ::-1][:, :kept] / np.sqrt(max(values[::-1][:kept].sum(), 1e-12)))

    def __call__(self, embedding: NDArray[np.float32]) -> Floats:
        """Return features (n, 1 + k) of an embedding (n, d)."""
        return np.concatenate([np.ones((len(embedding), 1)), (embedding - self.mean) @ self.directions], axis=1)


@dataclass(frozen=True, slots=True)
class Beliefs:
    """The posterior of all candidates' weights together."""

    weight: Floats
    """(m, p)"""
    covariance: Floats
    """(m p, m p), a candidate's weights beside each other"""
    spread: float
    """The prior standard deviation that the evidence took."""

    def quality(self, features: Floats) -> Floats:
        """Return expected qualities, (n, m), of features (n, p)."""
        return 0.5 + features @ self.weight.T

    def covariances(self, features: Floats) -> Floats:
        """Return the covariance of the candidates' expected qualities on each request, (n, m, m)."""
        return quadratic(self.covariance, features)

    def given(self, features: Floats, asked: NDArray[np.intp]) -> "Beliefs":
        """Return the beliefs after some candidates were asked of one request (p,), whatever they will answer.

        The covariance shrinks by an amount that does not depend on the answers; the weights stay what they are.
        """
        m, p = self.weight.shape
        column = np.zeros((m * p, len(asked)))
        for place, candidate in enumerate(asked):
            column[candidate * p : (candidate + 1) * p, place] = features
        spread = self.covariance @ column
        inner = column.T @ spread + noise(m)[np.ix_(asked, asked)]
        return Beliefs(self.weight, self.covariance - spread @ np.linalg.solve(inner, spread.T), self.spread)


def fit(features: Floats, quality: Floats) -> Beliefs:
    """Return the beliefs that answers leave; features (n, p), qualities (n, m) with NaN where nobody asked."""
    seen = np.isfinite(quality)
    rows = seen.any(axis=1)
    features, seen = features[rows], seen[rows]
    centred = np.where(seen, np.nan_to_num(quality[rows]) - 0.5, 0.0)
    m, p = quality.shape[1], features.shape[1]
    # The difficulty integrated out of k answers leaves the precision (I - a 11') / noise, a = shared / (1 + shared k).
    count = seen.sum(axis=1)
    share = SHARED / (1 + SHARED * count)
    apart = centred - seen * (share * centred.sum(axis=1))[:, None]
    precision = np.zeros((m, p, m, p))
    for j in range(m):
        for other in range(j, m):
            both = seen[:, j] * ((j == other) - share * seen[:, other])
            block = (features * both[:, None]).T @ features
            precision[j, :, other, :], precision[other, :, j, :] = block, block.T
    told = precision.reshape(m * p, m * p) / NOISE
    pull = (apart.T @ features).ravel() / NOISE
    return max((_posterior(told, pull, spread, (m, p)) for spread in SPREADS), key=lambda found: found[0])[1]


def completed(features: Floats, quality: Floats, centre: Floats | float = 0.5) -> Floats:
    """Return qualities (n, m) whose gaps are filled where two candidates or more answered: what the others say of them.

    A gap becomes its expectation given the text and the answers of the same request, in [0, 1]. It is for learners that
    need whole rows. Filled cells are no evidence: they must value no policy. `centre`, one for all or (m,), is what a
    candidate's mean is held to.
    """
    seen = np.isfinite(quality)
    rows = np.flatnonzero((seen.sum(axis=1) > 1) & ~seen.all(axis=1))
    if not len(rows):
        return quality
    beliefs = fit(features, quality - centre + 0.5)
    expected = beliefs.quality(features[rows]) + centre - 0.5
    spread = beliefs.covariances(features[rows]) + noise(quality.shape[1])
    filled = quality.copy()
    for place, row in enumerate(rows.tolist()):
        there, gap = np.flatnonzero(seen[row]), np.flatnonzero(~seen[row])
        surprise = np.linalg.solve(spread[place][np.ix_(there, there)], quality[row, there] - expected[place, there])
        filled[row, gap] = np.clip(expected[place, gap] + spread[place][np.ix_(gap, there)] @ surprise, 0.0, 1.0)
    return filled


def noise(m: int) -> Floats:
    """Return the covariance of `m` answers to one request around what is believed of it, (m, m)."""
    return NOISE * (np.eye(m) + SHARED)


def quadratic(matrix: Floats, features: Floats) -> Floats:
    """Return the form of a matrix (m p, m p) between candidates on each request, (n, m, m), for features (n, p)."""
    n, p = features.shape
    m = len(matrix) // p
    blocks = matrix.reshape(m, p, m, p).transpose(1, 0, 2, 3).reshape(p, m * m * p)
    half = (features @ blocks).reshape(n, m * m, p)
    return np.asarray((half @ features[:, :, None]).reshape(n, m, m))


def _posterior(told: Floats, pull: Floats, spread: float, shape: tuple[int, int]) -> tuple[float, Beliefs]:
    """Return the evidence for a prior spread, but for what all spreads share, and the posterior under it."""
    m, p = shape
    prior = np.full((m, p), spread**-2.0)
    prior[:, 0] = MEAN_SPREAD**-2.0
    lower = np.linalg.cholesky(told + np.diag(prior.ravel()))
    weight = cho_solve((lower, True), pull)
    evidence = 0.5 * (pull @ weight) - float(np.log(np.diag(lower)).sum()) + 0.5 * float(np.log(prior).sum())
    covariance = cho_solve((lower, True), np.eye(m * p))
    return evidence, Beliefs(weight.reshape(m, p), covariance, spread)
