"""Teach a blend a candidate that was hardly asked: a head of its own on what is said of the others, held to theirs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.blend import combine
from models.examples import Examples
from models.experiments.needed import Standing, standing
from models.rivalry import directions

Floats = NDArray[np.float64]

LEAST = 30
"""Probes under which a candidate stays a low guess."""
TOLD = 3
"""Directions, beside the difficulty, in which a newcomer may differ from the mean of the others."""
ERRORS = 2.0
"""Standard errors that are taken off a newcomer's mean: no rehearsal has shown what choosing it earns."""
GUESSES = 2.0
"""Candidates that the stated guess of how heads vary counts for."""
SPREAD = (0.2, 0.4)
"""That guess: the standard deviation of a mean quality, and of every slope."""
DOUBT = 20.0
"""Probes that the noise of the other candidates counts for in that of the newcomer."""


@dataclass(frozen=True, slots=True)
class Prior:
    """How the heads of the established candidates lie, by which a newcomer's is held."""

    mean: Floats
    """(2 + directions + 1,): of the mean quality, the slope on the difficulty, those on directions, and on the luck."""
    spread: Floats
    """(as `mean`,) standard deviations"""
    noise: float
    """Variance of an outcome around its head."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A candidate taught by few probes."""

    column: int
    probes: int
    mean: float
    """Its mean quality on the judged requests."""
    se: float
    head: Floats
    """(m,) What one unit of each candidate's predicted excess adds to its quality."""
    offset: float
    """What the head adds to; two standard errors of the mean are taken off."""
    out_of_fold: Floats
    """(n,) Its quality, by heads that had not seen the request; not clipped."""
    standing: Standing
    """Of its utility less the incumbent's, on the requests that both answered."""

    def report(self, names: Sequence[str]) -> dict[str, Any]:
        """Return what a person wants to know, as plain data; `names` are the candidates'."""
        known = self.standing
        return {
            "candidate": names[self.column], "probes": self.probes, "mean": self.mean, "se": self.se,
            "promised": self.mean - ERRORS * self.se, "decided": known.decided, "probes_needed": known.more,
            "lead": None if math.isnan(known.mean) else known.mean,
            "head": {name: float(weight) for name, weight in zip(names, self.head, strict=True) if weight},
        }  # fmt: skip


def newcomers(known: Examples, words: Sequence[Floats], mix: Floats) -> tuple[Newcomer, ...]:
    """Return the heads of the candidates that are not active and have `LEAST` probes or more.

    `words` are what the parts of a blend say out of fold, (n, m) each, and `mix` what they add, as `Blend.mix`. A head
    is linear in the difficulty (the mean predicted excess of the others) and in the main directions in which the
    others are predicted to differ. It is the posterior mean of a normal prior (ridge regression, Bishop 2006, section
    3.3), whose moments are those of the established candidates' heads, each taught by the rest as if it were new
    (empirical Bayes). What the others really did on a request, less what was foretold, is one more column: it takes
    the request's luck out of the noise, and is zero in the mean where nobody was asked yet.
    """
    excess = combine(words, mix, np.zeros(len(known.mean)))
    if not known.active.any() or not known.judged.any():
        return ()
    asked = np.isfinite(known.table.quality)
    several = asked[:, known.active].any(axis=1)
    found = [np.flatnonzero(asked[:, column] & several) for column in range(len(known.mean))]
    due = [column for column, rows in enumerate(found) if len(rows) >= LEAST and not known.active[column]]
    if not due:
        return ()
    along = directions(known, excess[known.judged])[:, : max(min(TOLD, int(known.active.sum()) - 2), 0)]
    prior = _prior(known, excess, along)
    load = _load(along, known.active)
    told, middle = _told(known, excess, load, known.active)
    return tuple(_newcomer(known, column, found[column], told, middle, load, prior) for column in due)


