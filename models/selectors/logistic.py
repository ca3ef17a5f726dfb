"""Logistic regression of each candidate on the encoding, held to the mean by a cross-validated penalty."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.logistic import Logistic, clipped, sigmoid
from beastmode.scoring import Predicted
from models.examples import ENOUGH, Examples
from models.fitted import Fitted, Learning
from models.routing_metrics import brier
from models.selectors import constant
from models.usage import crossed_usage, fit_usage

Floats = NDArray[np.float64]

PENALTIES = (3.0, 10.0, 30.0, 100.0)
STEPS = 8
"""Newton steps: the penalty keeps them short, and six settle."""


def train(known: Examples, settings: Learning, seed: int, study: Any = None) -> Fitted:
    """Fit on the judged rows; the constant selector where they are too few. Nothing is drawn: the seed is not used."""
    if known.judged.sum() < ENOUGH:
        return constant.train(known, settings, seed)
    columns = clipped(known.encoding)
    tried = [(penalty, _crossed(known, columns, penalty)) for penalty in PENALTIES]
    judged, active = known.judged, known.active
    truth = known.table.quality[judged][:, active]
    penalty, said = min(tried, key=lambda one: brier(truth, one[1][judged][:, active]))
    scorer = Logistic(*_fit(known, columns, judged, penalty), fit_usage(known.table))
    amounts = crossed_usage(known.table, known.fold)
    return Fitted(scorer, Predicted(said, *amounts), {"penalty": penalty})


def _crossed(known: Examples, columns: Floats, penalty: float) -> Floats:
    """Return the qualities predicted for each request by the other folds, (n, m)."""
    said = np.empty_like(known.table.quality)
    for fold in range(known.folds):
        inside = known.fold == fold
        offset, weight = _fit(known, columns, known.judged & ~inside, penalty)
        said[inside] = sigmoid(offset + columns[inside] @ weight)
    return said


def _fit(known: Examples, columns: Floats, rows: NDArray[np.bool_], penalty: float) -> tuple[Floats, Floats]:
    """Return offsets (m,) and weights (columns, m) by penalised Newton steps; graded outcomes are shares of success."""
    x = np.concatenate([np.ones((int(rows.sum()), 1)), columns[rows]], axis=1)
    held = penalty * np.eye(x.shape[1])
    held[0, 0] = 1e-6
    mean = np.clip(known.mean, 1e-3, 1 - 1e-3)
    found = np.zeros((x.shape[1], len(mean)))
    found[0] = np.log(mean / (1 - mean))
    for column in np.flatnonzero(known.active).tolist():
        beta, truth = found[:, column], known.table.quality[rows, column]
        for _ in range(STEPS):
            p = sigmoid(x @ beta)
            bend = np.maximum(p * (1 - p), 1e-6)
            beta = beta + np.linalg.solve((x * bend[:, None]).T @ x + held, x.T @ (truth - p) - held @ beta)
        found[:, column] = beta
    return found[0], found[1:]
