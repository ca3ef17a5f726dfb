"""The value of a policy from another's log: every estimator side by side, by segment, or a refusal with its remedy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from features.table import Table
from models.behaviour import Behaviour, behaviour
from models.estimators import ESTIMATORS, Masses, contrast
from models.examples import deal
from models.intervals import Estimate, Terms, weighted
from models.nuisance import Regression, directions, regress
from models.overlap import EvaluationRefused, Overlap, overlap, refusal
from models.sensitivity import STRENGTHS, Sensitivity, sensitivity

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]
Mask = NDArray[np.bool_]
LEAST = 30
"""Logged rows under which nothing is fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The rows of a table that an off-policy value can use, with what had to be guessed fitted across folds."""

    table: Table
    """Those rows alone, n of them."""
    rows: NDArray[np.intp]
    """(n,) Where they stand in the whole table, of whose length policies are."""
    outcome: Floats
    """(n,) Of what was served."""
    propensity: Floats
    """(n,)"""
    probabilities: Floats | None
    """(n, m) The logging policy's, where they are known or estimated."""
    expected: Floats
    """(n, m) The outcome of every candidate, by a regression on other rows."""
    source: Literal["logged", "estimated"]
    """Whence the propensities are."""
    unknown: float
    """Share of served rows that were left out because their propensity is unknown."""
    behaviour: Behaviour | None = None
    """The logging policy as it was estimated, where it was."""

    def __len__(self) -> int:
        return len(self.rows)

    def terms(self, policy: Floats, estimator: str = "dr") -> Terms:
        """Return an estimator's terms of a policy (table rows, m)."""
        at, own = np.arange(len(self)), policy[self.rows]
        served = self.table.served
        under = (own * self.expected).sum(axis=1)
        masses = None if self.probabilities is None else Masses.of(own, self.probabilities)
        weight = own[at, served] / self.propensity
        return ESTIMATORS[estimator](weight, self.outcome, self.expected[at, served], under, masses)


@dataclass(frozen=True, slots=True)
class Valuation:
    """A policy's value by every estimator, and what it rests on."""

    estimates: Mapping[str, Estimate]
    """By the names of `ESTIMATORS`. DR is the one to act on; where the others disagree, ask why."""
    overlap: Overlap
    source: Literal["logged", "estimated"]
    refused: str | None
    """Why there is no honest value, and what would settle it."""
    hidden: tuple[Sensitivity, ...]
    """Of a value on estimated propensities: where it lies if hidden reasons made their odds wrong. Else empty."""

    @property
    def value(self) -> Estimate:
        """The doubly robust value; raises EvaluationRefused where there is none to trust."""
        if self.refused is not None:
            raise EvaluationRefused(f"no off-policy value: {self.refused}.")
        return self.estimates["dr"]


@dataclass(frozen=True, slots=True)
class Segment:
    """The value, or the difference, on one kind of request."""

    name: str
    n: int
    estimate: Estimate | None
    """All segments' intervals hold together at the stated level (Bonferroni); None where refused."""
    p: float | None
    """Of no difference, two-sided, adjusted for the number of segments (Holm 1979); None for a plain value."""
    refused: str | None


def log(
    table: Table,
    outcome: Floats,
    features: NDArray[np.floating],
    *,
    seed: int,
    estimate_behaviour: bool = False,
    probabilities: Floats | None = None,
    settings: Regression | None = None,
) -> Log:
    """Return what a table's served rows say of `outcome` (n, m); `features` (n, columns) describe the requests.

    Folds are grouped by prompt. `probabilities` (n, m) are the logging policy's where the log holds them. With
    `estimate_behaviour` propensities that are unknown are estimated from the features, which assumes that nothing else
    moved the choice: the log is labelled so. Raises EvaluationRefused where too few rows are left.
    """
    at = np.arange(len(table))
    served = (table.served >= 0) & ~np.isnan(outcome[at, np.maximum(table.served, 0)])
    stated = np.nan_to_num(table.propensity) > 0
    rows = np.flatnonzero(served if estimate_behaviour else served & stated)
    left = int((served & ~stated).sum())
    if len(rows) < LEAST:
        raise EvaluationRefused(
            f"no off-policy value: {len(rows)} of {int(served.sum())} served requests carry a propensity and an "
            f"outcome, and {LEAST} are needed ({left} propensities are unknown). Log decisions with propensities, "
            "have them estimated (estimate_behaviour), or probe."
        )
    kept = table.take(rows)
    settings = settings or Regression()
    fold = deal(kept, settings.folds, seed)
    columns = directions(np.asarray(features)[rows], settings.columns)
    m, own = len(table.candidates), kept.propensity
    chances = None if probabilities is None else probabilities[rows]
    guessed = None
    if estimate_behaviour and left:
        raw = np.asarray(features)[rows]
        guessed = behaviour(raw, columns, kept.served, fold, table.candidates, kept.sessions, seed)
        said = guessed.probabilities
        own = np.where(stated[rows], own, said[np.arange(len(rows)), kept.served])
        chances = said if chances is None else np.where(stated[rows, None], chances, said)
    seen = outcome[rows, kept.served]
    return Log(
        table=kept, rows=rows, outcome=seen, propensity=own, probabilities=chances,
        expected=regress(columns, kept.served, seen, own, fold, m, settings),
        source="logged" if guessed is None else "estimated",
        unknown=0.0 if estimate_behaviour else left / max(int(served.sum()), 1), behaviour=guessed,
    )  # fmt: skip


