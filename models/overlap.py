"""How much a log says of another policy: what carries its value, what was never seen of it, and when to refuse."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import Clusters, carriers

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

CARRIERS = 5.0
"""Rows that must carry the error of a value. In simulated worlds intervals covered at least 90% from here on."""
ADRIFT = 4.0
"""Standard errors from one at which a mean weight is no accident."""
BIASED = 0.5
"""The largest bias by unseen candidates that an interval bears, in standard errors: at one half it still covers 92%."""


class EvaluationRefused(ValueError):
    """The rows at hand cannot carry an honest value; the message says which rows would."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What logged rows say of a policy's support."""

    n: int
    matched: int
    """Clusters (sessions, or rows) in which the policy would have done what was done."""
    effective: float
    """(sum w)^2 / sum w^2: as many unweighted rows give the same error of a mean (Kish 1965)."""
    carriers: float
    """(sum w^2)^2 / sum w^4: as many rows carry that error. Below five nobody can say how large it is."""
    largest: float
    """The largest weight."""
    largest_share: float
    """Of all weight, what one row holds."""
    mean_weight: float
    """One, but for chance, where propensities are right and nothing is unsupported; zero for a difference."""
    drift: float
    """The mean weight less that, in its standard errors."""
    unsupported: float
    """Share of the policy's probability on candidates that the logging policy never takes: nothing is known there."""
    unknown: float
    """Share of rows whose propensity is not known: they say nothing."""
    thinnest: int
    """The candidate (column) to which the policy gives most per row that was served by it; -1 where none was served."""
    thinnest_mass: float
    """The policy's probability of it."""
    thinnest_rows: int
    """Rows that it served."""


def overlap(
    policy: Floats,
    served: Indices,
    propensity: Floats,
    *,
    clusters: Clusters | None = None,
    probabilities: Floats | None = None,
    unknown: float = 0.0,
) -> Overlap:
    """Return the overlap of a policy (n, m) with logged rows: `served` and `propensity` (n,), all known and positive.

    A difference of two policies has one too: where both would do the same, nothing has to be known. `probabilities`
    (n, m) are the logging policy's, where the log holds them: what is zero there is unsupported.
    Without them, a candidate that never served is.
    """
    n, m = policy.shape
    weight = policy[np.arange(n), served] / propensity
    count = np.bincount(served, minlength=m)
    never = np.broadcast_to(count == 0, (n, m)) if probabilities is None else probabilities <= 0
    size = np.abs(weight)
    total, squares = float(size.sum()), float((weight**2).sum())
    mass = np.abs(policy).mean(axis=0)
    thinnest = int(np.argmax(mass / np.maximum(count, 0.5)))
    hit = size > 0
    due, error = float(policy.sum(axis=1).mean()), float(weight.std()) / np.sqrt(n)
    return Overlap(
        n=n,
        matched=int(hit.sum()) if clusters is None else len(np.unique(clusters[hit])),
        effective=total**2 / squares if squares > 0 else 0.0,
        carriers=carriers(weight, clusters),
        largest=float(size.max(initial=0.0)),
        largest_share=float(size.max(initial=0.0)) / total if total > 0 else 0.0,
        mean_weight=float(weight.mean()),
        drift=(float(weight.mean()) - due) / error if error > 0 else 0.0,
        unsupported=float((np.abs(policy) * never).sum(axis=1).mean()),
        unknown=unknown,
        thinnest=thinnest,
        thinnest_mass=float(mass[thinnest]),
        thinnest_rows=int(count[thinnest]),
    )


def refusal(
    found: Overlap, residual: Floats, se: float, candidates: tuple[str, ...], min_effective: float = 0.0
) -> str | None:
    """Return why no value is given, and what would settle it, or None where the rows can carry one.

    `residual` (n,) are the regression's errors, `se` the standard error of the value that is asked for. Refused is a
    value that rests on fewer than `CARRIERS` rows or on an effective sample under `min_effective`, one whose weights
    are adrift, and one whose bias by unsupported candidates may exceed half a standard error.
    """
    name = candidates[found.thinnest]
    gap = (
        f"{found.thinnest_mass:.0%} of what is asked about goes to {name}, which served {found.thinnest_rows:,} of "
        f"{found.n:,}"
    )
    thin = "too little overlap between the logging policy and this one"
    if found.carriers < CARRIERS:
        return (
            f"{thin}: {found.carriers:.1f} of {found.n:,} logged requests carry the error of its value, and "
            f"{CARRIERS:.0f} must. {gap}. {_needed(found.n, found.carriers, CARRIERS)}"
        )
    if found.effective < min_effective:
        return (
            f"{thin}: {found.n:,} logged requests are worth {found.effective:.1f}, and {min_effective:.0f} are asked "
            f"for. {gap}. {_needed(found.n, found.effective, min_effective)}"
        )
    if found.unsupported * float(np.sqrt((residual**2).mean())) > BIASED * se:
        return (
            f"{thin}: {found.unsupported:.1%} of it goes to candidates that the log never asked. {gap}. More of the "
            "same log cannot settle it: give every candidate some exploration, or probe"
        )
    if abs(found.drift) > ADRIFT:
        how = "what the policy does was hardly drawn yet" if found.drift < 0 else "logged propensities are too small"
        return (
            f"the importance weights average {found.mean_weight:.2f}, {abs(found.drift):.1f} standard errors from what "
            f"they must: {how}. {gap}. Check that each propensity is that of its draw; if so, log more, or probe"
        )
    return None


def _needed(n: int, have: float, least: float) -> str:
    if have < 1:
        return "Probe some hundred requests, or let the logging policy explore those candidates more"
    more = int(np.ceil(n * (least / have - 1) / 10) * 10)
    return f"About {more:,} more requests logged like these would settle it, or more exploration, or probes"
