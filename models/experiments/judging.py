"""The verdict on a challenger that serves a share of the traffic: promote, hold, reject or roll back, at every look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beastmode.objective import Objective
from models.experiments.differences import Dealing, difference
from models.experiments.guardrails import Guardrail, guardrails
from models.experiments.mismatch import Mismatch, mismatch
from models.experiments.rows import CHALLENGER, LOWER_IS_BETTER, METRICS, Rows
from models.experiments.sequences import Bounds, cautious
from models.experiments.settings import Settings

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Verdict = Literal["promote", "hold", "reject", "roll back"]

CAPPED = "cost_usd, capped"


@dataclass(frozen=True, slots=True)
class Interval:
    """Challenger less champion in one metric, at each look; arrays (looks,)."""

    metric: str
    bounds: Bounds
    """Each bound errs with the level that the verdict uses, over all looks together."""
    cut: Floats
    """The share of the variance that the prediction took out."""

    @property
    def sentence(self) -> str:
        """The last look in words."""
        b = self.bounds
        if not np.isfinite(b.low[-1]):
            return f"{self.metric} {b.value[-1]:+.4g}, of too few units for an interval"
        return f"{self.metric} {b.value[-1]:+.4g} [{b.low[-1]:+.4g}, {b.high[-1]:+.4g}]"

    def better(self) -> Flags:
        """Return at which looks the challenger is proven better."""
        return np.asarray(self.bounds.high < 0 if self.metric in LOWER_IS_BETTER else self.bounds.low > 0)

    def worse(self) -> Flags:
        """Return at which looks the challenger is proven worse."""
        return np.asarray(self.bounds.low > 0 if self.metric in LOWER_IS_BETTER else self.bounds.high < 0)


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict at the last look, its reason in words, and the evidence at every look."""

    verdict: Verdict
    reason: str
    units: NDArray[np.int64]
    """(looks,) Units dealt."""
    verdicts: NDArray[np.str_]
    """(looks,) What was to be done at each look."""
    intervals: Mapping[str, Interval]
    """By metric; a metric that no row knows is missing."""
    guardrails: tuple[Guardrail, ...]
    dealt: Mismatch
    """Units of each arm against their planned shares."""
    logging: Interval
    """The share of decisions whose outcome reached the log."""

    @property
    def first(self) -> tuple[str, int] | None:
        """The first verdict other than hold, and after how many units; None where there is none."""
        acted = np.flatnonzero(self.verdicts != "hold")
        return (str(self.verdicts[acted[0]]), int(self.units[acted[0]])) if len(acted) else None


def judge(
    rows: Rows,
    settings: Settings,
    objective: Objective,
    *,
    every: int = 100,
    ended: bool = False,
) -> Judged:
    """Judge an experiment as it stands, and as it stood after every so many units; look as often as you like.

    In this order: *hold* where units are dealt or logged wrongly; *roll back* where a guardrail is breached; *reject*
    where quality is proven worse by more than the margin, or every aim is proven worse; *promote* where quality is
    proven not worse by the margin **and** an aim is proven better (an intersection-union test, so that alpha is not
    split between the two; Berger 1982); else *hold*. `ended` says that this is the look for which the experiment was
    planned: only then does the chi-square test of the shares count. Raises ValueError where there are no rows.
    """
    if not len(rows):
        raise ValueError("experiment: there are no rows; has any unit been dealt to an arm?")
    dealing = Dealing.of(rows, every)
    intervals = {}
    for metric in METRICS:
        outcome = rows.outcome(metric, objective)
        if np.isfinite(outcome).any():
            alpha = settings.alpha if metric not in settings.aims else settings.alpha / len(settings.aims)
            intervals[metric] = _interval(
                metric, dealing, outcome, rows.expectation(metric, objective), alpha, settings
            )
    if settings.cost_cap_usd is not None and "cost_usd" in intervals:
        capped = np.minimum(rows.outcome("cost_usd", objective), settings.cost_cap_usd)
        intervals[CAPPED] = _interval(CAPPED, dealing, capped, None, settings.alpha, settings)
    units = np.cumsum(dealing.new.astype(np.int64))[dealing.looks - 1]
    share = np.where(rows.arm == CHALLENGER, rows.arm_probability, 1 - rows.arm_probability)
    dealt = mismatch((rows.arm == CHALLENGER)[dealing.new], share[dealing.new].round(9), units)
    logged = rows.logged.astype(np.float64)
    logging = _interval("logged share", dealing, logged, None, settings.mismatch_alpha / 2, settings)
    guarded = guardrails(rows, dealing, settings)

    untrusted = np.maximum.accumulate(dealt.alarm(settings.mismatch_alpha, ended) | logging.better() | logging.worse())
    breached = np.any([guard.breached for guard in guarded], axis=0)
    verdicts = _verdicts(intervals, untrusted, breached, units >= settings.promote_after, settings)
    verdict: Verdict = verdicts[-1].item()
    reason = _reason(verdict, intervals, guarded, dealt, logging, bool(untrusted[-1]), settings)
    return Judged(verdict, reason, units, verdicts, intervals, guarded, dealt, logging)


