"""What every candidate promised, what speaks for the preferred one, and what would have to change."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import Bundle
from beastmode.deciding import greedy_of
from beastmode.influence import Influence, influences
from beastmode.neighbours import Near
from beastmode.records import Prediction, Request

NEVER = 1e6
"""A margin that no utility reaches: of a policy that always serves its incumbent."""


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate in an explanation."""

    prediction: Prediction
    probability: float
    gap: float | None
    """The utility it would have to gain to become the preferred one; zero or less for the preferred itself, None where
    no gain is enough."""
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
    """What the scorer says of its own prediction, a candidate at a time in the bundle's order."""
    influences: tuple[Influence, ...] = ()
    """What in the request moves the lead of the preferred candidate over the next one."""
    nearest: tuple[Near, ...] = ()
    """Where the log was nearest to the request: ids, never text (`python -m pipelines explain` reads them up)."""
    candidates: tuple[str, ...] = ()
    """In the bundle's order."""

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the explanation as lines that a person wants to read."""
        head = ("", "quality", "cost $", "90% $", "latency ms", "90% ms", "utility", "chance", "gap", "flips at $1 =")
        table = [head, *(_cells(row, row.prediction.candidate == self.preferred) for row in self.rows)]
        notes = [f"preferred: {self.preferred}; one dollar is worth {self.per_dollar:g} of quality"]
        if self.incumbent is not None:
            when = "never left" if self.margin >= NEVER else f"left only for more than {self.margin:.4f} of utility"
            notes.append(f"incumbent: {self.incumbent}, {when}")
        notes += [f"excluded: {row.prediction.candidate}, {row.excluded}" for row in self.rows if row.excluded]
        notes += [line for row in self.rows if (line := self._change(row)) is not None]
        return [*aligned(table), *notes, *self._parts(), *self._moved(), *map(_near, self.nearest)]

    def _change(self, row: Row) -> str | None:
        """Return what would have to change for another candidate to be preferred."""
        if row.gap is None or row.prediction.candidate == self.preferred:
            return None
        said = f"{row.prediction.candidate} instead: with {max(row.gap, 0.0):.4f} more of utility"
        if row.per_dollar is not None:
            side = "less" if row.per_dollar < self.per_dollar else "more"
            said += f", or where one dollar is worth {side} than {row.per_dollar:.4g}"
        return said

    def _parts(self) -> list[str]:
        """Return the table of what each part of the scorer adds to each candidate's quality."""
        m = len(self.candidates)
        parts = [(name, said) for name, said in self.contributions.items() if name not in _INNER and len(said) == m]
        if not parts:
            return []
        order = [self.candidates.index(row.prediction.candidate) for row in self.rows]
        rows = [(f"  {self.candidates[c]}", *(f"{said[c]:+.3f}" for _, said in parts)) for c in order]
        return ["", *aligned([("quality is made of", *(name for name, _ in parts)), *rows])]

    def _moved(self) -> list[str]:
        if not self.influences:
            return []
        rows = [(f"  {moved.feature}", f"{moved.lead:+.4f}") for moved in self.influences]
        return ["", *aligned([(f"speaks for {self.preferred}", "quality"), *rows])]

    def __str__(self) -> str:
        return "\n".join(self.lines())


_INNER = ("factors_values", "length_factors")
"""Contributions that are not one number a candidate."""


def _near(near: Near) -> str:
    few = ", ".join(near.request_ids) or "no id kept"
    return f"near: {near.nearness:.3f} to {near.requests} logged requests ({few})"


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
    greedy = greedy_of(bundle)
    incumbent = None if greedy is None or greedy.incumbent is None else bundle.candidates[greedy.incumbent].name
    margin = 0.0 if greedy is None or incumbent is None else greedy.margin
    preferred = predictions[int(np.argmax(chances))]
    rows = []
    for prediction, chance in zip(predictions, chances.tolist(), strict=True):
        needed = margin * ((preferred.candidate == incumbent) - (prediction.candidate == incumbent))
        gap = preferred.utility - prediction.utility + needed
        out = excluded.get(prediction.candidate)
        other = out is None and prediction is not preferred
        reachable = other and needed < NEVER
        rows.append(
            Row(
                prediction,
                chance,
                0.0 if prediction is preferred else (gap if reachable and gap == gap else None),
                _flip(bundle, preferred, prediction, needed) if reachable else None,
                out,
            )
        )
    rows.sort(key=lambda row: (row.excluded is not None, -_number(row.prediction.utility)))
    said = dict(bundle.scorer.contributions(bundle.encoder.encode((request.text,))))
    near = tuple(said.pop("nearest", ()))
    names = tuple(prediction.candidate for prediction in predictions)
    others = [
        row.prediction.candidate for row in rows
        if row.excluded is None and row.prediction is not preferred and row.prediction.utility == row.prediction.utility
    ]  # fmt: skip
    moved: tuple[Influence, ...] = ()
    if others:
        moved = influences(bundle, request.text, names.index(preferred.candidate), names.index(others[0]))
    return Explanation(
        request.request_id,
        preferred.candidate,
        tuple(rows),
        bundle.objective.per_dollar,
        margin,
        incumbent,
        said,
        moved,
        near,
        names,
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
