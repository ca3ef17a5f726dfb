"""The recipe: routes where candidates differ, stays where nothing can be learned, and says so in plain data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate
from beastmode.objective import Objective
from beastmode.router import Router
from features.outcomes import catalogue
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import exporting
from models.fitted import Learning
from models.recipes import Settings, Trained, train

SMALL = Settings(learning=Learning(folds=3, trials=4, rounds=20, prototypes=64))


def specialists(table: Table) -> Table:
    """The world without its generalist: there, who is best depends on the topic."""
    names = ("quality", "cost_usd", "latency_ms", "output_tokens")
    return replace(table, candidates=table.candidates[2:], **{name: getattr(table, name)[:, 2:] for name in names})


@pytest.fixture(scope="module")
def table() -> Table:
    return specialists(outcomes(SyntheticSettings(prompts=900), 5)[0])


@pytest.fixture(scope="module")
def trained(table) -> Trained:
    return train(table.take(np.arange(600)), SMALL, 0, candidates=catalogue(table)[::-1], objective=Objective())


def test_routing_is_worth_something_on_prompts_not_seen(table, trained, tmp_path):
    test = table.take(np.arange(600, 900))
    made = exporting.bundle(trained, name="b", created="2026-01-01", training={}, evaluation={}).write(tmp_path / "b")
    router = Router(Bundle.read(tmp_path / "b", made.sha256))
    columns = [table.candidates.index(router.route(text).candidate) for text in test.texts]
    gain = test.quality[np.arange(300), columns] - test.quality[:, trained.policy.incumbent]
    assert trained.report["routes"]
    assert gain.mean() > 3 * gain.std() / np.sqrt(300)
    stated, error = trained.metrics["cv_gain"], trained.metrics["cv_gain_se"]
    assert abs(gain.mean() - stated) < 3 * (error + gain.std() / np.sqrt(300))


def test_candidates_are_taken_in_the_order_of_the_table(table, trained):
    assert tuple(candidate.name for candidate in trained.candidates) == table.candidates


def test_the_report_is_plain_data_and_names_the_choice(trained):
    report = json.loads(json.dumps(trained.report))
    assert report["best_single"] == trained.candidates[trained.policy.incumbent].name
    assert len(report["trials"]) == 4
    assert {"number", "value", "params", "state"} == set(report["trials"][0])
    assert report["feature_importance"][0][1] >= report["feature_importance"][-1][1]
    assert all(name.startswith("cv_") for name in trained.metrics)


def test_a_baseline_is_exported_too(trained, tmp_path):
    made = exporting.baseline_bundle(trained, name="k", created="2026-01-01", training={}, evaluation={})
    assert made.write(tmp_path / "k").sha256
    alone = replace(trained, baseline=None)
    with pytest.raises(ValueError, match="no baseline"):
        exporting.baseline_bundle(alone, name="k", created="2026-01-01", training={}, evaluation={})


def test_operating_points_trade_quality_for_money(trained):
    assert [point.quality_ratio for point in trained.operating_points] == list(SMALL.ratios)
    savings = [trade["saving"] for trade in trained.report["trades"]]
    assert savings == sorted(savings, reverse=True)
    assert savings[0] > 0.1


def test_scores_that_say_nothing_of_the_prompt_leave_the_incumbent_in_place(table):
    mixed = np.random.default_rng(0).permutation(len(table))
    noise = replace(table, quality=table.quality[mixed])
    made = train(noise, SMALL, 0, candidates=catalogue(table), objective=Objective())
    quality = made.scorer.predict(made.encoder.encode(table.texts), table.input_tokens).quality
    left = made.policy.probabilities(quality, np.ones(quality.shape, bool))[:, made.policy.incumbent]
    # Means differ by more than what noise moves: hardly a request may leave the best single candidate.
    assert left.mean() > 0.9


def test_a_price_of_money_moves_the_incumbent_and_the_policy(table):
    made = train(table, SMALL, 0, candidates=catalogue(table), objective=Objective(per_dollar=200.0))
    cost = table.cost_usd.mean(axis=0)
    utility = (table.quality - 200.0 * table.cost_usd).mean(axis=0)
    assert made.policy.incumbent == int(np.argmax(utility))
    assert cost[made.policy.incumbent] < cost.max()


def test_what_cannot_be_trained_is_named(table):
    with pytest.raises(ValueError, match="unknown selector 'oracle'; known: constant"):
        train(table, Settings(selector="oracle"), 0, candidates=catalogue(table), objective=Objective())
    with pytest.raises(ValueError, match="'spark-nano' of the table is not in the catalogue"):
        train(table, SMALL, 0, candidates=catalogue(table)[:-1], objective=Objective())
    blind = replace(table, quality=np.full(table.quality.shape, np.nan))
    with pytest.raises(ValueError, match="no quality was observed"):
        train(blind, SMALL, 0, candidates=[Candidate(name) for name in table.candidates], objective=Objective())


def test_progress_ends_at_one(table):
    said: list[float] = []
    train(
        table.take(np.arange(60)), replace(SMALL, selector="constant"), 0, candidates=catalogue(table),
        objective=Objective(), progress=lambda stage, share: said.append(share),
    )  # fmt: skip
    assert said == sorted(said)
    assert said[-1] == 1.0


def test_lengths_and_costs_are_scored_out_of_fold(table, trained):
    found = trained.metrics
    assert found["cv_output_tokens_pinball_ratio"] + 2 * found["cv_output_tokens_pinball_ratio_se"] < 1
    assert found["cv_output_tokens_pinball"] < found["cv_output_tokens_pinball_per_model"]
    assert found["cv_output_tokens_coverage"] == pytest.approx(0.9, abs=0.03)
    assert found["cv_output_tokens_r2_log"] > 0.1
    assert found["cv_cost_ratio"] == pytest.approx(1, abs=0.05)
    # The world tells no latency: nothing is said of how well it is foretold.
    assert not any("latency" in name for name in found)


def test_latencies_are_scored_where_they_were_seen(table):
    rng = np.random.default_rng(0)
    slow = (200 + 15 * table.output_tokens) * rng.lognormal(0, 0.2, table.output_tokens.shape)
    timed = replace(table, latency_ms=slow).take(np.arange(600))
    found = train(timed, SMALL, 0, candidates=catalogue(table), objective=Objective()).metrics
    assert found["cv_latency_r2_log"] > 0.1
    assert found["cv_latency_pinball_ratio"] < 1
    assert found["cv_latency_coverage"] == pytest.approx(0.9, abs=0.03)
