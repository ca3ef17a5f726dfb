"""Is a challenger proven better? Paired differences on the same requests, and a verdict with its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt
from numpy.typing import ArrayLike, NDArray

from beastmode.objective import Objective
from features.table import Table
from models import reliability
from models.estimators import Estimate, EvaluationRefused, contrast
from models.experiments.needed import Way, needed
from models.experiments.sequences import GUESS, Bounds, cautious
from models.sensitivity import Sensitivity

Floats = NDArray[np.float64]
Span = tuple[ArrayLike, ArrayLike]
Verdict = Literal["promote", "hold", "reject"]
METRICS = ("utility", "quality", "cost_usd")
ANSWERED = "answered"
"""The share of calls that providers answered: a guardrail, compared with the champion's alone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What counts as proof."""

    quality_margin: Annotated[float, Ge(0), Lt(1)] = 0.01
    """The challenger may answer worse than the champion by less than this; 0.01 is one point."""
    level: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    """Of the two-sided interval of a policy's own value."""
    alpha: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    """The chance that one bound of a difference errs: what the gate decides by is one-sided."""
    error_margin: Annotated[float, Ge(0), Lt(1)] = 0.02
    """A challenger of whose calls more are proven to fail is held, but where it is proven to be by less than this."""
    simpler_margin: Annotated[float, Ge(0), Lt(1)] = 0.005
    """A contestant beside the champion holds the challenger back when it is proven better by more utility than this."""
    min_rows: Annotated[int, Ge(2)] = 30
    """Held-out requests of one kind, probed or logged, under which that kind is no evidence."""
    min_effective: Annotated[float, Gt(0)] = 20.0
    """Effective sample size of logged requests under which they are no evidence."""
    estimated_odds: Annotated[float, Ge(1)] | None = None
    """What a log without propensities is worth, whose values rest on an estimate of who would have been asked: where it
    is None they never promote or reject; else they do where that withstands hidden reasons that move the odds of each
    choice by this factor (models.sensitivity)."""
    planned: Annotated[int, Ge(100)] = 3000
    """Probes that a watched challenger is given: most of `alpha` is saved for them (models.experiments.sequences)."""

    @property
    def paired_level(self) -> float:
        """The level of a difference's two-sided interval, each of whose bounds errs with `alpha`."""
        return 1 - 2 * self.alpha


@dataclass(frozen=True, slots=True)
class Contestant:
    """A policy on the held-out slice: what it would do, and what its bundle expects of every candidate."""

    probabilities: Floats
    """(n, m)"""
    quality: Floats
    """(n, m) Predicted; the regression inside the doubly robust estimate, so fitted on other rows."""
    cost_usd: Floats
    """(n, m) Predicted; NaN where unpriced."""
    latency_ms: Floats
    """(n, m) Predicted; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Challenger less reference in one metric, on the same requests."""

    reference: str
    metric: str
    difference: float
    low: float
    high: float
    se: float
    n: int
    verdict: str
    """better, worse, no worse than the margin, or undecided."""


@dataclass(frozen=True, slots=True)
class Estimated:
    """What evidence on estimated propensities rests on."""

    learner: str
    """What the propensities are estimated by."""
    hidden: Mapping[str, tuple[Sensitivity, ...]]
    """By metric, where challenger less champion may lie if hidden reasons moved the log's choices."""
    withstands: float
    """The factor on the odds up to which the difference in utility stays proven; 1 where it is not."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a challenger, its reason in words, and the evidence."""

    verdict: Verdict
    reason: str
    values: Mapping[str, Mapping[str, Estimate]]
    """By contestant, then by metric."""
    comparisons: Sequence[Comparison]
    refused: str | None = None
    """Why no number is given, where none is."""
    estimated: Estimated | None = None
    """Set where the evidence rests on estimated propensities."""

    def comparison(self, reference: str, metric: str) -> Comparison:
        """Return the comparison with a reference in a metric; KeyError where there is none."""
        for comparison in self.comparisons:
            if (comparison.reference, comparison.metric) == (reference, metric):
                return comparison
        raise KeyError((reference, metric))


