"""What training a selector gives: a scorer to serve, and what it would have said of requests it had not seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray

from beastmode.objective import Objective
from beastmode.scoring import Predicted, Scorer
from models.examples import Examples
from models.usage import Amounts
from models.values import Gain, best_margin, decide, earned, prefer

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Learning:
    """How selectors are learned and tuned."""

    folds: Annotated[int, Ge(2), Le(20)] = 5
    trials: Annotated[int, Ge(0)] = 24
    """Configurations that tuning tries; zero keeps the stated defaults."""
    caution: Annotated[float, Ge(0), Le(5)] = 1.0
    """Standard errors by which a cross-validated gain is discounted before it is believed."""
    assurance: Annotated[float, Ge(0), Le(5)] = 1.0
    """Standard errors that lie between an operating point's quality and what it promises to keep."""
    prototypes: Annotated[int, Ge(1), Le(4096)] = 1024
    """The most groups of requests that a bundle remembers."""
    rank: Annotated[int, Ge(0), Le(8)] = 4
    """Factors beside the mean score."""
    rounds: Annotated[int, Ge(1), Le(400)] = 64
    """Trees for each factor."""
    leaves: Annotated[int, Ge(2), Le(32)] = 7
    learning_rate: Annotated[float, Gt(0), Lt(1)] = 0.05
    feature_share: Annotated[float, Gt(0), Le(1)] = 0.3
    """Columns that a tree may look at."""
    l2: Annotated[float, Ge(0)] = 50.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained selector."""

    scorer: Scorer
    out_of_fold: Predicted
    """Of every training request, by models that had not seen it."""
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judge:
    """Values predicted qualities by what came true, on the rows where every active candidate was observed."""

    objective: Objective
    rows: NDArray[np.intp]
    cost: Floats
    """(rows, m) predicted"""
    latency: Floats
    realised: Floats
    active: NDArray[np.bool_]
    incumbent: int
    caution: float

    @classmethod
    def of(cls, known: Examples, amounts: Amounts, caution: float) -> "Judge":
        """Make a judge of predicted output tokens and latencies."""
        rows = np.flatnonzero(known.judged)
        tokens, latency, *_ = amounts
        return cls(
            known.objective,
            rows,
            known.rates.cost_usd(known.table.expected_tokens[rows], tokens[rows]),
            latency[rows],
            known.realised[rows],
            known.active,
            known.incumbent,
            caution,
        )

    def utility(self, quality: Floats) -> Floats:
        """Return the utilities that qualities of the judged rows promise, (rows, m); NaN for inactive candidates."""
        return np.where(self.active, prefer(self.objective, quality, self.cost, self.latency), np.nan)

    def margin(self, quality: Floats) -> tuple[float, Gain]:
        """Return the best margin over the incumbent for qualities of the judged rows, and the gain it earns."""
        return best_margin(self.utility(quality), self.realised, self.incumbent, self.caution)

    def earned(self, quality: Floats) -> Floats:
        """Return what the policy of the best margin earns on each judged row, (rows,)."""
        margin, _ = self.margin(quality)
        return earned(self.realised, decide(self.utility(quality), self.incumbent, margin))
