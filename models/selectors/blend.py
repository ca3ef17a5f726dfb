"""The blend: parts weighed by least squares, then tuned by the lower bound of cross-validated policy value."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.blend import PARTS
from beastmode.neighbours import Kernel
from beastmode.scoring import Predicted
from models import tuning
from models.examples import ENOUGH, Examples
from models.fitted import Fitted, Judge, Learning
from models.newcomers import joined, newcomers
from models.prototypes import Memory
from models.rivalry import explained
from models.selectors import constant
from models.selectors.neighbours import kernels
from models.usage import crossed_usage, fit_usage
from models.values import Gain
from models.workbench import Weights, Workbench

Floats = NDArray[np.float64]

MOST = 1.5
"""The largest multiple of a part's weight that is tried."""
PROVEN = 2.0
"""Paired standard errors by which a tuned blend must beat plain least squares."""


def train(known: Examples, settings: Learning, seed: int, study: Any = None) -> Fitted:
    """Fit the parts, tune their weights; the constant selector where the examples are too few."""
    return _train(known, settings, seed, study, None)


def train_factors(known: Examples, settings: Learning, seed: int, study: Any = None) -> Fitted:
    """Fit the shared factors alone, with least-squares weights: what the forest says without its companions."""
    return _train(known, settings, seed, study, "factors")


def _train(known: Examples, settings: Learning, seed: int, study: Any, only: str | None) -> Fitted:
    memory = Memory.of(known, settings.prototypes, seed) if known.judged.sum() >= ENOUGH else None
    if memory is None:
        return constant.train(known, settings, seed)
    bench = Workbench.of(known, memory, nearest_kernel(memory), settings, seed)
    spoken, lengths = bench.forests.spoken, bench.forests.lengths
    usage = fit_usage(known.table, spoken, lengths)
    amounts = crossed_usage(known.table, known.fold, spoken, lengths)
    weights = bench.weigh(only)
    trials: list[dict[str, Any]] = []
    if only is None and settings.trials:
        judge = Judge.of(known, amounts, settings.caution)
        weights, trials = _tune(bench, judge, weights, settings, seed, study)
    mix = bench.mix(weights)
    new = newcomers(known, bench.words, mix)
    report = {
        "temperature": bench.near.kernel.temperature,
        "nearest": bench.near.kernel.nearest,
        "reach": bench.near.reach,
        "prototypes": len(memory.whole.centre),
        "penalty": bench.ridge.penalty,
        "weights": weights.report(),
        "trials": trials,
        "feature_importance": bench.forests.importance(known.names),
        "newcomers": [one.report(known.table.candidates) for one in new],
    }
    quality = bench.quality(mix)
    for one in new:
        quality[:, one.column] = np.clip(one.out_of_fold, 0.0, 1.0)
    return Fitted(bench.scorer(*joined(new, mix, known.mean), usage), Predicted(quality, *amounts), report)


def _tune(
    bench: Workbench, judge: Judge, fitted: Weights, settings: Learning, seed: int, study: Any
) -> tuple[Weights, list[dict[str, Any]]]:
    """Return the weights to serve, and all trials.

    A trial multiplies what each part says of differences. The one of the highest lower bound takes the place of plain
    least squares only where it beats it beyond more doubt: picked among many, it looks better than it is.
    """

    def said(weights: Weights) -> Floats:
        return bench.quality(bench.mix(weights))[judge.rows]

    def score(trial: Any) -> float:
        _, gain = judge.margin(said(fitted.told_apart(*(trial.suggest_float(name, 0.0, MOST) for name in PARTS))))
        return gain.lower(judge.caution)

    first = ((1.0, 1.0, 1.0), (MOST, 0.0, 0.0), (0.7, 0.7, 0.7), (1.3, 1.3, 1.3))
    named = [dict(zip(PARTS, values, strict=True)) for values in first]
    parameters, trials = tuning.tune(score, settings.trials, seed, study, named)
    best = fitted.told_apart(**{name: float(parameters[name]) for name in PARTS})
    ahead = Gain.of(judge.earned(said(best)) - judge.earned(said(fitted)))
    return (best if ahead.lower(PROVEN) > 0 else fitted), trials


def nearest_kernel(memory: Memory) -> Kernel:
    """Return the kernel whose out-of-fold word explains most of the differences between rivals."""
    rows = np.flatnonzero(memory.known.judged)
    return max(kernels(memory), key=lambda kernel: explained(memory.known, memory.smooth(kernel, rows)))
