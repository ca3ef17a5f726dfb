"""What a policy would earn, from interactions of another: estimators of one number a row, and contrasts of policies.

Two kinds of held-out rows carry evidence. A *probed* row is known for every candidate: a policy's outcome there is
exact. A *logged* row is known for the candidate that served, which a policy of known propensity had drawn: it counts
by an importance weight, the policy's probability over the propensity. Both kinds are unbiased for the same value when
probes are drawn at random, so they are joined by inverse variance.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.table import Table
from models import thresholds
from models.intervals import Estimate, Terms, mean, weighted
from models.overlap import EvaluationRefused, overlap, refusal
from models.thresholds import Masses

__all__ = [
    "ESTIMATORS",
    "Estimate",
    "EvaluationRefused",
    "Masses",
    "contrast",
    "dm",
    "dr",
    "ips",
    "mean",
    "snips",
    "switch",
]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def ips(
    weight: Floats,
    outcome: Floats,
    expected_served: Floats,
    expected_policy: Floats,
    masses: Masses | None = None,
    clip: float | None = None,
) -> Terms:
    """Return weight x outcome (Horvitz and Thompson 1952): unbiased but for the clipping, of the largest variance.

    Weights are clipped at `clip` (Ionides 2008), by default where `switch` would put its threshold.
    """  # fmt: skip
    if clip is None:
        clip = np.inf
        if masses is not None:
            tried = thresholds.tried(weight)
            kept = np.minimum(weight, tried[:, None]) * outcome
            clip = thresholds.least(tried, kept, outcome, masses.clipped(tried))
    clipped = np.minimum(weight, clip)
    return Terms(clipped * outcome, clipped, outcome)


def snips(
    weight: Floats, outcome: Floats, expected_served: Floats, expected_policy: Floats, masses: Masses | None = None
) -> Terms:
    """Return terms whose mean is the weighted mean outcome and whose spread is its delta-method error.

    Self-normalised IPS (Swaminathan and Joachims 2015): a shift of every outcome shifts it as much, which IPS is not
    fit for; its bias fades as 1 / n.
    """
    value = np.average(outcome, weights=weight) if weight.sum() > 0 else 0.0
    scaled = weight / max(weight.mean(), 1e-12)
    return Terms(np.asarray(value + scaled * (outcome - value)), scaled, np.asarray(outcome - value))


def dm(
    weight: Floats, outcome: Floats, expected_served: Floats, expected_policy: Floats, masses: Masses | None = None
) -> Terms:
    """Return the direct method: what a regression expects. Its interval knows nothing of the regression's own error."""
    return Terms(expected_policy, np.zeros_like(weight), outcome - expected_served)


def dr(
    weight: Floats, outcome: Floats, expected_served: Floats, expected_policy: Floats, masses: Masses | None = None
) -> Terms:
    """Return the expectation under the policy plus the weighted error of the expectation at what was served.

    Doubly robust (Dudik, Langford and Li 2011): unbiased where propensities are right, whatever the regression, as long
    as it was fitted on other rows; the better it is, the narrower the interval.
    """
    residual = outcome - expected_served
    return Terms(expected_policy + weight * residual, weight, residual)


def switch(
    weight: Floats,
    outcome: Floats,
    expected_served: Floats,
    expected_policy: Floats,
    masses: Masses | None = None,
    threshold: float | None = None,
) -> Terms:
    """Return DR in which weights above a threshold are dropped and the regression alone is believed.

    SWITCH-DR (Wang, Agarwal and Dudik 2017). Without a threshold it is the one that minimises their bound of the mean
    squared error (section 3.2): sampled variance plus the square of the policy's mass above the threshold times the
    largest error of the regression. That takes the whole logging policy (`masses`); where only the propensity of what
    was served is known nothing is dropped. The bound is cautious: it drops weights of which less than one was due. The
    interval does not hold the bias that remains.
    """
    residual = outcome - expected_served
    if threshold is None:
        threshold = np.inf
        if masses is not None:
            tried = thresholds.tried(weight)
            kept = np.where(weight <= tried[:, None], weight, 0.0) * residual + expected_policy
            threshold = thresholds.least(tried, kept, residual, masses.above(tried))
    dropped = np.where(weight <= threshold, weight, 0.0)
    return Terms(expected_policy + dropped * residual, dropped, residual)


