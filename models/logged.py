"""Join logged outcomes to what probes taught: a doubly robust correction of a blend, at a weight that probes choose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from beastmode.blend import Blend
from features.table import normalise_text
from models.examples import ENOUGH, MOST, Examples
from models.fitted import Fitted, Judge
from models.values import Gain, crossed

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

WEIGHTS = (0.3, 1.0)
"""What a logged outcome may count for, as a share of a probed one of the same noise; zero is always tried."""
DISAGREE = 0.01
"""The chance at which levels of logs and of probes would lie so far apart: under it the logs are not believed."""
SHARED = 0.9
"""How much of the candidates' measured correlation is believed."""


@dataclass(frozen=True, slots=True)
class Logs:
    """`k` served outcomes of a table that may be learned from."""

    rows: NDArray[np.intp]
    """(k,)"""
    served: NDArray[np.int64]
    """(k,) Columns."""
    quality: Floats
    """(k,)"""
    inverse: Floats
    """(k,) 1 / propensity, clipped at `MOST`."""

    @classmethod
    def of(cls, known: Examples) -> "Logs":
        """Take the rows with one active candidate's outcome and a propensity, but of prompts that were probed."""
        table = known.table
        settled = {normalise_text(table.texts[row]) for row in np.flatnonzero(known.judged)} - {""}
        alone = np.isfinite(table.quality).sum(axis=1) == 1
        rows = np.flatnonzero(alone & (table.served >= 0) & (table.propensity > 0) & ~known.judged)
        served = table.served[rows]
        quality = table.quality[rows, served]
        fresh = np.array([normalise_text(table.texts[row]) not in settled for row in rows], dtype=bool)
        kept = np.isfinite(quality) & known.active[served] & fresh
        rows, served, quality = rows[kept], served[kept], quality[kept]
        return cls(rows, served, quality, np.minimum(1 / table.propensity[rows], MOST))

    def __len__(self) -> int:
        return len(self.rows)

    def inside(self, known: Examples, fold: int) -> "Logs":
        """Return the logs of a fold."""
        kept = known.fold[self.rows] == fold
        return Logs(self.rows[kept], self.served[kept], self.quality[kept], self.inverse[kept])

    def weights(self, candidate: int) -> tuple[NDArray[np.intp], Floats]:
        """Return one candidate's places in the logs, and their weights, which sum to its effective sample size."""
        mine = np.flatnonzero(self.served == candidate)
        inverse = self.inverse[mine]
        return mine, inverse * (inverse.sum() / max(float((inverse**2).sum()), 1e-12))


@dataclass(frozen=True, slots=True)
class Doubt:
    """How far the probes' fit may be from the truth: the prior of a correction."""

    average: Floats
    """(m,) What turns an excess into the request's difficulty: a mean over the active candidates."""
    covariance: Floats
    """(active, active) Of the residuals that the fit leaves on one probed request."""

    @classmethod
    def of(cls, known: Examples, quality: Floats) -> "Doubt":
        """Measure it on out-of-fold qualities (n, m)."""
        active = np.flatnonzero(known.active)
        rest = (known.table.quality - quality)[np.ix_(known.judged, active)]
        found = np.atleast_2d(np.cov(rest, rowvar=False))
        own = np.diag(np.diag(found))
        average = known.active / max(len(active), 1)
        return cls(average, SHARED * found + (1 - SHARED) * own + 1e-4 * np.eye(len(active)))

    def places(self, excess: Floats) -> Floats:
        """Return one and the difficulty of requests of an excess (n, m), (n, 2)."""
        return np.column_stack([np.ones(len(excess)), excess @ self.average])


@dataclass(frozen=True, slots=True)
class Correction:
    """What is added to the qualities that the probes' fit promises; every field is (m,)."""

    average: Floats
    """As in `Doubt`."""
    level: Floats
    slope: Floats
    """On the difficulty."""

    def of(self, excess: Floats) -> Floats:
        """Return what is added to requests of an excess (n, m), (n, m)."""
        return np.asarray(self.level + np.outer(excess @ self.average, self.slope))

    def blend(self, scorer: Blend) -> Blend:
        """Return the blend with the correction in its mean and its mix."""
        turn = np.eye(len(self.level)) + np.outer(self.average, self.slope)
        made = replace(scorer, mix=scorer.mix @ turn, mean=scorer.mean + self.level)
        return Blend.from_parts(made.parts())


def correct(
    known: Examples, doubt: Doubt, logs: Logs, probes: Mask, excess: Floats, mean: Floats, weight: float
) -> Correction:
    """Return the correction of qualities `mean + excess`, fitted on probes (a mask of rows), that logs ask for.

    The residual of a served outcome, weighed by 1 / propensity, stands in for that of every request: the doubly robust
    pseudo-outcome (Dudik, Langford and Li 2011, eq. 3) with self-normalised weights, regressed on `Doubt.places`
    (Kennedy 2023, the DR learner). The regression is Gaussian: its prior is the doubt that so many probes leave, with
    the candidates' residuals correlated as on the probes, so that a candidate served often teaches how lucky the
    probes were for all; its noise is that of one outcome over the effective sample size, times `weight`.
    """
    active = np.flatnonzero(known.active)
    place, among = doubt.places(excess[logs.rows]), doubt.places(excess[probes])
    size, residual = 2, logs.quality - (mean + excess[logs.rows])[np.arange(len(logs)), logs.served]
    held = among.T @ among + 1e-3 * np.eye(size)
    precision = np.kron(np.linalg.inv(doubt.covariance), held)
    moment = np.zeros(len(active) * size)
    for i, candidate in enumerate(active):
        mine, counts = logs.weights(int(candidate))
        at, share = slice(i * size, (i + 1) * size), weight / doubt.covariance[i, i]
        weighed = place[mine] * counts[:, None]
        precision[at, at] += share * (weighed.T @ place[mine])
        moment[at] += share * (weighed.T @ residual[mine])
    found = np.zeros((size, len(mean)))
    found[:, active] = np.linalg.solve(precision, moment).reshape(len(active), size).T
    return Correction(doubt.average, found[0], found[1])


