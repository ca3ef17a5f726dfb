"""Where routing cannot help, the recipe stays with the best single candidate, and its report says so."""

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


@pytest.mark.slow
def test_where_candidates_are_equal_chance_seldom_routes(table: Table) -> None:
    # Half a standard error above zero is passed by chance in some thirty of a hundred; picking a margin adds nothing.
    alone = table.take(np.arange(300))
    routed = 0
    for seed in range(20, 28):
        chance = np.random.default_rng(seed).random(alone.quality.shape)
        trained = trained_on(alone, chance < 0.6)
        routed += trained.report["routes"]
        assert trained.report["routes"] or stays(trained)
        assert (trained.report["unconfirmed"] is None) == trained.report["routes"]
    assert routed <= 5  # more has a chance of .02, and it is nothing lost among equals
