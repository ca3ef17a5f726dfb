"""Exact tests and bounds of a share: what so many lost requests among so many say of the risk behind them."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

POWER = 0.8
"""The chance of passing at which the number of requests that would do is stated."""
MOST = 10_000_000
"""More requests than this are as good as none."""


def p_values(lost: int | Counts, asked: int | Counts, alpha: float) -> Floats:
    """Return P(no more than `lost` of `asked` requests are lost) were the risk `alpha`: the exact binomial test.

    Of the requests that leave the reference each is lost with the conditional risk, whichever they are, so that the
    same test serves both denominators. Nothing asked is no evidence: 1.
    """
    return np.asarray(binom.cdf(lost, asked, alpha), dtype=np.float64)


def passed(p: Floats, delta: float) -> int:
    """Return how many hypotheses a fixed sequence rejects: all before the first whose p-value exceeds `delta`."""
    failed = np.flatnonzero(p > delta)
    return int(failed[0]) if len(failed) else len(p)


def upper(lost: float, asked: float, delta: float) -> float:
    """Return the exact upper bound of a risk at confidence 1 - `delta` (Clopper and Pearson 1934).

    Counts that are no integers are those of an effective sample size.
    """
    return 1.0 if lost >= asked else float(beta.ppf(1 - delta, lost + 1, asked - lost))


def uppers(lost: Floats, asked: Floats, delta: float) -> Floats:
    """Return the same bound for each of many counts, less than all of what was asked.

    Counts that are no integers are those of an effective sample size.
    """
    return np.asarray(beta.ppf(1 - delta, lost + 1, asked - lost), dtype=np.float64)


def lower(lost: float, asked: float, delta: float) -> float:
    """Return the exact lower bound of a risk at confidence 1 - `delta`."""
    return 0.0 if lost == 0 else float(beta.ppf(delta, lost, asked - lost + 1))


def needed(risk: float, alpha: float, delta: float) -> int | None:
    """Return how many requests pass the test of `alpha` with probability `POWER` where the risk is `risk`.

    None where it is not under `alpha`, or so near that `MOST` would not do.
    """

    def enough(n: int) -> bool:
        return bool(p_values(int(binom.ppf(POWER, n, risk)), n, alpha) <= delta)

    if risk >= alpha or not enough(MOST):
        return None
    low, high = 0, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