def _interval(
    metric: str, dealing: Dealing, outcome: Floats, expected: Floats | None, alpha: float, settings: Settings
) -> Interval:
    found = difference(dealing, outcome, expected)
    # Outcomes of any unit: the guess is their own scale, so that few equal ones are no certainty.
    scale = float(np.nanstd(outcome)) if np.isfinite(outcome).any() else 0.0
    se = np.where(found.least >= settings.min_units, cautious(found.se, found.least, scale), np.inf)
    return Interval(metric, Bounds.of(found.n, found.value, se, settings.planned, alpha), found.cut)


def _verdicts(
    intervals: Mapping[str, Interval], untrusted: Flags, breached: Flags, ripe: Flags, settings: Settings
) -> NDArray[np.str_]:
    nowhere = np.zeros(len(untrusted), dtype=bool)
    aims = [intervals[aim] for aim in settings.aims if aim in intervals]
    better = np.any([aim.better() for aim in aims], axis=0) if aims else nowhere
    worse = np.all([aim.worse() for aim in aims], axis=0) if aims else nowhere
    quality = intervals.get("quality")
    kept = nowhere if quality is None else quality.bounds.low > -settings.quality_margin
    lost = nowhere if quality is None else quality.bounds.high < -settings.quality_margin
    return np.select(
        [untrusted, breached, lost | worse, kept & better & ripe], ["hold", "roll back", "reject", "promote"], "hold"
    )


def _reason(
    verdict: Verdict,
    intervals: Mapping[str, Interval],
    guarded: tuple[Guardrail, ...],
    dealt: Mismatch,
    logging: Interval,
    untrusted: bool,
    settings: Settings,
) -> str:
    needed = dict.fromkeys(("quality", *settings.aims))
    said = "; ".join(intervals[name].sentence for name in needed if name in intervals)
    if untrusted:
        return (
            f"The arms cannot be compared: {dealt.seen:.2%} of {dealt.units} units were dealt to the challenger where "
            f"{dealt.planned:.2%} were planned (p = {min(float(dealt.p[-1]), dealt.p_at_end):.2g}), and the "
            f"{logging.sentence}. Find what deals or logs wrongly and start again."
        )
    if verdict == "roll back":
        return "The " + "; the ".join(guard.sentence for guard in guarded if guard.breached[-1]) + "."
    if verdict == "promote":
        return f"Quality is not worse by the margin of {settings.quality_margin}, and an aim is better: {said}."
    if verdict == "reject":
        return f"The challenger is proven worse: {said}."
    missing = [name for name in needed if name not in intervals]
    if missing:
        return f"No row knows {missing[0]}, which the verdict needs: join feedback and prices first. {said}".strip()
    if intervals["quality"].bounds.low[-1] > -settings.quality_margin and any(
        intervals[aim].better()[-1] for aim in settings.aims
    ):
        return f"Better already ({said}), but guardrails are watched for {settings.promote_after} units first."
    return f"Not proven yet either way: {said}, on {int(intervals['quality'].bounds.n[-1])} units."