def value(known: Log, policy: Floats, minus: Floats | None = None, level: float = 0.95) -> Valuation:
    """Return the value of a policy (table rows, m), or of it less `minus`, by every estimator.

    Errors are clustered by session.
    """
    sessions, served = known.table.sessions, known.table.served
    terms = {name: known.terms(policy, name) for name in ESTIMATORS}
    own = policy[known.rows]
    if minus is not None:
        terms = {name: each - known.terms(minus, name) for name, each in terms.items()}
        own = own - minus[known.rows]
    estimates = {name: weighted(each, sessions, level) for name, each in terms.items()}
    seen = overlap(
        own, served, known.propensity, clusters=sessions, probabilities=known.probabilities, unknown=known.unknown
    )
    why = refusal(seen, terms["dr"].residual, estimates["dr"].se, known.table.candidates) if own.any() else None
    hidden: tuple[Sensitivity, ...] = ()
    if known.behaviour is not None:
        why = known.behaviour.refused or why
        hidden = tuple(sensitivity(terms["dr"], known.propensity, f, sessions, level) for f in STRENGTHS)
    return Valuation(estimates, seen, known.source, why, hidden)


def by_segment(
    table: Table,
    outcome: Floats,
    plus: Floats,
    kinds: Mapping[str, Mask],
    minus: Floats | None = None,
    expected: Floats | None = None,
    *,
    level: float = 0.95,
    min_rows: int = LEAST,
    min_effective: float = 0.0,
) -> tuple[Segment, ...]:
    """Return the value of `plus`, or of `plus` less `minus`, on each kind of request.

    `kinds` are masks (n,) by name, which may overlap: tasks, tenants, lengths. The rest is as in `contrast`, which
    values each kind by its probes and its log. Kinds that are refused count in the adjustment as well, so that looking
    at many does not find what is not there.
    """
    shared = 1 - (1 - level) / max(len(kinds), 1)
    found: list[tuple[str, int, Estimate | None, str | None]] = []
    for name, mask in kinds.items():
        other, said = (None if each is None else each[mask] for each in (minus, expected))
        try:
            estimate = contrast(
                table.take(mask), outcome[mask], plus[mask], other, said,
                level=shared, min_rows=min_rows, min_effective=min_effective,
            )  # fmt: skip
            found.append((name, int(mask.sum()), estimate, None))
        except EvaluationRefused as refused:
            found.append((name, int(mask.sum()), None, str(refused)))
    tests = [1.0 if estimate is None else _p(estimate) for _, _, estimate, _ in found]
    adjusted = holm(np.array(tests)).tolist() if minus is not None else [None] * len(found)
    return tuple(
        Segment(name, n, estimate, None if why else p, why)
        for (name, n, estimate, why), p in zip(found, adjusted, strict=True)
    )


def _p(estimate: Estimate) -> float:
    if not 0 < estimate.se < np.inf:
        return 1.0
    return float(2 * stats.norm.sf(abs(estimate.value) / estimate.se))


def holm(p: Floats) -> Floats:
    """Return p-values (k,) adjusted so that any error among all is as rare as each claims (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def lengths(tokens: Floats) -> Labels:
    """Return the length bucket of each request, (n,), by its input tokens.

    >>> lengths(np.array([20.0, 900.0])).tolist()
    ['under 100 tokens', '500 to 2,000 tokens']
    """
    names = np.array(["under 100 tokens", "100 to 500 tokens", "500 to 2,000 tokens", "over 2,000 tokens"])
    return np.asarray(names[np.searchsorted([100, 500, 2000], tokens, side="right")])
