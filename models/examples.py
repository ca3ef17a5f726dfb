"""What every selector learns from: an encoded table, its folds, and the requests that policies are judged on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.candidates import Candidate
from beastmode.objective import Objective
from beastmode.pricing import Rates
from features.table import Table
from models.probing_beliefs import Features, completed
from models.values import best

Floats = NDArray[np.float64]

ENOUGH = 50
"""Judged requests under which nothing is learned but means."""
MOST = 20.0
"""The largest inverse propensity that a cell may weigh."""
DOUBT = 20.0
"""Observations that the doubt about a hardly observed candidate counts for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """`n` encoded requests and `m` candidates, as a selector takes them."""

    table: Table
    rates: Rates
    objective: Objective
    encoding: NDArray[np.float32]
    """(n, columns)"""
    names: tuple[str, ...]
    """Of the columns."""
    embedding: slice
    """The columns in which nearness is measured."""
    fold: NDArray[np.int64]
    """(n,) Requests of the same prompt share a fold."""
    active: NDArray[np.bool_]
    """(m,) Candidates observed on most of the requests that were asked of several."""
    judged: NDArray[np.bool_]
    """(n,) Every active candidate's outcome is known: quality is learned and policies are valued on these rows. What
    a logging policy chose to serve is confounded with the request, and is left to the fits of length and latency."""
    taught: NDArray[np.bool_]
    """(n,) Rows that teach quality: the judged ones, and those that two active candidates or more were asked."""
    filled: Floats
    """(n, m) What the others' answers say of the gaps in taught rows, NaN elsewhere. It is for learners alone:
    no mean, no policy, no calibration and no gate may rest on it."""
    mean: Floats
    """(m,) Each candidate's mean quality; of judged rows where there are enough, a low guess where hardly observed."""
    cost: Floats
    """(n, m) US dollars, as observed, else by price and counted tokens; NaN where unknown."""
    realised: Floats
    """(n, m) The utility that came true; NaN where it cannot be known."""
    incumbent: int
    """The best single candidate by mean utility."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return int(self.fold.max()) + 1 if len(self.fold) else 0

    @property
    def unit(self) -> NDArray[np.float32]:
        """The columns in which nearness is measured, (n, d)."""
        return self.encoding[:, self.embedding]

    @property
    def excess(self) -> Floats:
        """Quality, or what gaps are filled with, minus the candidate's mean, (n, m); zero where neither is known or the
        candidate is not active."""
        quality = np.where(np.isnan(self.table.quality), self.filled, self.table.quality)
        known = np.isfinite(quality) & self.active
        return np.where(known, np.nan_to_num(quality) - self.mean, 0.0)


def examples(
    table: Table,
    encoding: NDArray[np.float32],
    names: tuple[str, ...],
    embedding: slice,
    candidates: Sequence[Candidate],
    objective: Objective,
    folds: int,
    seed: int,
) -> Examples:
    """Return the table as examples.

    Raises ValueError where no quality was ever observed, or where the objective charges for what nobody knows.
    """
    observed = np.isfinite(table.quality)
    if not observed.any():
        raise ValueError("table: no quality was observed; join feedback by request id, or wait for it to arrive")
    rates = Rates.of([candidate.price for candidate in candidates])
    priced = rates.cost_usd(table.input_tokens, table.output_tokens)
    cost = np.where(np.isfinite(table.cost_usd), table.cost_usd, priced)
    realised = objective.utility(table.quality, cost, table.latency_ms)
    several = observed.sum(axis=1) > 1
    active = observed[several].mean(axis=0) >= 0.5 if several.any() else np.zeros(observed.shape[1], dtype=bool)
    chargeable = active & np.isfinite(realised[several]).any(axis=0) if several.any() else active
    judged = observed[:, active].all(axis=1) & np.isfinite(realised[:, chargeable]).all(axis=1)
    judged = np.asarray(judged & active.any())
    mean = _mean_quality(table, active, judged)
    incumbent = _incumbent(table, objective, cost, mean, active, judged)
    fold = deal(table, folds, seed)
    taught = judged | (observed[:, active].sum(axis=1) > 1)
    return Examples(
        table=table,
        rates=rates,
        objective=objective,
        encoding=encoding,
        names=names,
        embedding=embedding,
        fold=fold,
        active=active,
        judged=judged,
        taught=taught,
        filled=_filled(table.quality, encoding[:, embedding], taught, active, mean, fold),
        mean=mean,
        cost=cost,
        realised=realised,
        incumbent=incumbent,
    )


def deal(table: Table, folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each request, (n,): at random, by the prompt's text, so that its twins share one."""
    _, group = np.unique(table.prompts, return_inverse=True)
    # Requests without a text are no twins of each other.
    blank = np.array([not text for text in table.texts], dtype=bool)
    group = np.where(blank, group.max(initial=0) + 1 + np.arange(len(table)), group)
    _, group = np.unique(group, return_inverse=True)
    order = np.random.default_rng(seed).permutation(group.max(initial=0) + 1)
    return np.asarray(order[group] % folds, dtype=np.int64)


