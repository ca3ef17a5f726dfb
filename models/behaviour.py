"""Who would have been asked, where a log does not say: propensities estimated from the requests, and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

FLOOR = 0.002
"""The least probability of a candidate that is in use."""
BINS = 10
ALPHA = 0.01
"""The chance that right propensities are found wrong."""
WRONG = 1.25
"""A factor on the odds, proven beyond which propensities are of no use."""
ROUNDS = 40
STEPS = 300
"""Of expectation and maximisation: the weights of three guesses settle long before."""
PARAMETERS = {
    "objective": "multiclass", "num_leaves": 7, "learning_rate": 0.1, "lambda_l2": 10.0, "min_data_in_leaf": 20,
    "max_bin": 63, "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip


LEARNERS = ("shares", "logistic regression", "boosted trees")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A logging policy as the requests let it be guessed, each row by models of other rows."""

    probabilities: Floats
    """(n, m)"""
    weights: Mapping[str, float]
    """What each of `LEARNERS` counts for: one for `shares` where requests tell nothing of the choice."""
    refused: str | None
    """Why these probabilities are of no use, where some are proven wrong by more than `WRONG` on the odds."""

    @property
    def learner(self) -> str:
        """What the probabilities are made by, in words."""
        return ", ".join(f"{name} {weight:.0%}" for name, weight in self.weights.items() if weight >= 0.005)


def behaviour(
    features: Floats,
    directions: Floats,
    served: Indices,
    fold: Indices,
    candidates: tuple[str, ...],
    sessions: NDArray[np.str_] | None = None,
    seed: int = 0,
) -> Behaviour:
    """Return the probability with which each candidate seems to have been chosen, fitted on the other folds.

    A mixture of three guesses: the candidates' shares whatever the request; a multinomial logistic regression on the
    features' `directions` (n, d), with a unit normal prior on the slopes; boosted trees on the `features` (n, columns)
    themselves, since rules ("long prompts go to the large model") are steps. Its weights are those of the highest
    likelihood on rows that no guess has seen (stacking: van der Laan, Polley and Hubbard 2007), so that a policy that
    does not look at the request is not taken for one that does. A candidate that never served has probability zero; the
    others at least about `FLOOR`.
    """
    m, at = len(candidates), np.arange(len(served))
    guesses = [
        _foretold(fit, served, fold, m)
        for fit in (
            lambda rows: _shares(served, rows),
            lambda rows: _logistic(directions, served, rows),
            lambda rows: _trees(features, served, rows, seed),
        )
    ]
    weights = mixture(np.stack([guess[at, served] for guess in guesses], axis=1))
    said = np.tensordot(weights, np.stack(guesses), axes=1)
    refused = miscalibration(said, served, candidates, sessions)
    return Behaviour(said, dict(zip(LEARNERS, weights.tolist(), strict=True)), refused)


def mixture(likelihood: Floats) -> Floats:
    """Return the weights (k,) of the mixture that makes rows likeliest, each (n, k) as one guess says (EM).

    >>> mixture(np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1]])).round(3).tolist()
    [1.0, 0.0]
    """
    weights = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(STEPS):
        part = likelihood * weights
        weights = (part / part.sum(axis=1, keepdims=True)).mean(axis=0)
    return np.asarray(weights / weights.sum())


def miscalibration(
    said: Floats, served: Indices, candidates: tuple[str, ...], sessions: NDArray[np.str_] | None = None
) -> str | None:
    """Return where probabilities (n, m) are proven wrong by more than `WRONG` on the odds, or None.

    Each candidate's probabilities are cut into bins of equally many rows; the exact interval of each bin's share
    (Clopper and Pearson 1934), all bins together at `ALPHA`, is held against the mean probability there. A bin's rows
    count for as many as it has sessions, since a session that stays with a model is one choice.
    """
    bins = [
        (column, part)
        for column in range(said.shape[1])
        for part in np.array_split(np.argsort(said[:, column], kind="stable"), min(BINS, max(len(said) // 20, 1)))
    ]
    worst, told = WRONG, None
    for column, part in bins:
        chance, share = float(said[part, column].mean()), float((served[part] == column).mean())
        n = len(part) if sessions is None else len(np.unique(sessions[part]))
        hits, tail = share * n, ALPHA / len(bins) / 2
        low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
        high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
        factor = max(_odds(low) / _odds(chance), _odds(chance) / _odds(high)) if chance > 0 else 1.0
        if factor > worst:
            worst = factor
            told = (
                f"the requests do not tell who was asked: where {candidates[column]} was expected to serve "
                f"{chance:.1%} of {len(part):,} requests it served {share:.1%}, and the odds are wrong by a factor of "
                f"{factor:.1f} or more. Log decisions with their propensities, or probe"
            )
    return told


def _odds(chance: float) -> float:
    return chance / (1 - chance) if chance < 1 else np.inf


def _foretold(fit: Any, served: Indices, fold: Indices, m: int) -> Floats:
    """Return each row's probabilities (n, m) by what `fit` makes of the other folds' rows."""
    said = np.zeros((len(served), m))
    for one in range(int(fold.max()) + 1):
        rows, others = np.flatnonzero(fold == one), np.flatnonzero(fold != one)
        others = others if len(others) else rows  # one prompt for all: nothing tells rows apart
        known = np.unique(served[others])
        said[np.ix_(rows, known)] = 1.0 if len(known) == 1 else fit(others)(rows)
    used = np.unique(served)
    said[:, used] = np.maximum(said[:, used], FLOOR)
    return np.asarray(said / said.sum(axis=1, keepdims=True))


def _shares(served: Indices, taught: Indices) -> Any:
    share = np.unique(served[taught], return_counts=True)[1] / len(taught)
    return lambda rows: np.tile(share, (len(rows), 1))


def _logistic(features: Floats, served: Indices, taught: Indices) -> Any:
    if not features.shape[1]:
        return _shares(served, taught)  # where no prompt is logged
    model = LogisticRegression(C=1.0, max_iter=500).fit(features[taught], served[taught])
    return lambda rows: model.predict_proba(features[rows])


def _trees(features: Floats, served: Indices, taught: Indices, seed: int) -> Any:
    known, label = np.unique(served[taught], return_inverse=True)
    data = lightgbm.Dataset(np.asarray(features[taught], dtype=np.float64), label)
    model = lightgbm.train({**PARAMETERS, "num_class": len(known), "seed": seed}, data, ROUNDS)
    return lambda rows: model.predict(features[rows], num_threads=1)
