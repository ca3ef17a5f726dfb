"""Are the arms as large as they were meant to be? If not, something deals or logs wrongly, and no result is sound.

The sequential test of Lindon and Malek 2022, "Anytime-Valid Inference for Multinomial Count Data" (NeurIPS): under the
planned shares the ratio of the Dirichlet-multinomial to the multinomial likelihood exceeds 1 / alpha with probability
alpha at most, however often it is looked at.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import chi2

Floats = NDArray[np.float64]

CONCENTRATION = 1000.0
"""Of the Dirichlet prior around the planned shares: at one half it expects a deviation of about 1.6 points."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The units of each arm against their planned shares."""

    units: int
    planned: float
    """The challenger's share as it was drawn, averaged over units."""
    seen: float
    """The challenger's share as it turned out."""
    p: Floats
    """(looks,) Always-valid: the smallest so far."""
    p_at_end: float
    """Chi-square: valid at one look, which is fixed beforehand."""

    def alarm(self, alpha: float, ended: bool) -> NDArray[np.bool_]:
        """Return at which looks the shares are wrong, (looks,); the chi-square counts, at the last, once it ended.

        Each of the two tests errs with half of `alpha`.
        """
        found = self.p <= alpha / 2
        if ended and self.p_at_end <= alpha / 2 and len(found):
            found = found.copy()
            found[-1] = True
        return found


def log_e(counts: ArrayLike, shares: ArrayLike, concentration: float = CONCENTRATION) -> Floats:
    """Return the logarithm of the e-value of counts (..., k) against shares (k,).

    >>> round(float(log_e([4800, 5200], [0.5, 0.5])), 2)
    6.08
    """
    counts = np.asarray(counts, dtype=np.float64)
    shares = _shares(shares)
    prior = concentration * shares
    total = counts.sum(axis=-1)
    mixed = gammaln(concentration) - gammaln(concentration + total) + (gammaln(prior + counts) - gammaln(prior)).sum(-1)
    return np.asarray(mixed - counts @ np.log(shares))


def chi_square(counts: ArrayLike, shares: ArrayLike) -> float:
    """Return Pearson's p-value of counts (k,) against shares (k,), which are scaled to one; 1 where nothing came."""
    counts = np.asarray(counts, dtype=np.float64)
    expected = _shares(shares) * counts.sum()
    if not counts.sum():
        return 1.0
    return float(chi2.sf((np.square(counts - expected) / expected).sum(), len(counts) - 1))


def mismatch(challenger: NDArray[np.bool_], share: Floats, looks: NDArray[np.intp]) -> Mismatch:
    """Return the test of units in the order they were dealt: `challenger` and its share at that moment, both (units,).

    `looks` are numbers of units. A share that changed (a ramp) is a stage of its own: the product of the stages'
    e-values is one, and their chi-squares add up.
    """
    total = np.zeros(len(looks))
    statistic, freedom = 0.0, 0
    for stage in np.unique(share):
        inside = share == stage
        dealt = np.stack([np.cumsum(inside & ~challenger), np.cumsum(inside & challenger)], axis=-1)
        shares = np.array([1 - stage, stage])
        total += log_e(np.where(looks[:, None] > 0, dealt[looks - 1], 0), shares)
        counts = dealt[-1]
        expected = shares * counts.sum()
        statistic += float((np.square(counts - expected) / expected).sum())
        freedom += 1
    p = np.exp(-np.maximum.accumulate(np.maximum(total, 0.0))) if len(looks) else np.zeros(0)
    n = len(challenger)
    return Mismatch(
        units=n, planned=float(share.mean()) if n else 0.5, seen=float(challenger.mean()) if n else 0.5, p=p,
        p_at_end=float(chi2.sf(statistic, freedom)) if freedom else 1.0,
    )  # fmt: skip


def _shares(shares: ArrayLike) -> Floats:
    values = np.asarray(shares, dtype=np.float64)
    if not (values > 0).all():
        raise ValueError(f"mismatch: the shares {values.tolist()} must all be above zero; leave out an arm without any")
    return np.asarray(values / values.sum())
