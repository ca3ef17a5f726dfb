"""Whether a held answer is worth more than asking: the cache as one more candidate."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from beastmode.objective import Objective
from beastmode.records import Prediction


@dataclass(frozen=True, slots=True)
class Worth:
    """A held answer beside the best candidate, in units of utility."""

    hit: float
    best: float
    candidate: str
    """The best candidate."""

    @property
    def serve(self) -> bool:
        """Whether the held answer should be served."""
        return self.hit >= self.best

    @property
    def reason(self) -> str:
        """The comparison in words."""
        sign = ">=" if self.serve else "<"
        return f"worth of the held answer {self.hit:.3f} {sign} {self.best:.3f} of {self.candidate}"


def worth(
    predictions: Sequence[Prediction],
    objective: Objective,
    *,
    valid: float,
    maker: str | None = None,
    latency_ms: float = 0.0,
    eligible: Collection[str] | None = None,
) -> Worth:
    """Compare a held answer, true with probability `valid`, with what each candidate promises.

    The held answer has the quality that is expected of its `maker` (of the best candidate where the maker is not
    known), times `valid`, costs nothing and takes `latency_ms`; a wrong answer has the quality zero. A candidate has
    its predicted utility: quality less the prices of its money and time. Candidates whose utility is unknown (NaN)
    are passed over. The comparison uses predictions alone, never the drawn plan, so that the draw keeps its
    propensity where the model is asked.
    """
    there = [each for each in predictions if eligible is None or each.candidate in eligible]
    known = [each for each in there if each.utility == each.utility]
    if not known:
        return Worth(valid, float("-inf"), "none")
    best = max(known, key=lambda each: each.utility)
    quality = next((each.quality for each in predictions if each.candidate == maker), best.quality)
    hit = objective.utility(np.array([valid * quality]), np.zeros(1), np.array([latency_ms]))
    return Worth(float(hit[0]), best.utility, best.candidate)


def still_valid(age_seconds: float, half_life_seconds: float | None, score: float | None = None) -> float:
    """Return P(a held answer is still true), from its age, and the verifier's score where another question got it.

    The score counts as a probability where it is one; it is clipped to [0, 1].

    >>> still_valid(60.0, half_life_seconds=60.0)
    0.5
    """
    decay = 1.0 if half_life_seconds is None else 0.5 ** (max(age_seconds, 0.0) / half_life_seconds)
    return decay * (1.0 if score is None else min(max(score, 0.0), 1.0))
