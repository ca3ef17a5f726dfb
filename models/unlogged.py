"""A verdict from a log without propensities: who would have been asked is estimated, and the verdict says so."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from beastmode.objective import Objective
from features.table import Table
from models import comparison, estimators
from models.comparison import Contestant, Estimated, Judgement, Settings, Verdict, by_metric, span
from models.intervals import Terms
from models.offpolicy import log
from models.overlap import EvaluationRefused
from models.sensitivity import STRENGTHS, Sensitivity, sensitivity, withstands

Floats = NDArray[np.float64]


def judge(
    contestants: Mapping[str, Contestant],
    table: Table,
    objective: Objective,
    settings: Settings,
    features: NDArray[np.floating],
    *,
    seed: int,
    challenger: str = "challenger",
    champion: str = "champion",
    watched: bool = False,
) -> tuple[Judgement, Table]:
    """Judge as `comparison.judge` does, on propensities estimated from the requests' `features` (n, columns).

    Returns the table with them too. The estimate assumes that nothing but the request moved the choice, so that a
    verdict is hold unless `Settings.estimated_odds` names how strong hidden reasons may be, and the bounds under such
    reasons prove it. Raises EvaluationRefused where nothing can be estimated: too few outcomes, no propensity that is
    unknown, or estimates that are proven wrong.
    """
    known = log(table, by_metric(objective, table)["utility"], features, seed=seed, estimate_behaviour=True)
    if known.behaviour is None:
        raise EvaluationRefused("no off-policy value: every propensity is known, and none is left to estimate.")
    if known.behaviour.refused is not None:
        raise EvaluationRefused(f"no off-policy value: {known.behaviour.refused}.")
    propensity = table.propensity.copy()
    propensity[known.rows] = known.propensity
    table = replace(table, propensity=propensity)
    found = comparison.judge(
        contestants, table, objective, settings, challenger=challenger, champion=champion, watched=watched
    )
    if found.refused is not None:
        why = f"the log does not hold its propensities, and with estimated ones there is {found.refused}"
        return replace(found, reason=f"No verdict: {why}", refused=why), table
    pair = contestants[challenger], contestants[champion]
    parts = {metric: _terms(metric, pair, table, objective) for metric in ("utility", "quality")}

    def bounded(metric: str, factor: float) -> Sensitivity:
        terms, chances, sessions = parts[metric]
        return sensitivity(terms, chances, factor, sessions, settings.paired_level)

    hidden = {metric: tuple(bounded(metric, factor) for factor in STRENGTHS) for metric in parts}
    holds = withstands(*parts["utility"], settings.paired_level)
    verdict: Verdict = "hold"
    if settings.estimated_odds is not None and found.verdict != "hold":
        utility, quality = (bounded(metric, settings.estimated_odds) for metric in parts)
        sure = str(comparison.verdicts((utility.low, utility.high), (quality.low, quality.high), settings))
        verdict = found.verdict if sure == found.verdict else "hold"
    about = Estimated(known.behaviour.learner, hidden, holds)
    reason = _reason(found, verdict, holds, settings, champion)
    return replace(found, verdict=verdict, reason=reason, estimated=about), table


def _terms(
    metric: str, pair: tuple[Contestant, Contestant], table: Table, objective: Objective
) -> tuple[Terms, Floats, NDArray[np.str_]]:
    """Return the terms of challenger less champion, with the propensities and the sessions of their rows."""
    outcome, expected = by_metric(objective, table)[metric], by_metric(objective, pair[0])[metric]
    rows = np.flatnonzero(estimators.usable(table, outcome))
    ours, theirs = (estimators.terms(table, rows, outcome, each.probabilities, expected) for each in pair)
    return ours - theirs, table.propensity[rows], table.sessions[rows]


def _reason(found: Judgement, verdict: Verdict, holds: float, settings: Settings, champion: str) -> str:
    gain, asked = found.comparison(champion, "utility"), settings.estimated_odds
    if gain.low == gain.high == 0:
        return found.reason
    whence = "The log does not say with which probability each model was chosen; that was estimated from the requests."
    differs = f"utility is {'higher' if gain.difference > 0 else 'lower'} than the champion's: {span(gain)}"
    if verdict != "hold":
        return (
            f"{whence} By that estimate {differs}, and it withstands hidden reasons that moved the odds of the log's "
            f"choices by a factor of {asked:g}, as gate.estimated_odds asks."
        )
    if holds > 1:
        told = f"{differs}; hidden reasons that moved the odds of its choices by a factor of {holds:.2f} undo that"
    else:
        told = f"no difference in utility to the champion is proven: {span(gain)}"
    rule = (
        "An estimate alone decides nothing here (gate.estimated_odds is not set)"
        if asked is None
        else f"It must withstand a factor of {asked:g} (gate.estimated_odds)"
    )
    remedy = f"log decisions with their propensities, or probe {settings.min_rows} requests or more"
    return f"{whence} By that estimate {told}. {rule}: {remedy}."