def judge(
    contestants: Mapping[str, Contestant],
    table: Table,
    objective: Objective,
    settings: Settings,
    *,
    challenger: str = "challenger",
    champion: str = "champion",
    watched: bool = False,
) -> Judgement:
    """Judge the challenger against the champion and every other contestant on the same requests.

    Without `watched` the requests are a held-out slice that judges this challenger once. With it, the same challenger
    is judged again whenever probes were added, and acted upon at any time: the bounds then hold at all looks at once.

    The gate is an intersection-union test, so no level is split: *promote* when the lower bound of the utility
    difference to the champion is above zero **and** the lower bound of the quality difference is above minus the
    margin, and no other contestant is proven better by a margin of its own; *reject* when the challenger is proven
    worse in utility, or in quality beyond the margin; else *hold*. A contestant beside the champion of which the rows
    say too little is left out. What would be promoted is held where more of its calls are proven to fail and
    `error_margin` more are not ruled out: by bounds of one look, as a false one holds.
    """
    for name in (challenger, champion):
        if name not in contestants:
            raise ValueError(f"judge: no contestant {name!r}; there are {', '.join(contestants)}")
    main = contestants[challenger]
    observed, expected = by_metric(objective, table), by_metric(objective, main)

    def estimate(metric: str, plus: Contestant, minus: Contestant | None = None) -> Estimate:
        found = contrast(
            table,
            observed[metric],
            plus.probabilities,
            None if minus is None else minus.probabilities,
            expected[metric],
            level=settings.level if minus is None else settings.paired_level,
            min_rows=settings.min_rows,
            min_effective=settings.min_effective,
        )
        return found if minus is None or not watched else _watched(found, metric, settings)

    def known(name: str, metric: str, *policies: Contestant) -> Estimate | None:
        """Return an estimate, or None where the rows cannot say and the verdict does not need it."""
        try:
            return estimate(metric, *policies)
        except EvaluationRefused:
            if name in (challenger, champion) and metric != "cost_usd":
                raise
            return None

    try:
        values = {
            name: {metric: one for metric in METRICS if (one := known(name, metric, contestant)) is not None}
            for name, contestant in contestants.items()
        }
        comparisons = [
            _compared(name, metric, one, settings)
            for name, other in contestants.items()
            if name != challenger
            for metric in METRICS
            if (one := known(name, metric, main, other)) is not None
        ]
    except EvaluationRefused as refusal:
        return Judgement("hold", f"No verdict: {refusal}", {}, (), str(refusal))
    verdict, reason = _gate(comparisons, champion, settings)
    policies = main.probabilities, contestants[champion].probabilities
    kept = reliability.answered(
        table, *policies, level=settings.paired_level, min_rows=settings.min_rows, min_effective=settings.min_effective
    )
    if kept is not None:
        comparisons.append(_compared(champion, ANSWERED, kept, settings))
        if verdict == "promote" and kept.high < 0 and kept.low <= -settings.error_margin:
            verdict = "hold"
            reason = (
                f"Utility is better, but fewer calls are answered than the champion's: {span(comparisons[-1])}, where "
                f"{settings.error_margin} fewer is allowed (gate.error_margin). Look first at "
                f"{reliability.culprit(table, *policies)}: mend it, or take it out of the catalogue."
            )
    return Judgement(verdict, reason, values, tuple(comparisons))


def by_metric(objective: Objective, known: Table | Contestant) -> dict[str, Floats]:
    """Return what was observed, or what is expected, in each metric, (n, m)."""
    return {
        "utility": objective.utility(known.quality, known.cost_usd, known.latency_ms),
        "quality": known.quality,
        "cost_usd": known.cost_usd,
    }


def bounds(value: Floats, se: Floats, n: ArrayLike, settings: Settings, guess: float = GUESS) -> Bounds:
    """Return what a watched difference of `n` requests is proven to be at each look, elementwise over many streams.

    Each bound errs with `alpha` over all looks together. The deviation is shrunk to `guess` while there are few.
    Under `min_rows` nothing is proven.
    """
    n = np.asarray(n, dtype=np.float64)
    enough = np.where(n >= settings.min_rows, cautious(se, n, guess), np.inf)
    return Bounds.of(n, value, enough, settings.planned, settings.alpha)