def _filled(
    quality: Floats,
    unit: NDArray[np.float32],
    taught: NDArray[np.bool_],
    active: NDArray[np.bool_],
    mean: Floats,
    fold: NDArray[np.int64],
) -> Floats:
    """Return what the gaps of taught rows are filled with, (n, m); NaN elsewhere.

    Each fold's gaps are filled by that fold alone: learners of the other folds' words then know nothing of its
    outcomes, by whatever way.
    """
    filled = np.full(quality.shape, np.nan)
    gaps = taught & np.isnan(quality[:, active]).any(axis=1)
    if not gaps.any():
        return filled
    features = Features.of(unit[taught])(unit)
    for one in np.unique(fold[gaps]):
        rows = np.flatnonzero(taught & (fold == one))
        filled[np.ix_(rows, active)] = completed(features[rows], quality[np.ix_(rows, active)], mean[active])
    return np.where(np.isnan(quality), filled, np.nan)


def _mean_quality(table: Table, active: NDArray[np.bool_], judged: NDArray[np.bool_]) -> Floats:
    """Return mean qualities, (m,): of judged rows for active candidates, else weighed by 1 / propensity."""
    enough = judged.sum() >= ENOUGH
    weighed, count = _weighted_means(table, table.quality)
    if not enough:
        return np.nan_to_num(weighed)
    mean = np.where(active, np.nan_to_num(table.quality[judged]).mean(axis=0), 0.0)
    # Few answers may all be good by luck: a candidate hardly observed is taken at half a point under what is typical
    # until its own outcomes speak, less two standard errors.
    prior = max(float(mean[active].min()) - 0.5, 0.0)
    guess = (np.nan_to_num(weighed) * count + prior * DOUBT) / (count + DOUBT)
    low = guess - 2 * np.sqrt(np.maximum(guess * (1 - guess), 0.01) / (count + DOUBT))
    return np.where(active, mean, np.clip(np.where(count > 0, low, 0.0), 0.0, 1.0))


def _weighted_means(table: Table, values: Floats) -> tuple[Floats, Floats]:
    """Return each column's mean with served cells weighed by 1 / propensity, and its effective count, both (m,)."""
    inverse = np.minimum(1 / np.maximum(table.propensity, 1e-9), MOST)
    alone = np.isfinite(table.quality).sum(axis=1) == 1
    weight = np.where(alone & np.isfinite(inverse), inverse, 1.0)[:, None] * np.isfinite(values)
    total = weight.sum(axis=0)
    mean = (weight * np.nan_to_num(values)).sum(axis=0) / np.where(total > 0, total, 1.0)
    count = total**2 / np.maximum((weight**2).sum(axis=0), 1e-9)
    return np.where(total > 0, mean, np.nan), count


def _incumbent(
    table: Table,
    objective: Objective,
    cost: Floats,
    mean: Floats,
    active: NDArray[np.bool_],
    judged: NDArray[np.bool_],
) -> int:
    """Return the best single candidate by mean utility; raises ValueError where no utility can be known."""
    if judged.sum() >= ENOUGH:
        value = objective.utility(table.quality[judged], cost[judged], table.latency_ms[judged]).mean(axis=0)
        value = np.where(active, value, np.nan)
    else:
        value = objective.utility(mean, _weighted_means(table, cost)[0], _weighted_means(table, table.latency_ms)[0])
        value = np.where(np.isfinite(table.quality).any(axis=0), value, np.nan)
    if np.isnan(value).all():
        raise ValueError(
            f"objective {objective}: no candidate has a known cost and latency; give prices in the catalogue, "
            "or set per_dollar and per_second to zero"
        )
    return int(best(value[None])[0])
