import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from beastmode.bundle import Bundle
from features.outcomes import fingerprint
from pipelines.context import Context
from pipelines.settings import Split
from pipelines.train import NotEnough, held_out, train_selector

AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_no_prompt_stands_on_both_sides(table) -> None:
    twice = replace(table, texts=tuple(text if i % 7 else table.texts[0] for i, text in enumerate(table.texts)))
    parts = held_out(twice, Split())
    assert not set(parts.train.prompts) & set(parts.test.prompts)
    assert parts.train.at.max() < parts.test.at.min()


def test_too_little_is_refused_with_what_is_missing(table) -> None:
    unrated = replace(table, quality=np.full_like(table.quality, np.nan))
    with pytest.raises(NotEnough, match=r"0 of 600 requests have a known quality, 40 are needed"):
        held_out(unrated, Split())


def test_a_run_holds_what_a_person_asks_for(context: Context, table, candidates, tmp_path: Path) -> None:
    stages = []
    training = train_selector(
        context, table, candidates, AT, progress=lambda stage, share: stages.append((stage, share))
    )
    found = context.tracker.client.get_run(training.run_id)
    assert found.info.status == "FINISHED"
    assert "Not judged yet" in found.data.tags["mlflow.note.content"]
    run = context.tracker.of(training.run_id)
    known = run.kept("identity.json")
    assert known["test_sha256"] == fingerprint(training.test)
    metrics = found.data.metrics
    assert {"training/cv_gain", "training/cv_gain_se"} <= set(metrics)
    paths = {artifact.path for artifact in context.tracker.client.list_artifacts(training.run_id)}
    assert {"bundle", "baseline", "best_single", "config.json", "training_report.json"} <= paths
    assert stages[-1] == ("done", 1.0)
    bundle = Bundle.read(run.download("bundle", tmp_path), found.data.tags["bundle_sha256"])
    assert bundle.mlflow_run_id == training.run_id
    assert bundle.sha256 == training.bundle.sha256
    assert bundle.training["rows"] == training.train_rows
    assert bundle.training["sha256"] == known["train_sha256"]
    assert json.loads(run.download("training_report.json", tmp_path).read_text())["best_single"] == training.best_single


def test_a_candidate_that_was_hardly_asked_has_figures_of_its_own(context: Context, table, candidates) -> None:
    quality = table.quality.copy()
    quality[np.arange(len(table)) % 4 > 0, 2] = np.nan
    recipe = replace(context.settings.recipe, selector="blend")
    blended = replace(context, settings=context.settings.model_copy(update={"recipe": recipe}))
    training = train_selector(blended, replace(table, quality=quality), candidates, AT)
    metrics = context.tracker.client.get_run(training.run_id).data.metrics
    figures = {name.rpartition("/")[2]: value for name, value in metrics.items() if name.startswith("newcomer/")}
    assert set(figures) == {"probes", "mean", "se", "promised", "probes_needed"}
    assert f"newcomer/{table.candidates[2]}/se" in metrics
    assert 60 < figures["probes"] < 150
    (one,) = context.tracker.of(training.run_id).kept("training_report.json")["newcomers"]
    assert one["candidate"] == table.candidates[2]


def test_the_first_bundle_sends_everything_to_the_best_single(context: Context, table, candidates) -> None:
    training = train_selector(context, table, candidates, AT)
    drawn = training.first.probabilities(training.test.texts, training.test.input_tokens)
    column = table.candidates.index(training.best_single)
    assert (drawn[:, column] == 1).all()


def test_a_candidate_that_came_after_the_cut_is_asked_last(context: Context, table, candidates) -> None:
    late = np.where(np.arange(len(table))[:, None] < 500, np.nan, 1.0)
    newest = table.candidates.index("large") if "large" in table.candidates else 0
    quality = table.quality.copy()
    quality[:, newest] *= late[:, 0]
    training = train_selector(context, replace(table, quality=quality), candidates, AT)
    assert training.first.expect(["any"]).quality[0, newest] == 0
    assert training.best_single != table.candidates[newest]


def test_the_same_table_and_seed_give_the_same_router(context: Context, table, candidates) -> None:
    one, two = (train_selector(context, table, candidates, AT) for _ in range(2))
    drawn = [t.bundle.expect(t.test.texts, t.test.input_tokens).quality for t in (one, two)]
    assert np.array_equal(drawn[0], drawn[1])


def test_no_prompt_reaches_bundle_or_artifacts(context: Context, table, candidates) -> None:
    canary = "zanzibar-canary-7731"
    texts = tuple(f"{text} {canary}{i}" if i % 97 == 0 else text for i, text in enumerate(table.texts))
    train_selector(context, replace(table, texts=texts), candidates, AT)
    leaked = [p for p in context.workspace.root.rglob("*") if p.is_file() and canary.encode() in p.read_bytes()]
    assert leaked == []
