"""Examples: which rows teach, what the means are, and that twins share a fold."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from features.outcomes import catalogue
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models.examples import ENOUGH, deal, examples


@pytest.fixture(scope="module")
def table() -> Table:
    return outcomes(SyntheticSettings(prompts=300), 0)[0]


def known_of(table, objective=None):
    encoding = np.zeros((len(table), 3), dtype=np.float32)
    return examples(table, encoding, ("a", "b", "c"), slice(0, 3), catalogue(table), objective or Objective(), 4, 0)


def hide(table: Table, seen: np.ndarray) -> Table:
    names = ("quality", "cost_usd", "latency_ms", "output_tokens")
    return replace(table, **{name: np.where(seen, getattr(table, name), np.nan) for name in names})


def test_twins_share_a_fold_and_blank_prompts_do_not(table):
    texts = list(table.texts)
    texts[1], texts[2], texts[3:40] = "  " + texts[0].upper(), texts[0], [""] * 37
    fold = deal(replace(table, texts=tuple(texts)), 4, 0)
    assert fold[0] == fold[1] == fold[2]
    assert len(set(fold[3:40].tolist())) == 4
    assert np.bincount(fold).min() > 40


def test_a_logged_choice_does_not_teach_quality(table):
    n, m = table.quality.shape
    # The policy serves candidate 0 only where it fails: its served mean is zero, its true mean is not.
    probed = np.arange(n) < 2 * ENOUGH
    failed = ~probed & (table.quality[:, 0] == 0)
    seen = probed[:, None] | (failed[:, None] & (np.arange(m) == 0))
    known = known_of(hide(replace(table, probed=probed, served=np.where(failed, 0, -1)), seen))
    assert known.judged.tolist() == probed.tolist()
    np.testing.assert_allclose(known.mean, table.quality[probed].mean(axis=0))


def test_without_probes_means_are_weighed_by_the_inverse_propensity(table):
    n, m = table.quality.shape
    rng = np.random.default_rng(0)
    one = int(np.argmin(np.abs(table.quality.mean(axis=0) - 0.5)))
    other = (one + 1) % m
    # The policy knows where this one succeeds, and serves it there.
    favours = np.where(table.quality[:, one] == 1, 0.8, 0.2)
    served = np.where(rng.random(n) < favours, one, other)
    seen = np.arange(m) == served[:, None]
    chance = np.where(served == one, favours, 1 - favours)
    known = known_of(hide(replace(table, probed=np.zeros(n, dtype=bool), served=served, propensity=chance), seen))
    truth, naive = table.quality[:, one].mean(), table.quality[served == one, one].mean()
    assert abs(naive - truth) > 0.15
    assert abs(known.mean[one] - truth) < 0.08
    assert not known.judged.any()


def test_a_candidate_hardly_asked_is_not_taken_for_the_best(table):
    m = len(table.candidates)
    seen = np.ones(table.quality.shape, dtype=bool)
    seen[5:, m - 1] = False
    lucky = table.quality.copy()
    lucky[:5, m - 1] = 1.0
    known = known_of(hide(replace(table, quality=lucky), seen))
    assert known.active.tolist() == [True] * (m - 1) + [False]
    assert known.judged.all()
    assert known.mean[m - 1] < known.mean[: m - 1].min()
    assert known.incumbent != m - 1


def test_the_incumbent_follows_the_objective(table):
    dear = known_of(table).incumbent
    cheap = known_of(table, Objective(per_dollar=1000.0)).incumbent
    cost = np.nanmean(table.cost_usd, axis=0)
    assert dear == int(np.argmax(table.quality.mean(axis=0)))
    assert cost[cheap] < cost[dear]


def test_nothing_observed_and_nothing_priced_are_refused_with_a_remedy(table):
    with pytest.raises(ValueError, match="join feedback"):
        known_of(hide(table, np.zeros(table.quality.shape, dtype=bool)))
    unpriced = replace(table, cost_usd=np.full(table.cost_usd.shape, np.nan))
    with pytest.raises(ValueError, match="per_dollar"):
        known_of(unpriced, Objective(per_dollar=1.0))
