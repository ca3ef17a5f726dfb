"""What off-policy evaluation has to guess of outcomes that nobody saw: a regression fitted on other rows."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Regression:
    """How the outcome regression is held; the penalties are those of a normal prior (Gelman and Hill 2007, ch. 12)."""

    folds: Annotated[int, Ge(2)] = 5
    columns: Annotated[int, Ge(0)] = 24
    """Principal directions of the features that are regressed on."""
    shared: Annotated[float, Gt(0), Lt(1)] = 0.10
    """Share of an outcome's variance that the features are believed to explain for all candidates alike."""
    own: Annotated[float, Gt(0), Lt(1)] = 0.02
    """What they are believed to explain for one candidate beyond that."""
    level: Annotated[float, Gt(0)] = 2.0
    """Effective rows that the mean of all candidates counts for in the mean of each."""


def folds(groups: NDArray[np.str_] | Indices, count: int, seed: int) -> Indices:
    """Return the fold of each row, (n,), at random; rows of one group (a prompt, a session) share a fold."""
    _, group = np.unique(groups, return_inverse=True)
    distinct = int(group.max(initial=-1)) + 1
    return np.asarray((np.random.default_rng(seed).permutation(distinct) % count)[group], dtype=np.intp)


def directions(features: NDArray[np.floating], columns: int) -> Floats:
    """Return the features' largest principal directions with unit variance, (n, at most columns)."""
    centred = np.asarray(features, dtype=np.float64) - features.mean(axis=0)
    spread, vectors = np.linalg.eigh(centred.T @ centred / max(len(centred), 1))
    kept = np.argsort(-spread)[:columns]
    kept = kept[spread[kept] > 1e-9 * max(float(spread.max(initial=0.0)), 1e-300)]
    return np.asarray(centred @ (vectors[:, kept] / np.sqrt(spread[kept])))


def regress(
    features: Floats,
    served: Indices,
    outcome: Floats,
    propensity: Floats,
    fold: Indices,
    candidates: int,
    settings: Regression = Regression(),
) -> Floats:
    """Return each row's expected outcome under every candidate, (n, m), fitted on the rows of the other folds.

    `features` (n, d) have unit variance (`directions`); `served`, `outcome`, `propensity` and `fold` are (n,). Three
    ridges, one on what the last left over: slopes that all candidates share, a level for each, its own slopes. Rows
    weigh 1 / propensity in the levels and own slopes, so that those a logging policy seldom takes, which carry the
    variance of a doubly robust estimate, are fitted as well as the usual ones.
    """
    n, d = features.shape
    count = int(fold.max()) + 1
    weight = 1.0 / propensity
    key = fold * candidates + served
    order = np.argsort(key, kind="stable")
    edges = np.searchsorted(key[order], np.arange(count * candidates + 1))
    x = np.concatenate([np.ones((n, 1)), features, outcome[:, None]], axis=1)[order]
    weight = weight[order]
    plain, heavy = np.zeros((2, count * candidates, d + 2, d + 2))
    squares = np.zeros(count * candidates)
    for cell in np.flatnonzero(np.diff(edges)):
        part = slice(edges[cell], edges[cell + 1])
        plain[cell] = x[part].T @ x[part]
        heavy[cell] = (x[part] * weight[part, None]).T @ x[part]
        squares[cell] = (weight[part] ** 2).sum()
    shape = (count, candidates)
    heavy, plain, squares = (a.reshape(*shape, *a.shape[1:]) for a in (heavy, plain, squares))
    heavy, squares = heavy.sum(axis=0) - heavy, squares.sum(axis=0) - squares  # of the other folds
    plain = plain.sum(axis=0) - plain
    slopes, levels = _fitted(plain, heavy, squares, d, settings)
    said = np.empty((n, candidates))
    for one in range(count):
        rows = fold == one
        said[rows] = levels[one] + features[rows] @ slopes[one].T
    return said


def _fitted(plain: Floats, heavy: Floats, squares: Floats, d: int, settings: Regression) -> tuple[Floats, Floats]:
    """Return slopes (folds, m, d) and levels (folds, m).

    `plain` and `heavy` are unweighted and weighted moments of [1, features, outcome], (folds, m, d + 2, d + 2).
    """
    inside = slice(1, d + 1)
    total = heavy[..., 0, 0]
    scale = total / np.maximum(squares, 1e-300)  # makes weights sum to the effective number of rows
    effective = total * scale
    whole = np.maximum(total.sum(axis=1), 1e-300)
    mean = heavy[..., 0, -1].sum(axis=1) / whole
    # Slopes that all share, within candidates: each one's own means are taken out first.
    size = np.maximum(plain[..., 0, 0], 1e-300)
    first = plain[..., 0, :]
    within = (plain - first[..., :, None] * first[..., None, :] / size[..., None, None]).sum(axis=1)
    held = d * (1 - settings.shared) / settings.shared * np.eye(d)
    together = np.linalg.solve(within[:, inside, inside] + held, within[:, inside, -1:])[..., 0]  # (folds, d)
    left = heavy[..., 0, -1] - np.einsum("kmd,kd->km", heavy[..., 0, inside], together)
    base = mean - np.einsum("kmd,kd->k", heavy[..., 0, inside], together) / whole
    level = (left * scale + settings.level * base[:, None]) / (effective + settings.level)
    moment = (
        heavy[..., inside, -1] - np.einsum("kmde,ke->kmd", heavy[..., inside, inside], together)
        - level[..., None] * heavy[..., inside, 0]
    ) * scale[..., None]  # fmt: skip
    gram = heavy[..., inside, inside] * scale[..., None, None]
    own = np.linalg.solve(gram + d * (1 - settings.own) / settings.own * np.eye(d), moment[..., None])[..., 0]
    return together[:, None, :] + own, level
