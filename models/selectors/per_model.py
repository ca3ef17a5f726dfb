"""One LightGBM model a candidate: the negative control, which predicts well and routes badly (the winner's curse)."""

from typing import Any

import numpy as np

from beastmode.blend import PARTS, Blend, Ridge, combine
from beastmode.scoring import Predicted
from models.examples import ENOUGH, Examples
from models.fitted import Fitted, Learning
from models.forests import fit_forests
from models.prototypes import Memory
from models.ridge import TEMPERATURE
from models.selectors import constant
from models.selectors.blend import nearest_kernel
from models.usage import crossed_usage, fit_usage


def train(known: Examples, settings: Learning, seed: int, study: Any = None) -> Fitted:
    """Fit a forest on each candidate's own excess; nothing is shared, nothing is shrunk."""
    memory = Memory.of(known, settings.prototypes, seed) if known.judged.sum() >= ENOUGH else None
    if memory is None:
        return constant.train(known, settings, seed)
    kernel, m = nearest_kernel(memory), len(known.mean)
    near = memory.smooth(kernel, np.arange(len(known)))
    silent = np.zeros_like(near)
    forests = fit_forests(known, near, silent, settings, seed, np.eye(m))
    usage = fit_usage(known.table, forests.spoken, forests.lengths)
    amounts = crossed_usage(known.table, known.fold, forests.spoken, forests.lengths)
    mix = np.zeros((len(PARTS), m, m))
    mix[PARTS.index("factors")] = np.eye(m)
    whole = memory.whole
    mute = Ridge(TEMPERATURE, np.zeros((len(whole.centre) + known.encoding.shape[1], m)))
    scorer = Blend(whole, kernel, None, mute, forests.factors(), mix, known.mean, usage)
    words = [near, silent, forests.out_of_fold @ forests.loadings.T]
    quality = np.clip(combine(words, mix, known.mean), 0.0, 1.0)
    report = {"feature_importance": forests.importance(known.names)}
    return Fitted(Blend.from_parts(scorer.parts()), Predicted(quality, *amounts), report)
