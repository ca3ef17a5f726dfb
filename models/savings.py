"""What a router saves: against a reference as a log tells it, in paired ratios, and on the frontier with hindsight."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.table import Table
from models.estimators import Estimate, EvaluationRefused, contrast, terms, usable
from models.intervals import Terms, weighted
from models.operating import prices
from models.overlap import overlap, refusal
from models.values import Gain, best, earned

Floats = NDArray[np.float64]


def paired_ratio(numerator: Floats, denominator: Floats) -> Gain:
    """Return the ratio of two paired means, its standard error by the delta method."""
    base = float(denominator.mean())
    if base == 0:
        return Gain(math.nan, math.nan, len(numerator))
    ratio = float(numerator.mean()) / base
    spread = Gain.of((numerator - ratio * denominator) / base)
    return Gain(ratio, spread.se, len(numerator))


@dataclass(frozen=True, slots=True)
class Overhead:
    """What routing itself cost over the requests that are looked at, in US dollars."""

    router: float = 0.0
    probes: float = 0.0
    judge: float = 0.0
    warming: float = 0.0

    @property
    def usd(self) -> float:
        """The sum."""
        return self.router + self.probes + self.judge + self.warming


@dataclass(frozen=True, slots=True)
class Saved:
    """What a router saved against a reference: the causal difference in cost, in US dollars a request."""

    reference: str
    reference_usd: float
    """What the reference would have cost."""
    gross: Estimate
    """The reference's cost less the router's."""
    net: Estimate
    """The same less what routing itself cost."""
    share: Estimate
    """Net, as a share of the reference's cost."""
    overhead_usd: float
    """What routing itself cost."""


def saved(
    table: Table,
    router: Floats,
    reference: Floats | None,
    expected_usd: Floats | None,
    *,
    name: str,
    overhead: Overhead = Overhead(),
    requests: int | None = None,
    level: float = 0.95,
    min_rows: int = 30,
    min_effective: float = 0.0,
) -> Saved:
    """Return what the policy `router` (n, m) saves against the policy `reference` (n, m), doubly robust.

    Without a reference it is what the log itself did: every served request at its own cost. `expected_usd` (n, m) are
    costs predicted on other rows. The overhead is that of `requests` requests, by default the table's. Both policies
    are asked of the same rows, so that what makes all requests dear or cheap is no error; the share's error is by the
    delta method. Raises EvaluationRefused where the rows cannot say, and ValueError for a reference that costs nothing.
    """
    rules = {"level": level, "min_rows": min_rows, "min_effective": min_effective}
    cost = table.cost_usd
    if reference is None:
        base, gross = _served(table, router, 1.0, expected_usd, level, min_rows, min_effective)
    else:
        base = contrast(table, cost, reference, None, expected_usd, **rules).value  # type: ignore[arg-type]
        gross = contrast(table, cost, reference, router, expected_usd, **rules)  # type: ignore[arg-type]
    if not base > 0:
        raise ValueError(f"savings: the reference {name!r} costs {base!r} US dollars a request; nothing can be saved")
    each = overhead.usd / (len(table) if requests is None else requests)
    net = replace(gross, value=gross.value - each, low=gross.low - each, high=gross.high - each)
    share = net.value / base
    if reference is None:
        _, around = _served(table, router, 1 - share, expected_usd, level, min_rows, min_effective)
    else:
        around = contrast(table, cost, (1 - share) * reference, router, expected_usd, **rules)  # type: ignore[arg-type]
    half = (around.high - around.value) / base
    return Saved(
        name,
        base,
        gross,
        net,
        replace(net, value=share, se=around.se / base, low=share - half, high=share + half),
        each,
    )


def _served(
    table: Table, router: Floats, scale: float, expected: Floats | None, level: float, min_rows: int, least: float
) -> tuple[float, Estimate]:
    """Return what the log's own choices cost a request, and `scale` times that less the router's cost."""
    rows = np.flatnonzero(usable(table, table.cost_usd))
    if len(rows) < min_rows:
        raise EvaluationRefused(
            f"no saving against the log: {len(rows)} requests carry a propensity and a cost, and {min_rows} are needed"
        )
    ours = terms(table, rows, table.cost_usd, router, expected)
    paid = table.cost_usd[rows, table.served[rows]]
    own = Terms(scale * paid, np.full(len(rows), scale), ours.residual)
    found = weighted(own - ours, table.sessions[rows], level)
    seen = overlap(router[rows], table.served[rows], table.propensity[rows], clusters=table.sessions[rows])
    why = refusal(seen, ours.residual, found.se, table.candidates, least)
    if why is not None:
        raise EvaluationRefused(f"no saving against the log: {why}.")
    return float(paid.mean()), replace(found, effective=seen.effective)


@dataclass(frozen=True, slots=True)
class Frontier:
    """Policies over all prices of money, and single candidates, as shares of the best single's quality and cost."""

    routed: Floats
    """(policies, 2): quality, cost"""
    single: Floats
    """(m, 2)"""

    @classmethod
    def of(cls, quality: Floats, cost: Floats, expected: Floats, expected_cost: Floats, incumbent: int) -> "Frontier":
        """Return the frontier on prompts whose outcomes are all known, every matrix (n, m)."""
        scale = np.array([quality[:, incumbent].mean(), cost[:, incumbent].mean()])
        single = np.stack([quality.mean(axis=0), cost.mean(axis=0)], axis=1) / scale
        points = []
        for per_dollar in prices(expected, expected_cost):
            choice = best(expected - per_dollar * expected_cost if per_dollar else expected)
            points.append((earned(quality, choice).mean(), earned(cost, choice).mean()))
        return cls(np.array(points) / scale, single)

    def hindsight(self, ratio: float) -> float:
        """Return the most that could have been saved at this quality with the price picked on these very prompts.

        Policies may be mixed: the convex hull counts. An upper bound, never a promise.
        """
        return _saving(np.concatenate([self.routed, self.single]), ratio)

    def zero_router(self, ratio: float) -> float:
        """Return what mixing single candidates at random saves: routing without looking at the request."""
        return _saving(self.single, ratio)


def _saving(points: Floats, ratio: float) -> float:
    """Return one minus the least cost of a mixture of two points whose quality reaches the ratio; zero at the worst."""
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        return math.nan
    over, under = known[known[:, 0] >= ratio], known[known[:, 0] < ratio]
    least = min([1.0, *over[:, 1]])
    for quality, cost in over:
        share = (quality - ratio) / (quality - under[:, 0])
        least = min([least, *(share * under[:, 1] + (1 - share) * cost)])
    return 1.0 - float(least)
