"""What a policy would earn, from interactions of another: one number a row, and the interval of their mean.

Two kinds of held-out rows carry evidence. A *probed* row is known for every candidate: a policy's outcome there is
exact. A *logged* row is known for the candidate that served, which a policy of known propensity had drawn: it counts
by importance weight (IPS; Horvitz and Thompson 1952), by self-normalised weight (SNIPS; Swaminathan and Joachims
2015), or doubly robustly (DR; Dudik, Langford and Li 2011) around predictions fitted on other rows. Both kinds are
unbiased for the same value when probes are drawn at random, so they are joined by inverse variance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from features.table import Table

Floats = NDArray[np.float64]


class EvaluationRefused(ValueError):
    """The rows at hand cannot carry an honest value; the message says which rows would."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval, and what it rests on."""

    value: float
    se: float
    low: float
    high: float
    n: int
    """Rows used."""
    probed: int = 0
    """Rows known for every candidate."""
    effective: float = 0.0
    """Effective sample size of the logged rows: (sum of weights)^2 / sum of squared weights."""


def ips(weight: Floats, outcome: Floats, expected_served: Floats, expected_policy: Floats) -> Floats:
    """Return weight x outcome: unbiased, of the largest variance."""
    return weight * outcome


def snips(weight: Floats, outcome: Floats, expected_served: Floats, expected_policy: Floats) -> Floats:
    """Return contributions whose mean is SNIPS and whose spread is its delta-method error."""
    value = np.average(outcome, weights=weight) if weight.sum() > 0 else 0.0
    return np.asarray(value + weight * (outcome - value) / max(weight.mean(), 1e-12))


def dr(weight: Floats, outcome: Floats, expected_served: Floats, expected_policy: Floats) -> Floats:
    """Return the prediction under the policy plus the weighted error of the prediction at what was served."""
    return expected_policy + weight * (outcome - expected_served)


Estimator = Callable[[Floats, Floats, Floats, Floats], Floats]
ESTIMATORS: dict[str, Estimator] = {"ips": ips, "snips": snips, "dr": dr}


def mean(contributions: Floats, clusters: NDArray[np.str_], level: float = 0.95) -> Estimate:
    """Return the mean of contributions with a t interval whose error is clustered, by session say.

    The cluster-robust error of a mean (Liang and Zeger 1986) is the root of the summed squares of the clusters'
    residual sums, with the factor G / (G - 1) for G clusters.

    >>> mean(np.array([0.0, 1.0, 1.0, 0.0]), np.array(["a", "b", "c", "d"])).value
    0.5
    """
    n = len(contributions)
    value = float(contributions.mean())
    _, group = np.unique(clusters, return_inverse=True)
    sums = np.bincount(group, weights=contributions - value)
    groups = len(sums)
    if groups < 2:
        return Estimate(value, np.inf, -np.inf, np.inf, n)
    se = float(np.sqrt((sums**2).sum() * groups / (groups - 1)) / n)
    half = float(stats.t.ppf(0.5 + level / 2, groups - 1)) * se
    return Estimate(value, se, value - half, value + half, n)


def contrast(
    table: Table,
    outcome: Floats,
    plus: Floats,
    minus: Floats | None = None,
    expected: Floats | None = None,
    *,
    estimator: str = "dr",
    level: float = 0.95,
    min_rows: int = 30,
    min_effective: float = 20.0,
) -> Estimate:
    """Return the mean outcome of policy `plus`, or of `plus` less `minus` on the same rows.

    `outcome` is (n, m): quality, cost or utility as observed, NaN elsewhere. `plus` and `minus` are probabilities
    (n, m); `expected` are predictions (n, m) of the outcome that were fitted on other rows (zeros where None).
    Raises EvaluationRefused when neither enough probes nor enough logged rows with propensities are there.
    """
    drawn = plus if minus is None else plus - minus
    known = ~np.isnan(outcome)
    # A probe that was chosen for its text is no random sample: its row counts by what was served, if by anything.
    complete = known.all(axis=1) & table.probed
    rows = np.arange(len(table))
    served_known = (table.served >= 0) & known[rows, np.maximum(table.served, 0)]
    logged = ~complete & served_known & (table.propensity > 0)

    parts: list[tuple[Estimate, int, float]] = []
    if complete.sum() >= min_rows:
        exact = (drawn[complete] * outcome[complete]).sum(axis=1)
        parts.append((mean(exact, table.sessions[complete], level), int(complete.sum()), 0.0))
    if logged.sum() >= min_rows:
        served = table.served[logged]
        at = (rows[logged], served)
        predicted = np.zeros_like(outcome) if expected is None else np.nan_to_num(expected)
        method = ESTIMATORS[estimator]
        total = np.zeros(int(logged.sum()))
        smallest = np.inf
        for sign, policy in ((1.0, plus), (-1.0, minus)):
            if policy is None:
                continue
            weight = policy[at] / table.propensity[logged]
            smallest = min(smallest, weight.sum() ** 2 / max((weight**2).sum(), 1e-300))
            under = (policy[logged] * predicted[logged]).sum(axis=1)
            total += sign * method(weight, outcome[at], predicted[at], under)
        if smallest >= min_effective:
            parts.append((mean(total, table.sessions[logged], level), 0, float(smallest)))
    if not parts:
        raise EvaluationRefused(_why_refused(table, int(complete.sum()), int(logged.sum()), min_rows))
    return _joined(parts, level)


def _joined(parts: list[tuple[Estimate, int, float]], level: float) -> Estimate:
    """Return the inverse-variance mean of independent estimates of the same value."""
    estimates = [estimate for estimate, _, _ in parts]
    n = sum(estimate.n for estimate in estimates)
    probed, effective = sum(p for _, p, _ in parts), sum(e for _, _, e in parts)
    if any(estimate.se == 0 for estimate in estimates):
        # A part without any spread (two policies that decide alike) has no usable variance: pool by rows instead.
        weights = np.array([estimate.n / n for estimate in estimates])
    else:
        precision = np.array([1 / estimate.se**2 for estimate in estimates])
        weights = precision / precision.sum()
    value = float(sum(w * e.value for w, e in zip(weights, estimates, strict=True)))
    se = float(np.sqrt(sum((w * e.se) ** 2 for w, e in zip(weights, estimates, strict=True))))
    # The widest quantile of the parts serves the join, so that it errs on the wide side.
    quantile = max(((e.high - e.value) / e.se for e in estimates if 0 < e.se < np.inf), default=0.0)
    half = quantile * se
    return Estimate(value, se, value - half, value + half, n, probed, effective)


def _why_refused(table: Table, complete: int, logged: int, min_rows: int) -> str:
    unknown = int(((table.served >= 0) & ~(table.propensity > 0)).sum())
    if unknown and not logged:
        return (
            f"no off-policy value: the propensity of {unknown} of {len(table)} held-out requests is unknown "
            f"(propensity_source = unknown) and {complete} were probed on every candidate. Log decisions with their "
            f"propensities (metadata.beastmode, or the journal), or probe at least {min_rows} requests."
        )
    return (
        f"no off-policy value: {complete} of {len(table)} held-out requests are known for every candidate and "
        f"{logged} carry a propensity with too little overlap between the logging policy and this one. Probe at least "
        f"{min_rows} requests, or log with more exploration."
    )