def joined(found: Sequence[Newcomer], mix: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Return the mix and the mean of a blend with the newcomers' columns."""
    mix, mean = mix.copy(), mean.copy()
    heard = mix.copy()
    for one in found:
        mix[:, :, one.column] = heard @ one.head
        mean[one.column] = one.offset
    return mix, mean


def posterior(features: Floats, quality: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """Return the head (p,) that outcomes (n,) on features (n, p) leave, and its covariance (p, p).

    The noise is that around the first head, held to the prior's.
    """
    held = np.diag(prior.spread**-2.0)
    noise = prior.noise
    for _ in range(2):
        covariance = np.linalg.inv(features.T @ features / noise + held)
        head = covariance @ (features.T @ quality / noise + held @ prior.mean)
        squares = float(((quality - features @ head) ** 2).sum())
        noise = max((squares + DOUBT * prior.noise) / (len(quality) + DOUBT), 1e-4)
    return np.asarray(head), np.asarray(covariance)


def _newcomer(
    known: Examples, column: int, rows: NDArray[np.intp], told: Floats, middle: Floats, load: Floats, prior: Prior
) -> Newcomer:
    quality = known.table.quality[rows, column]
    head, covariance = posterior(told[rows], quality, prior)
    se = math.sqrt(float(covariance[0, 0]))
    said = np.empty(len(known))
    for fold in range(known.folds):
        others = rows[known.fold[rows] != fold]
        inside = known.fold == fold
        beta, doubt = posterior(told[others], known.table.quality[others, column], prior)
        said[inside] = told[inside, :-1] @ beta[:-1] - ERRORS * math.sqrt(float(doubt[0, 0]))
    slopes = head[1:-1]
    utility = known.realised[rows]
    return Newcomer(
        column=column,
        probes=len(rows),
        mean=float(head[0]),
        se=se,
        head=load @ slopes,
        offset=float(head[0] - ERRORS * se - middle @ slopes),
        out_of_fold=said,
        standing=standing(utility[:, column] - utility[:, known.incumbent]),
    )


def _load(along: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Return what turns an excess (n, m) into the difficulty and the directions of some candidates, (m, 1 + d)."""
    share = inside / inside.sum()
    turned = np.where(inside[:, None], along, 0.0)
    turned = np.where(inside[:, None], turned - turned.sum(axis=0) / inside.sum(), 0.0)
    length = np.sqrt((turned**2).sum(axis=0))
    return np.concatenate([share[:, None], turned / np.where(length > 1e-9, length, np.inf)], axis=1)


def _told(known: Examples, excess: Floats, load: Floats, inside: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return features (n, 1 + loads + 1), and the loads' means on judged rows, which are taken off.

    They are one, the loads, and the luck: what some candidates did on the request less what was foretold of them.
    All but the first are zero in the mean of judged rows.
    """
    place = excess @ load
    asked = np.isfinite(known.table.quality) & inside
    surprise = np.where(asked, np.nan_to_num(known.table.quality) - known.mean - excess, 0.0)
    luck = surprise.sum(axis=1) / np.maximum(asked.sum(axis=1), 1)
    middle = place[known.judged].mean(axis=0)
    luck = np.where(asked.any(axis=1), luck - luck[known.judged].mean(), 0.0)
    return np.column_stack([np.ones(len(excess)), place - middle, luck]), middle


def _prior(known: Examples, excess: Floats, along: Floats) -> Prior:
    """Return the moments of the heads of the active candidates, each taught by the rest on all judged rows."""
    columns = np.flatnonzero(known.active)
    guess = np.concatenate([[known.mean[columns].mean(), 1.0], np.zeros(along.shape[1]), [0.5]])
    spread = np.array([SPREAD[0], *[SPREAD[1]] * (len(guess) - 1)])
    heads, doubts, noises = [], [], []
    for column in columns if len(columns) > 1 else ():
        inside = known.active & (np.arange(len(known.active)) != column)
        told = _told(known, excess, _load(along, inside), inside)[0][known.judged]
        gram = told.T @ told + 1e-6 * np.eye(told.shape[1])
        head = np.linalg.solve(gram, told.T @ known.table.quality[known.judged, column])
        noise = float(((known.table.quality[known.judged, column] - told @ head) ** 2).mean())
        heads.append(head)
        doubts.append(noise * np.diag(np.linalg.inv(gram)))
        noises.append(noise)
    if not heads:
        return Prior(guess, spread, 0.2)
    known_heads, count = np.array(heads), len(heads)
    mean = (GUESSES * guess + known_heads.sum(axis=0)) / (GUESSES + count)
    # The sign of a direction is arbitrary: a newcomer may lie on either side.
    mean[2:-1] = 0.0
    # What heads vary by beyond the noise of each.
    beyond = np.maximum((known_heads - mean) ** 2 - np.array(doubts), 0.0).sum(axis=0)
    variance = (GUESSES * spread**2 + beyond) / (GUESSES + count)
    return Prior(mean, np.sqrt(variance), max(float(np.mean(noises)), 1e-3))
