"""How many more probes until it is known what a candidate is worth against the incumbent."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

PRIOR_DEVIATION, PRIOR_WEIGHT = 0.6, 5.0
"""What the standard deviation of a paired difference is taken for, and for how many probes that word counts: right or
wrong answers that agree two times in three differ by about that much."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What paired probes say of one candidate less the incumbent, and what is missing."""

    probes: int
    mean: float
    """Of the differences in utility; NaN where there is none yet."""
    low: float
    high: float
    decided: bool
    """Whether the interval lies on one side of zero."""
    for_width: int
    """More probes until the interval is no wider than plus or minus the asked width."""
    for_decision: int | None
    """More probes until four in five such cases are decided, should the mean stay; None where it is zero."""

    @property
    def more(self) -> int:
        """The smaller of both; zero where it is decided."""
        if self.decided:
            return 0
        return self.for_width if self.for_decision is None else min(self.for_width, self.for_decision)


def probes_needed(difference: Floats, width: float = 0.05, level: float = 0.95) -> Needed:
    """Return what differences (n,) of utility, candidate less incumbent on the same requests, leave to be learned.

    NaN is left out. The deviation is shrunk to a stated guess, so that three equal differences are no certainty.
    Raises ValueError unless `width` is above zero and `level` in (0, 1).
    """
    if not width > 0 or not 0 < level < 1:
        raise ValueError(f"probes_needed: width = {width!r} must be above zero, and level = {level!r} in (0, 1)")
    known = difference[np.isfinite(difference)]
    n = len(known)
    squares = float(((known - known.mean()) ** 2).sum()) if n else 0.0
    freedom = PRIOR_WEIGHT + max(n - 1, 0)
    deviation = math.sqrt((squares + PRIOR_WEIGHT * PRIOR_DEVIATION**2) / freedom)
    quantile = float(stats.t.ppf(0.5 + level / 2, freedom))
    for_width = max(math.ceil((quantile * deviation / width) ** 2) - n, 0)
    if not n:
        return Needed(0, math.nan, -math.inf, math.inf, False, for_width, None)
    mean, half = float(known.mean()), quantile * deviation / math.sqrt(n)
    power = quantile + float(stats.norm.ppf(0.8))
    for_decision = None if mean == 0 else max(math.ceil((power * deviation / mean) ** 2) - n, 0)
    return Needed(n, mean, mean - half, mean + half, abs(mean) > half, for_width, for_decision)
