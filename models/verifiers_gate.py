"""Whether a verifier may take the place of the one that serves: judged on one stream of questions kept back."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.verifiers_stream import Served

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contestant:
    """What a verifier makes of the stream, and from which score on it serves."""

    stream: Served
    threshold: float

    @property
    def good(self) -> Floats:
        """1 where a request is served right, else 0, (requests,)."""
        return ((self.stream.score >= self.threshold) & self.stream.right).astype(np.float64)

    @property
    def wrong(self) -> Floats:
        """1 where a request is served wrong, else 0, (requests,)."""
        return ((self.stream.score >= self.threshold) & ~self.stream.right).astype(np.float64)

    @property
    def net(self) -> Floats:
        """1 where a request is served right, -1 where it is served wrong, else 0, (requests,)."""
        return self.good - self.wrong

    def over(self, budget: float, delta: float) -> bool:
        """Return whether wrong answers are proven to be more than the budget."""
        return mean_low(self.wrong, self.stream.group, delta) > budget


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it."""

    promote: bool
    reason: str
    gain: float = 0.0
    """Right less wrong answers per request, more than those of what serves."""
    gain_low: float = 0.0
    """Its lower bound."""


def judge(
    new: Contestant, serving: Contestant | None, budget: float, margin: float, delta: float, live_low: float = 0.0
) -> Verdict:
    """Return whether `new` may serve; both are judged on the same requests, in the same order.

    It may not where it would serve nothing, or where its wrong answers are proven over the budget. It may where
    nothing serves, where what serves is proven over the budget (on the stream, or on traffic, where the lower bound
    of its wrong answers is `live_low`), and where its right less its wrong answers per request are not worse than
    those of what serves by more than `margin`, by their lower bound. Bounds hold with probability 1 - `delta` each;
    groups are the units. A wrong answer undoes at least what a right one is worth, so that a looser verifier is no
    better one.
    """
    if not np.isfinite(new.threshold):
        return Verdict(False, f"no threshold keeps the budget of {budget:g} wrong answers a request; nothing to serve")
    if new.over(budget, delta):
        seen = new.wrong.mean()
        return Verdict(False, f"it serves {seen:.4f} wrong answers a request, proven over the budget of {budget:g}")
    if serving is None:
        return Verdict(True, "no verifier serves yet", float(new.net.mean()))
    difference = new.net - serving.net
    gain, low = float(difference.mean()), mean_low(difference, new.stream.group, delta)
    told = f"right less wrong answers {gain:+.4f} a request (at least {low:+.4f})"
    if live_low > budget:
        return Verdict(True, f"what serves is proven over the budget on traffic (at least {live_low:.4f}); {told}",
                       gain, low)  # fmt: skip
    if serving.over(budget, delta):
        return Verdict(True, f"what serves is proven over the budget on questions kept back; {told}", gain, low)
    if low > -margin:
        return Verdict(True, f"not worse than what serves: {told}", gain, low)
    return Verdict(False, f"it may be worse than what serves by more than {margin:g}: {told}", gain, low)


def mean_low(values: Floats, group: NDArray[np.intp] | None, delta: float) -> float:
    """Return a lower bound of a mean whose groups are independent: the normal one, (requests,) -> its mean.

    Minus infinity where there are not two groups.
    """
    mean = float(values.mean())
    if group is None:
        group = np.arange(len(values))
    at = np.unique(group, return_inverse=True)[1]
    residual = np.bincount(at, values - mean)
    if len(residual) < 2:
        return -np.inf  # one group says nothing of how groups differ
    error = float(np.sqrt((residual**2).sum() * len(residual) / (len(residual) - 1))) / len(values)
    return mean - NormalDist().inv_cdf(1 - delta) * error
