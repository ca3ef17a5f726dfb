"""Tuned nearest neighbours: the baseline that most routers of the literature do not beat."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.neighbours import Kernel, Neighbours
from beastmode.scoring import Predicted
from models.examples import ENOUGH, Examples
from models.fitted import Fitted, Judge, Learning
from models.prototypes import Memory
from models.selectors import constant
from models.usage import crossed_usage, fit_usage

Floats = NDArray[np.float64]

TEMPERATURES = (2.0, 5.0, 12.0)
SHARES = (0.03, 0.06, 0.12, 0.25)
TRUSTS = (0.5, 1.0, 1.25)


def fit(known: Examples, settings: Learning, seed: int, tried: Sequence[tuple[Memory, Kernel]]) -> Fitted:
    """Fit the memory, kernel and trust whose cross-validated policy value is highest, one standard error off it.

    More doubt would choose the mean where differences are small, and a baseline must not be timid. The constant
    selector where nothing is to be tried.
    """
    if known.judged.sum() < ENOUGH or not tried:
        return constant.train(known, settings, seed)
    usage = fit_usage(known.table)
    amounts = crossed_usage(known.table, known.fold)
    judge = Judge.of(known, amounts, min(settings.caution, 1.0))
    reached = -np.inf
    for memory, kernel in tried:
        excess = memory.smooth(kernel, judge.rows)
        for trust in TRUSTS:
            _, gain = judge.margin(known.mean + trust * excess)
            if gain.lower(judge.caution) > reached:
                reached, best = gain.lower(judge.caution), (memory, kernel, trust, gain)
    memory, kernel, trust, gain = best
    excess = memory.smooth(kernel, np.arange(len(known)))
    report = {
        "temperature": kernel.temperature,
        "nearest": kernel.nearest,
        "trust": trust,
        "prototypes": len(memory.whole.centre),
        "gain": gain.mean,
        "gain_se": gain.se,
    }
    scorer = Neighbours(memory.whole, kernel, trust, known.mean, usage)
    return Fitted(scorer, Predicted(np.clip(known.mean + trust * excess, 0.0, 1.0), *amounts), report)


def kernels(memory: Memory) -> Iterator[Kernel]:
    """Yield the kernels that are tried."""
    for temperature in TEMPERATURES:
        for share in SHARES:
            yield memory.kernel(temperature, share)


def train(known: Examples, settings: Learning, seed: int, study: Any = None) -> Fitted:
    """Tune and fit neighbours on prototypes; the constant selector where the examples are too few."""
    memory = Memory.of(known, settings.prototypes, seed) if known.judged.sum() >= ENOUGH else None
    tried = [] if memory is None else [(memory, kernel) for kernel in kernels(memory)]
    return fit(known, settings, seed, tried)