def verdicts(utility: Span, quality: Span, settings: Settings) -> NDArray[np.str_]:
    """Return promote, hold or reject against the champion, elementwise; a span is a pair of bounds, low and high."""
    gained, kept = (np.stack(np.broadcast_arrays(*span)) for span in (utility, quality))
    worse = (gained[1] < 0) | (kept[1] < -settings.quality_margin)
    better = (gained[0] > 0) & (kept[0] > -settings.quality_margin)
    return np.select([worse, better], ["reject", "promote"], "hold")


def _watched(found: Estimate, metric: str, settings: Settings) -> Estimate:
    """Return an estimate of one look with the bounds of all looks."""
    if found.se == 0 and found.value == 0:
        return found  # both decide alike
    # Costs have a scale of their own; that of qualities is no guess at it.
    guess = found.se * np.sqrt(found.n) if metric == "cost_usd" else GUESS
    all_looks = bounds(np.array([found.value]), np.array([found.se]), [found.n], settings, float(guess))
    return replace(found, low=float(all_looks.low[0]), high=float(all_looks.high[0]))


def _compared(reference: str, metric: str, estimate: Estimate, settings: Settings) -> Comparison:
    low, high = estimate.low, estimate.high
    if metric == "cost_usd":
        low, high = -estimate.high, -estimate.low  # cheaper is better
    if low > 0:
        verdict = "better"
    elif high < 0:
        verdict = "worse"
    elif metric == "quality" and low > -settings.quality_margin:
        verdict = "no worse than the margin"
    else:
        verdict = "undecided"
    return Comparison(reference, metric, estimate.value, estimate.low, estimate.high, estimate.se, estimate.n, verdict)


def _gate(comparisons: Sequence[Comparison], champion: str, settings: Settings) -> tuple[Verdict, str]:
    by = {(c.reference, c.metric): c for c in comparisons}
    utility, quality = by[champion, "utility"], by[champion, "quality"]
    margin = settings.quality_margin

    verdict = str(verdicts((utility.low, utility.high), (quality.low, quality.high), settings))
    if verdict == "reject" and utility.high < 0:
        return "reject", f"Utility is proven lower than the champion's: {span(utility)}."
    if verdict == "reject":
        return "reject", f"Quality is proven lower than the champion's by more than {margin}: {span(quality)}."
    if utility.low == utility.high == 0:
        return "hold", "The challenger decides every held-out request as the champion does: nothing to promote."
    if utility.verdict != "better":
        more = _missing(utility, settings)
        return "hold", f"The gain in utility over the champion is not proven: {span(utility)} reaches zero{more}."
    if quality.low <= -margin:
        return "hold", (
            f"Utility is better ({span(utility)}), but quality may be lower by more than {margin}: {span(quality)}."
        )
    for c in comparisons:
        if c.reference != champion and c.metric == "utility" and c.high < -settings.simpler_margin:
            return "hold", (
                f"Better than the champion ({span(utility)}), but {c.reference} is proven better still: {span(c)}."
            )
    return "promote", (
        f"Utility is better than the champion's: {span(utility)}; quality is not lower by more than the {margin} "
        f"allowed: {span(quality)}; on {utility.n:,} held-out requests."
    )


def span(c: Comparison) -> str:
    """Return a difference with its interval, in words."""
    return f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]"


def _missing(gain: Comparison, settings: Settings) -> str:
    """Return how many requests such a gain would need, in words; nothing where there is no gain."""
    if not (gain.difference > 0 and 0 < gain.se < np.inf):
        return ""
    way = Way("requests", gain.se * float(np.sqrt(gain.n)))
    requests = needed(gain.difference, way, settings.alpha, watched=False).observations
    return f"; were it real, about {requests:,} such requests would prove it, and there are {gain.n:,}"
