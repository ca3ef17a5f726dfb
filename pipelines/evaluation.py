"""Bundles on the held-out requests: who competes, what each would do there, and where that lands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import Bundle
from features.table import Table
from models.comparison import Contestant, Judgement
from models.estimators import EvaluationRefused, contrast
from pipelines.plots import Point

Floats = NDArray[np.float64]

CHALLENGER, CHAMPION, BEST_SINGLE, KNN = "challenger", "champion", "best single", "tuned kNN"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A judgement with what a person needs to see it."""

    judgement: Judgement
    table: Table
    """The held-out requests as they were judged: with propensities filled in where they had to be estimated."""
    points: tuple[Point, ...]
    shares: Mapping[str, Floats]
    """By contestant, the share of requests each candidate receives, (m,)."""
    candidates: tuple[str, ...]
    expected: Floats
    """(n, m) The challenger's predictions of quality."""
    observed: Floats
    """(n, m) Quality as it turned out; NaN where unknown."""


def contestant(bundle: Bundle, table: Table) -> Contestant:
    """Return what a bundle would do on a table's requests, its candidates put into the table's columns.

    A candidate that the table does not have (retired since) is not eligible; one that the bundle does not have gets
    no request. Raises ValueError when the two share none.
    """
    names = [candidate.name for candidate in bundle.candidates]
    columns = [table.candidates.index(name) if name in table.candidates else -1 for name in names]
    here = np.array([column >= 0 for column in columns])
    if not here.any():
        raise ValueError(
            f"bundle {bundle.name!r} knows {', '.join(names)}, the log {', '.join(table.candidates)}: none in common"
        )
    n, m = len(table), len(table.candidates)
    eligible = np.tile(here, (n, 1))
    expectation = bundle.expect(table.texts, table.expected_tokens)
    drawn = bundle.probabilities(table.texts, table.expected_tokens, eligible)

    def placed(values: Floats, empty: float) -> Floats:
        wide = np.full((n, m), empty)
        wide[:, [column for column in columns if column >= 0]] = values[:, here]
        return wide

    return Contestant(
        probabilities=placed(drawn, 0.0),
        quality=placed(expectation.quality, np.nan),
        cost_usd=placed(expectation.cost_usd, np.nan),
        latency_ms=placed(expectation.latency_ms, np.nan),
    )


def always(table: Table, column: int, like: Contestant) -> Contestant:
    """Return the policy that sends everything to one candidate."""
    chosen = np.zeros((len(table), len(table.candidates)))
    chosen[:, column] = 1.0
    return Contestant(chosen, like.quality, like.cost_usd, like.latency_ms)


def point(
    label: str, kind: str, drawn: Floats, table: Table, expected: Contestant, rules: Mapping[str, float]
) -> Point | None:
    """Return a policy's place in the plane of cost and quality, or None where the rows cannot say."""
    try:
        quality = contrast(table, table.quality, drawn, None, expected.quality, **rules)  # type: ignore[arg-type]
        cost = contrast(table, table.cost_usd, drawn, None, expected.cost_usd, **rules)  # type: ignore[arg-type]
    except EvaluationRefused:
        return None
    return Point(label, kind, cost.value, quality.value, quality.se)


def points(
    bundle: Bundle, contestants: Mapping[str, Contestant], table: Table, rules: Mapping[str, float]
) -> tuple[Point, ...]:
    """Return every candidate, the references, the challenger, and the challenger at its operating points."""
    main = contestants[CHALLENGER]
    found = [
        point(name, "candidate", always(table, column, main).probabilities, table, main, rules)
        for column, name in enumerate(table.candidates)
    ]
    for name, other in contestants.items():
        kind = "ours" if name == CHALLENGER else "reference"
        found.append(point(name, kind, other.probabilities, table, main, rules))
    for operating in bundle.operating_points:
        drawn = contestant(bundle.at(operating), table).probabilities
        found.append(point(f"at {operating.quality_ratio:.0%} quality", "operating", drawn, table, main, rules))
    return tuple(p for p in found if p is not None)


def shares(contestants: Mapping[str, Contestant]) -> dict[str, Floats]:
    """Return the mean probability of each candidate under each contestant."""
    return {name: np.asarray(c.probabilities.mean(axis=0)) for name, c in contestants.items()}


def best_single(table: Table, utility: Floats) -> int:
    """Return the column of the candidate with the highest mean utility among the rows where each is known.

    Probed rows compare candidates on the same requests; where there are none, served rows are all there is.
    """
    complete = ~np.isnan(utility).any(axis=1)
    rows = utility[complete] if complete.sum() >= 2 else utility
    known = (~np.isnan(rows)).sum(axis=0)
    if not known.any():
        raise ValueError("no candidate has a known quality: no feedback joined these requests")
    total = np.nansum(rows, axis=0)
    return int(np.argmax(np.where(known > 0, total / np.maximum(known, 1), -np.inf)))


def headline(judgement: Judgement, references: Sequence[str]) -> dict[str, float]:
    """Return the judgement as metrics, each difference with its interval and its standard error."""
    metrics: dict[str, float] = {}
    for name, values in judgement.values.items():
        for metric, estimate in values.items():
            key = f"{metric}/{slug(name)}"
            metrics |= {key: estimate.value, f"{key}_se": estimate.se}
            if name == CHALLENGER:
                metrics |= {f"{key}_low": estimate.low, f"{key}_high": estimate.high}
    for c in judgement.comparisons:
        if c.reference in references:
            what = "cost_usd_change/vs" if c.metric == "cost_usd" else f"{c.metric}_gain/over"
            key = f"{what}_{slug(c.reference)}"
            metrics |= {key: c.difference, f"{key}_se": c.se, f"{key}_low": c.low, f"{key}_high": c.high}
    return metrics


def slug(name: str) -> str:
    """Return a contestant's name as metrics and artifact keys spell it.

    >>> slug("tuned kNN")
    'tuned_knn'
    """
    return name.lower().replace(" ", "_")