Estimator = Callable[[Floats, Floats, Floats, Floats, Masses | None], Terms]
ESTIMATORS: dict[str, Estimator] = {"ips": ips, "snips": snips, "dm": dm, "dr": dr, "switch": switch}


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
    min_effective: float = 0.0,
) -> Estimate:
    """Return the mean outcome of policy `plus`, or of `plus` less `minus` on the same rows.

    `outcome` is (n, m): quality, cost or utility as observed, NaN elsewhere. `plus` and `minus` are probabilities
    (n, m); `expected` are predictions (n, m) of the outcome that were fitted on other rows (zeros where None).
    Raises EvaluationRefused when neither enough probes nor enough logged rows with propensities are there, or these
    overlap too little: rest on too few rows (`models.overlap.refusal`), or are worth under `min_effective`.
    """
    drawn = plus if minus is None else plus - minus
    # What is asked about no request need not be known: of a candidate that came later, or has gone, mostly nothing is.
    needed = (drawn != 0).any(axis=0)
    # A probe that was chosen for its text is no random sample: its row counts by what was served, if by anything.
    complete = ~np.isnan(outcome[:, needed]).any(axis=1) & table.probed
    logged = np.flatnonzero(~complete & usable(table, outcome))
    parts: list[Estimate] = []
    if complete.sum() >= min_rows:
        exact = mean((drawn * outcome)[complete][:, needed].sum(axis=1), table.sessions[complete], level)
        parts.append(replace(exact, probed=exact.n))
    why = None
    if len(logged) >= min_rows:
        policies = [plus] if minus is None else [plus, minus]
        found, why = _logged(table, logged, outcome, policies, expected, estimator, level, min_effective)
        parts += [] if why else [found]
    if not parts:
        raise EvaluationRefused(_why_refused(table, int(complete.sum()), len(logged), min_rows, why))
    return _joined(parts)


def usable(table: Table, outcome: Floats) -> NDArray[np.bool_]:
    """Return the rows (n,) that say what the candidate that served earned, and with which probability it was drawn."""
    rows = np.arange(len(table))
    known = ~np.isnan(outcome[rows, np.maximum(table.served, 0)])
    return np.asarray((table.served >= 0) & known & (table.propensity > 0))


def terms(
    table: Table, rows: Rows, outcome: Floats, policy: Floats, expected: Floats | None, estimator: str = "dr"
) -> Terms:
    """Return an estimator's terms of a policy (n, m) on some usable rows of a table; see `contrast` for the rest."""
    at = (rows, table.served[rows])
    predicted = np.zeros_like(outcome) if expected is None else np.nan_to_num(expected)
    under = (policy[rows] * predicted[rows]).sum(axis=1)
    return ESTIMATORS[estimator](policy[at] / table.propensity[rows], outcome[at], predicted[at], under, None)


def _logged(
    table: Table,
    rows: Rows,
    outcome: Floats,
    policies: list[Floats],
    expected: Floats | None,
    estimator: str,
    level: float,
    min_effective: float,
) -> tuple[Estimate, str | None]:
    """Return the estimate of a policy, or of the first less the second, and why it is refused, if it is."""
    each = [terms(table, rows, outcome, policy, expected, estimator) for policy in policies]
    joint, drawn = (each[0], policies[0]) if len(each) == 1 else (each[0] - each[1], policies[0] - policies[1])
    sessions, served, propensity = table.sessions[rows], table.served[rows], table.propensity[rows]
    found = weighted(joint, sessions, level)
    if not drawn[rows].any():
        return found, None  # two policies that decide alike: nothing has to be weighed
    seen = overlap(drawn[rows], served, propensity, clusters=sessions)
    effective = min(overlap(policy[rows], served, propensity).effective for policy in policies)
    why = refusal(replace(seen, effective=effective), joint.residual, found.se, table.candidates, min_effective)
    return replace(found, effective=effective), why


def _joined(parts: list[Estimate]) -> Estimate:
    """Return the inverse-variance mean of independent estimates of the same value."""
    if any(part.se == 0 for part in parts):
        # A part without any spread (two policies that decide alike) has no usable variance: pool by rows instead.
        weights = np.array([part.n for part in parts], dtype=np.float64)
    else:
        weights = np.array([1 / part.se**2 for part in parts])
    weights /= weights.sum()
    value = float(sum(w * part.value for w, part in zip(weights, parts, strict=True)))
    se = float(np.sqrt(sum((w * part.se) ** 2 for w, part in zip(weights, parts, strict=True))))
    # The widest quantile of the parts serves the join, so that it errs on the wide side.
    half = max(((part.high - part.value) / part.se for part in parts if 0 < part.se < np.inf), default=0.0) * se
    return Estimate(
        value, se, value - half, value + half, sum(part.n for part in parts),
        sum(part.probed for part in parts), sum(part.effective for part in parts),
    )  # fmt: skip


def _why_refused(table: Table, complete: int, logged: int, min_rows: int, why: str | None) -> str:
    unknown = int(((table.served >= 0) & ~(table.propensity > 0)).sum())
    if unknown and not logged:
        return (
            f"no off-policy value: the propensity of {unknown} of {len(table)} held-out requests is unknown "
            f"(propensity_source = unknown) and {complete} were probed on every candidate. Log decisions with their "
            f"propensities (metadata.beastmode, or the journal), or probe at least {min_rows} requests."
        )
    probed = f"{complete} of {len(table)} held-out requests are known for every candidate ({min_rows} are enough)"
    if why is None:
        return (
            f"no off-policy value: {probed} and {logged} carry a propensity. Probe at least {min_rows} requests, or "
            "log more."
        )
    return f"no off-policy value: {probed}; {why}. Probes of {min_rows} requests would do as well."
