"""The value of a policy from another's log: every estimator side by side, by segment, or a refusal with its remedy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from features.table import Table
from models.estimators import ESTIMATORS, Masses
from models.examples import deal
from models.intervals import Estimate, Terms, weighted
from models.nuisance import Regression, behaviour, directions, regress
from models.overlap import EvaluationRefused, Overlap, overlap, refusal
from models.sensitivity import STRENGTHS, Sensitivity, sensitivity

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]
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
    source: Literal["logged", "estimated"] = "logged"
    if estimate_behaviour and left:
        source = "estimated"
        guessed = behaviour(columns, kept.served, fold, m)
        own = np.where(stated[rows], own, guessed[np.arange(len(rows)), kept.served])
        chances = guessed if chances is None else chances
    seen = outcome[rows, kept.served]
    return Log(
        table=kept, rows=rows, outcome=seen, propensity=own, probabilities=chances,
        expected=regress(columns, kept.served, seen, own, fold, m, settings), source=source,
        unknown=0.0 if estimate_behaviour else left / max(int(served.sum()), 1),
    )  # fmt: skip


def value(known: Log, policy: Floats, level: float = 0.95) -> Valuation:
    """Return the value of a policy (table rows, m) by every estimator; errors are clustered by session."""
    sessions, served = known.table.sessions, known.table.served
    terms = {name: known.terms(policy, name) for name in ESTIMATORS}
    estimates = {name: weighted(each, sessions, level) for name, each in terms.items()}
    own = policy[known.rows]
    seen = overlap(
        own, served, known.propensity, clusters=sessions, probabilities=known.probabilities, unknown=known.unknown
    )
    why = refusal(seen, terms["dr"].residual, estimates["dr"].se, known.table.candidates)
    hidden: tuple[Sensitivity, ...] = ()
    if known.source == "estimated":
        chosen = own[np.arange(len(known)), served]
        hidden = tuple(sensitivity(terms["dr"], chosen, known.propensity, f, sessions, level) for f in STRENGTHS)
    return Valuation(estimates, seen, known.source, why, hidden)


def by_segment(
    known: Log, plus: Floats, labels: Labels, minus: Floats | None = None, level: float = 0.95, least: int = LEAST
) -> tuple[Segment, ...]:
    """Return the doubly robust value of `plus`, or of `plus` less `minus`, on each kind of request, the largest first.

    `labels` (table rows,) name the kind: task, tenant, length. Segments of fewer than `least` rows are refused, as are
    those that overlap too little; every one that is named counts in the adjustment, also those that are refused, so
    that looking at many does not find what is not there.
    """
    drawn = plus if minus is None else plus - minus
    terms = known.terms(plus) if minus is None else known.terms(plus) - known.terms(minus)
    own = labels[known.rows]
    names, count = np.unique(own, return_counts=True)
    shared = 1 - (1 - level) / len(names)
    found = []
    for name in names[np.argsort(-count, kind="stable")]:
        at = np.flatnonzero(own == name)
        estimate, why = _segment(known, terms, drawn[known.rows], at, shared, least)
        found.append((str(name), len(at), estimate, why))
    tests = [_p(estimate) for _, _, estimate, _ in found]
    adjusted = holm(np.array(tests)) if minus is not None else [None] * len(found)
    return tuple(
        Segment(name, n, None if why else estimate, None if why or p is None else float(p), why)
        for (name, n, estimate, why), p in zip(found, adjusted, strict=True)
    )


def _segment(
    known: Log, terms: Terms, drawn: Floats, at: NDArray[np.intp], level: float, least: int
) -> tuple[Estimate, str | None]:
    part = Terms(terms.contributions[at], terms.weight[at], terms.residual[at])
    table, sessions = known.table, known.table.sessions[at]
    estimate = weighted(part, sessions, level)
    if len(at) < least:
        return estimate, f"{len(at)} requests of this kind, and {least} are needed"
    if not drawn[at].any():
        return estimate, None  # both policies do the same here
    chances = None if known.probabilities is None else known.probabilities[at]
    seen = overlap(drawn[at], table.served[at], known.propensity[at], clusters=sessions, probabilities=chances)
    return estimate, refusal(seen, part.residual, estimate.se, table.candidates)


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
