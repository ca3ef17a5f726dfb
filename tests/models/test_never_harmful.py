"""Where one candidate dominates, the recipe stays with it, and its report says so."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from features.outcomes import catalogue
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models.fitted import Learning
from models.recipes import Settings, Trained, train

SMALL = Settings(learning=Learning(folds=3, trials=4, rounds=20, prototypes=64))
FREE = Objective(per_dollar=0.0, per_second=0.0)


@pytest.fixture(scope="module")
def table() -> Table:
    return outcomes(SyntheticSettings(prompts=600), 5)[0]


def trained_on(table: Table, quality: np.ndarray) -> Trained:
    changed = replace(table, quality=quality.astype(float))
    return train(changed, SMALL, 0, candidates=catalogue(changed), objective=FREE)


def stays(trained: Trained) -> bool:
    """Whether the report says that nothing is routed, and nothing is gained or lost by it."""
    apart = trained.metrics["cv_utility"] - trained.metrics["cv_best_single_utility"]
    return not trained.report["routes"] and trained.report["margin"] is None and apart == 0.0


def test_where_one_candidate_dominates_on_every_request_it_stays(table: Table) -> None:
    # The others succeed only where it does: whatever is foretold of a request, leaving it gains nothing.
    rng = np.random.default_rng(2)
    ours = rng.random(len(table)) < 0.8
    quality = (rng.random(table.quality.shape) < 0.7) & ours[:, None]
    quality[:, 1] = ours
    trained = trained_on(table, quality)
    assert trained.report["best_single"] == table.candidates[1]
    assert stays(trained)
