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


def asked_of_some(table: Table, seed: int = 0) -> Table:
    """A third of the rows was asked of everyone, the rest of all but one or two."""
    rng = np.random.default_rng(seed)
    n, m = table.quality.shape
    left = rng.permuted(np.tile(np.arange(m), (n, 1)), axis=1)[:, :2]
    seen = np.ones((n, m), dtype=bool)
    some = np.flatnonzero(np.arange(n) % 3 > 0)
    for column in range(2):
        seen[some, left[some, column]] = False
    return hide(replace(table, probed=np.arange(n) % 3 == 0), seen)


def test_partly_asked_rows_teach_but_judge_nothing(table):
    whole, part = known_of(table), known_of(asked_of_some(table))
    judged = np.arange(len(table)) % 3 == 0
    assert part.active.all()
    assert part.judged.tolist() == judged.tolist()
    assert part.taught.all()
    gaps = np.isnan(part.table.quality)
    assert np.isfinite(part.filled).tolist() == gaps.tolist(), "gaps are filled, and nothing else"
    assert ((part.filled[gaps] >= 0) & (part.filled[gaps] <= 1)).all()
    # No filled cell reaches what values a policy or names an incumbent.
    np.testing.assert_allclose(part.mean, table.quality[judged].mean(axis=0))
    assert np.isnan(part.realised[gaps]).all()
    alone = known_of(hide(table, judged[:, None] & np.ones(gaps.shape, dtype=bool)))
    assert part.incumbent == alone.incumbent
    assert not np.isfinite(whole.filled).any()
    np.testing.assert_array_equal(whole.excess, table.quality - whole.mean)


def test_what_fills_a_gap_is_nearer_the_truth_than_the_mean(table):
    part = known_of(asked_of_some(table))
    gaps = np.isnan(part.table.quality)
    truth = (table.quality - part.mean)[gaps]
    assert ((part.excess[gaps] - truth) ** 2).mean() < 0.97 * (truth**2).mean()


def test_a_folds_gaps_are_filled_by_that_fold_alone(table):
    part = asked_of_some(table)
    before = known_of(part)
    inside = before.fold == 2
    # The judged rows stay, so that the means do: only what was partly asked is turned around.
    turned = np.where((inside & ~before.judged)[:, None], 1 - part.quality, part.quality)
    after = known_of(replace(part, quality=turned))
    np.testing.assert_array_equal(after.filled[~inside], before.filled[~inside])
    assert not np.array_equal(np.nan_to_num(after.filled[inside]), np.nan_to_num(before.filled[inside]))


def test_what_was_served_alone_teaches_no_quality_beside_partial_probes(table):
    part = asked_of_some(table)
    alone = np.arange(len(table)) % 7 == 1
    first = np.argmax(np.isfinite(part.quality), axis=1)
    quality = np.where(alone[:, None] & (np.arange(part.quality.shape[1]) != first[:, None]), np.nan, part.quality)
    known = known_of(replace(part, quality=quality))
    assert not known.taught[alone].any()
    assert np.isnan(known.filled[alone]).all()