def disagreement(known: Examples, doubt: Doubt, logs: Logs, quality: Floats) -> float:
    """Return the p-value of levels that lie as far apart in logs and in probes, by chance: a chi-square test.

    Where propensities are wrong, or requests were served for a reason the log does not show, levels do not agree.
    """
    active = np.flatnonzero(known.active)
    residual = logs.quality - quality[logs.rows, logs.served]
    apart, noise, heard = [], [], []
    for i, candidate in enumerate(active):
        mine, counts = logs.weights(int(candidate))
        if len(mine) and (total := float(counts.sum())) >= 10:
            apart.append(float(counts @ residual[mine]) / total)
            noise.append(float(doubt.covariance[i, i]) / total)
            heard.append(i)
    if not heard:
        return 1.0
    spread = doubt.covariance[np.ix_(heard, heard)] / max(int(known.judged.sum()), 1) + np.diag(noise)
    return float(chi2.sf(np.array(apart) @ np.linalg.solve(spread, np.array(apart)), len(heard)))


def learn(known: Examples, fitted: Fitted, caution: float, weights: Sequence[float] = WEIGHTS) -> Fitted:
    """Return what was fitted on probes, corrected by logs where that is shown to pay; its report says under `logs`.

    The weight is that whose policy value on the probes has the highest lower bound (`caution` standard errors under the
    mean) above what weight zero earns, and zero where none has one above nothing; see `crossfitted`.
    """
    logs = Logs.of(known)
    scorer = fitted.scorer

    def kept(why: str, **facts: Any) -> Fitted:
        return replace(
            fitted, report={**fitted.report, "logs": {"rows": len(logs), "weight": 0.0, "why": why, **facts}}
        )

    if len(logs) < ENOUGH:
        return kept(f"fewer than {ENOUGH} logged outcomes have a propensity")
    if not isinstance(scorer, Blend):
        return kept("only a blend learned from probes can be corrected by logs")
    quality = fitted.out_of_fold.quality
    doubt = Doubt.of(known, quality)
    chance = disagreement(known, doubt, logs, quality)
    if chance < DISAGREE:
        return kept(f"the logs contradict the probes (p = {chance:.2g}): check their propensities", agreement=chance)
    gains = _gains(known, Judge.of(known, fitted.out_of_fold.amounts, caution), doubt, logs, quality, weights)
    tried = {str(weight): {"gain": gain.mean, "se": gain.se} for weight, gain in gains.items()}
    weight, gain = max(gains.items(), key=lambda one: one[1].lower(caution))
    facts = {"agreement": chance, "tried": tried}
    if not gain.lower(caution) > 0:
        return kept(f"no weight earned {caution:g} standard errors more than zero did, on the probes", **facts)
    every = correct(known, doubt, logs, known.judged, quality - known.mean, known.mean, weight)
    report = {"rows": len(logs), "weight": weight, "why": "it earned more than zero did, on the probes", **facts}
    corrected = np.clip(quality + every.of(quality - known.mean), 0.0, 1.0)
    return replace(
        fitted,
        scorer=every.blend(scorer),
        out_of_fold=replace(fitted.out_of_fold, quality=corrected),
        report={**fitted.report, "logs": report},
    )


def _gains(
    known: Examples, judge: Judge, doubt: Doubt, logs: Logs, quality: Floats, weights: Sequence[float]
) -> dict[float, Gain]:
    """Return what each weight earns over weight zero, paired on the judged rows."""

    def value(weight: float) -> Floats:
        said = crossfitted(known, doubt, logs, quality, weight)[judge.rows]
        fold = known.fold[judge.rows]
        return crossed(judge.utility(said), judge.realised, judge.incumbent, judge.caution, fold)

    alone = value(0.0)
    return {weight: Gain.of(value(weight) - alone) for weight in weights}


def crossfitted(known: Examples, doubt: Doubt, logs: Logs, quality: Floats, weight: float) -> Floats:
    """Return out-of-fold qualities (n, m), of judged rows corrected by logs of their own fold.

    The parts speak of a fold by models that never saw it, so that its logs and its probes are judged by the same
    models, and no probe's outcome is in what corrects it. Levels are the other folds' as well: a mean that the judged
    rows gave themselves would leave logs nothing to add.
    """
    excess, found = quality - known.mean, quality.copy()
    for fold in range(known.folds):
        rows, probes = known.fold == fold, known.judged & (known.fold != fold)
        if not probes.any() or not rows.any():
            continue
        own = np.nan_to_num(known.table.quality[probes]).mean(axis=0) - excess[rows].mean(axis=0)
        mean = np.where(known.active, own, known.mean)
        made = correct(known, doubt, logs.inside(known, fold), probes, excess, mean, weight)
        found[rows] = mean + excess[rows] + made.of(excess[rows])
    return np.clip(found, 0.0, 1.0)
