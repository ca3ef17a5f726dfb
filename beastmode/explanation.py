"""Why a candidate was chosen, what the others promised, and what would have to change."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import Bundle
from beastmode.policies import Greedy
from beastmode.records import Prediction, Request


def reason(
    bundle: Bundle,
    column: int,
    utility: NDArray[np.float64],
    eligible: Sequence[bool],
    chances: Sequence[float],
    kept: bool,
) -> str:
    """Return one line on why the candidate in `column` was drawn; `utility` is (m,)."""
    names = [candidate.name for candidate in bundle.candidates]
    name = names[column]
    if kept:
        return f"{name}: the session stays with its first choice"
    values = utility.tolist()
    ranked = sorted(
        (c for c, yes in enumerate(eligible) if yes), key=lambda c: values[c] if values[c] == values[c] else -1e300
    )
    if len(ranked) == 1:
        return f"{name}: the only eligible candidate"
    best = ranked[-1]
    if column != best:
        greedy = _greedy(bundle)
        gap = f"{values[best] - values[column]:.3f}"
        if greedy is not None and greedy.incumbent == column and chances[column] >= max(chances):
            return (
                f"{name}: the incumbent stays, {names[best]} promises {gap} more and the margin is {greedy.margin:.3f}"
            )
        return f"{name}: explored with probability {chances[column]:.3f}, {names[best]} promises {gap} more"
    second = ranked[-2]
    lead = values[best] - values[second]
    ahead = "the only priced one" if lead != lead else f"{lead:.3f} ahead of {names[second]}"
    return f"{name}: highest utility {values[best]:.3f}, {ahead}"


def _greedy(bundle: Bundle) -> Greedy | None:
    policy = getattr(bundle.policy, "base", bundle.policy)
    return policy if isinstance(policy, Greedy) else None


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate in an explanation."""

    prediction: Prediction
    probability: float
    gap: float | None
    """The utility it would have to gain to become the preferred one; zero or less for the preferred itself."""
    per_dollar: float | None
    """The price of money at which it would be the preferred one instead, all else equal; None where there is none."""
    excluded: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What speaks for and against each candidate; printing it gives a table."""

    request_id: str
    preferred: str
    """The candidate that the policy draws most often for this request."""
    rows: tuple[Row, ...]
    """By utility, the best first; excluded candidates last."""
    per_dollar: float
    margin: float
    incumbent: str | None
    contributions: Mapping[str, Any]
    """What the scorer says of its own prediction."""

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the explanation as lines that a person wants to read."""
        head = ("", "quality", "cost $", "90% $", "latency ms", "90% ms", "utility", "chance", "gap", "flips at $1 =")
        table = [head, *(_cells(row, row.prediction.candidate == self.preferred) for row in self.rows)]
        notes = [f"preferred: {self.preferred}; one dollar is worth {self.per_dollar:g} of quality"]
        if self.incumbent is not None:
            notes.append(f"incumbent: {self.incumbent}, left only for more than {self.margin:.4f} of utility")
        notes += [f"excluded: {row.prediction.candidate}, {row.excluded}" for row in self.rows if row.excluded]
        return [*aligned(table), *notes]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _cells(row: Row, preferred: bool) -> tuple[str, ...]:
    known = row.prediction
    return (
        ("> " if preferred else "  ") + known.candidate,
        f"{known.quality:.3f}",
        "unpriced" if known.cost_usd is None else f"{known.cost_usd:.6f}",
        _interval(known.cost_usd_low, known.cost_usd_high, ".6f"),
        "-" if known.latency_ms is None else f"{known.latency_ms:.0f}",
        _interval(known.latency_ms_low, known.latency_ms_high, ".0f"),
        "-" if known.utility != known.utility else f"{known.utility:.3f}",
        f"{row.probability:.3f}",
        "-" if row.gap is None else f"{row.gap:.3f}",
        "-" if row.per_dollar is None else f"{row.per_dollar:.4g}",
    )


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "-" if low is None or high is None else f"{low:{form}}..{high:{form}}"


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines: the first column to the left, the others to the right.

    >>> aligned([("", "n"), ("one", "1")])
    ['     n', 'one  1']
    """
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in table
    ]


def explain(
    bundle: Bundle,
    request: Request,
    predictions: Sequence[Prediction],
    chances: NDArray[np.float64],
    excluded: Mapping[str, str],
) -> Explanation:
    """Return the explanation of a request's predictions under a bundle's policy; `chances` is (m,)."""
    greedy = _greedy(bundle)
    incumbent = None if greedy is None or greedy.incumbent is None else bundle.candidates[greedy.incumbent].name
    margin = 0.0 if greedy is None or incumbent is None else greedy.margin
    preferred = predictions[int(np.argmax(chances))]
    rows = []
    for prediction, chance in zip(predictions, chances.tolist(), strict=True):
        needed = margin * ((preferred.candidate == incumbent) - (prediction.candidate == incumbent))
        gap = preferred.utility - prediction.utility + needed
        out = excluded.get(prediction.candidate)
        other = out is None and prediction is not preferred
        rows.append(
            Row(
                prediction,
                chance,
                None if out or gap != gap else (gap if other else 0.0),
                _flip(bundle, preferred, prediction, needed) if other else None,
                out,
            )
        )
    rows.sort(key=lambda row: (row.excluded is not None, -_number(row.prediction.utility)))
    encoding = bundle.encoder.encode((request.text,))
    return Explanation(
        request.request_id,
        preferred.candidate,
        tuple(rows),
        bundle.objective.per_dollar,
        margin,
        incumbent,
        bundle.scorer.contributions(encoding),
    )


def _number(value: float) -> float:
    return value if value == value else -1e300


def _flip(bundle: Bundle, preferred: Prediction, other: Prediction, needed: float) -> float | None:
    """Return the per_dollar at which `other` draws level with `preferred` by what it needs, None where none does.

    quality' - per_dollar * cost' = quality - per_dollar * cost + needed, solved for per_dollar; time is charged as now.
    """
    if preferred.cost_usd is None or other.cost_usd is None or preferred.cost_usd == other.cost_usd:
        return None
    lead = preferred.quality - other.quality + needed
    if bundle.objective.per_second:
        if preferred.latency_ms is None or other.latency_ms is None:
            return None
        lead -= bundle.objective.per_second * (preferred.latency_ms - other.latency_ms) / 1000
    level = lead / (preferred.cost_usd - other.cost_usd)
    return level if level >= 0 else None
