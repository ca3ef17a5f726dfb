"""The verifier's flow: real pairs in a file, a real lake, a real MLflow, and the cache that serves what came of it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from beastmode import Journal
from beastmode.cache import Cache, CacheSettings, Cosine, Memory, Semantic
from beastmode.cache.tuned import VERIFIERS, verifier
from beastmode.errors import BundleError, StoreError
from beastmode.store import Store
from features.canaries import Live
from features.questions import questions
from features.worlds.questions import pairs
from models.encoders import EncoderSettings, fit
from pipelines import logs
from pipelines.context import Context
from pipelines.printing import told
from pipelines.rollback import rollback
from pipelines.settings import SettingsError, load
from pipelines.train import NotEnough
from pipelines.train_verifier import TrainedVerifier, bounded, train_verifier
from tests.pipelines.test_promote import bundle

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
TRAINING = {"trees": 60, "edited": 400, "candidates": 8, "budget": 0.03}


def configured(tmp_path: Path, **section: Any) -> Path:
    known = {"pairs": "{root}/pairs.parquet", "test_share": 0.3, **section}
    training = {**TRAINING, **known.pop("training", {})}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in known.items())
    more = "\n".join(f"{name} = {json.dumps(value)}" for name, value in training.items())
    path = tmp_path / "mine.toml"
    path.write_text(
        f'[paths]\nroot = "{tmp_path}/workspace"\n[[ingest.sources]]\npath = "{{root}}/logs/*.jsonl"\n'
        f"[verifier]\n{lines}\n[verifier.training]\n{more}\n"
    )
    return path


def write_pairs(root: Path, count: int = 900) -> None:
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(pairs(count, 0)), root / "pairs.parquet")


def opened(path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A workspace with pairs, and a router in service whose encoder was fitted on their questions."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = load(path)
    write_pairs(settings.paths.root)
    (settings.paths.root / "mlflow.db").write_bytes(database.read_bytes())
    context = Context.open(settings)
    texts = questions(pairs(900, 0)).texts
    shape = EncoderSettings(surface_columns=0, term_columns=96)
    encoder = fit(texts, [str(i) for i in range(len(texts))], shape, 0)
    context.store.add(replace(bundle("router"), encoder=encoder))
    context.store.promote("router", at=AT.isoformat(), reason="test")
    return context


def run(context: Context, at: datetime) -> TrainedVerifier:
    return train_verifier(context, at, lambda stage, share: None)


def again(path: Path, *overrides: str) -> Context:
    return Context.open(load(path, overrides))


def test_a_verifier_is_trained_tracked_and_served_and_only_what_is_not_worse_replaces_it(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured(tmp_path)
    context = opened(path, database, monkeypatch)
    with pytest.raises(StoreError, match="train-verifier"):
        verifier(context.store.path)
    first = run(context, AT)
    assert first.verdict.promote
    assert first.verdict.reason == "no verifier serves yet"
    judged = first.new.stream.at(first.new.threshold)
    assert 0.05 < judged["good"] <= first.new.stream.ceiling
    assert judged["wrong"] <= 0.03
    known = first.learned.verifier.told
    assert known is not None
    assert known["wrong"] < known["wrong_upper"] <= TRAINING["budget"]

    # What the pointer names is what was judged, and what a cache loads.
    served = verifier(context.store.path)
    assert served.threshold == first.learned.verifier.threshold
    assert served.text == first.learned.verifier.text
    semantic = Semantic(context.store.load_champion().encoder, served, quarantine_seconds=0, canary_share=0)
    with Cache([Memory(), semantic], CacheSettings(ttl_seconds=60)) as cache:
        cache.put("Can I return a premium camera after 3 weeks in Norway?", "Yes.", model="m")
        assert cache.get("can i return the premium camera after 3 weeks in Norway", model="m") is not None
        assert cache.get("Can I return a premium camera after 5 weeks in Norway?", model="m") is None

    tracked = context.tracker.client.get_run(first.run_id)
    assert tracked.data.tags["verdict"] == "promote"
    assert tracked.data.metrics["new/good"] == pytest.approx(judged["good"])
    assert tracked.data.metrics["training/wrong_upper"] <= TRAINING["budget"]
    assert tracked.data.params["verifier.training.trees"] == "60"
    artifacts = {file.path for file in context.tracker.client.list_artifacts(first.run_id)}
    assert {"verifier", "plots", "config.json", "training.json"} <= artifacts
    written = b"".join(file.read_bytes() for file in context.workspace.artifacts.rglob("*") if file.is_file())
    assert b"premium" not in written, "a question left the training"

    # One tree tells less apart: it is held, and what serves stays. The same training again is not worse.
    worse = run(again(path, "verifier.training.trees=1", "verifier.training.learning_rate=0.01"), AT + timedelta(1))
    assert not worse.verdict.promote
    assert verifier(context.store.path).text == served.text
    same = run(again(path), AT + timedelta(2))
    assert same.verdict.promote
    assert same.verdict.gain == 0.0
    pointer = Store(context.store.path / VERIFIERS).champion()
    assert pointer is not None
    assert (pointer.bundle, same.pointer) == (same.name, pointer)
    assert pointer.previous is not None
    assert pointer.previous.bundle == first.name
    assert f"in service: {same.name}" in "\n".join(told("train-verifier", same, context.settings))


def asked(context: Context, texts: Sequence[tuple[str, str]], answers: dict[str, str]) -> None:
    """Let an application ask each pair of questions, with a semantic cache that checks every hit."""
    semantic = Semantic(
        context.store.load_champion().encoder, Cosine(0.01), quarantine_seconds=0, canary_share=1.0, floor=0.0
    )
    with Journal(context.workspace.logs) as journal:
        for number, pair in enumerate(texts):
            cache = Cache([Memory(), semantic], journal=journal, seed=0)
            for text in pair:
                cache.fetch(text, lambda miss: answers[miss.request.text], model="m", tenant=str(number))
        # Another application, without a semantic cache: none of the requests that its wrong answers are a share of.
        for _ in range(1000):
            Cache([Memory()], journal=journal).fetch("hello", lambda miss: "hello", model="m")


def test_canaries_of_the_journal_teach_and_bound_what_is_served(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured(tmp_path)
    context = opened(path, database, monkeypatch)
    first = run(context, datetime.now(UTC) - timedelta(hours=1))
    assert (first.checked.live.checked, first.checked.low) == (0, 0.0)
    fresh = [row for row in pairs(200, 7) if row["text_a"] != row["text_b"]][:120]
    answers = {str(row[f"text_{side}"]): str(row[f"answer_class_{side}"]) for row in fresh for side in "ab"}
    context.workspace.logs.mkdir(parents=True)
    asked(context, [(str(row["text_a"]), str(row["text_b"])) for row in fresh], answers)
    assert logs.ingest(context, datetime.now(UTC) + timedelta(minutes=1)).quarantined == 0

    done = run(again(path), datetime.now(UTC) + timedelta(minutes=2))
    live = done.checked.live
    different = sum(row["label"] == 0 for row in fresh)
    assert 50 < live.checked <= len(fresh)
    assert 0 < live.disagreed <= different
    assert live.hits == live.checked
    assert 2 * len(fresh) - 10 < live.requests <= 2 * len(fresh), "but for those since the last canary"
    assert 0 < done.checked.low < live.disagreed / live.requests < done.checked.high < 1
    # Two questions in five of those that were served were others: the verifier in service is proven over its budget.
    assert done.verdict.promote
    assert "on traffic" in done.verdict.reason
    kept = context.tracker.of(done.run_id).kept("training.json")
    assert kept["canaries"] == live.checked
    assert context.tracker.client.get_run(done.run_id).data.metrics["live/disagreed"] == live.disagreed
    # From canaries alone there is too little to learn, and it says so.
    with pytest.raises(NotEnough, match=r"groups cannot make|every pair has one label|no pair"):
        run(again(path, "verifier.history_days=0.000001", "verifier.pairs=''"), datetime.now(UTC) + timedelta(days=1))


def test_a_rollback_puts_the_previous_verifier_back_into_service(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = opened(configured(tmp_path), database, monkeypatch)
    with pytest.raises(StoreError, match="verifiers: there is no previous bundle to roll back to"):
        rollback(context, "verifier", AT, "test")
    run(context, AT)
    store = Store(context.store.path / VERIFIERS)
    stricter = replace(verifier(context.store.path), threshold=0.99)
    stricter.write(store.folder("stricter"))
    store.promote("stricter", at=AT.isoformat(), reason="test")
    back = rollback(context, "verifier", AT, "it serves too little")
    assert verifier(context.store.path).threshold < 0.99
    pointer = store.champion()
    assert pointer is not None
    assert (pointer, pointer.reason) == (back.pointer, "it serves too little")
    assert "to go back to stricter: python -m pipelines rollback --of verifier --config mine" in list(
        told("rollback", back, context.settings)
    )
    # A second one comes back; one whose bytes are off is not returned to, and the routers' pointer is another.
    rollback(context, "verifier", AT, "test")
    assert verifier(context.store.path).threshold == 0.99
    (store.folder(back.pointer.bundle) / "rarity.npz").write_bytes(b"")
    with pytest.raises(BundleError, match="rarity"):
        rollback(context, "verifier", AT, "test")
    assert verifier(context.store.path).threshold == 0.99
    assert context.store.champion().previous is None


@pytest.mark.parametrize(
    ("hit", "wrong", "share"),
    [(0.05, 0.02, 1.0), (0.3, 0.02, 0.1), (0.3, 0.4, 0.05), (0.8, 0.4, 1.0), (0.6, 0.1, 0.02)],
)
def test_the_bounds_of_wrong_answers_on_traffic_hold_the_truth(hit: float, wrong: float, share: float) -> None:
    """1,000 worlds of 4,000 requests with counts told by canaries alone: at most 5% miss it, on either side."""
    rng = np.random.default_rng(5)
    worlds, n, truth, missed = 1000, 4000, hit * wrong, [0, 0]
    for _ in range(worlds):
        hits = rng.random(n) < hit
        canaried = hits & (rng.random(n) < share)
        told = int(np.flatnonzero(canaried)[-1]) + 1 if canaried.any() else 0
        disagreed = int((canaried & (rng.random(n) < wrong)).sum())
        found = bounded(Live(told, int(hits[:told].sum()), int(canaried.sum()), disagreed), 0.05)
        missed[0] += found.low > truth
        missed[1] += found.high < truth
    assert max(missed) <= 0.05 * worlds + 2 * np.sqrt(0.05 * 0.95 * worlds), missed


def test_pairs_are_read_from_csv_and_what_cannot_be_read_is_named(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured(tmp_path)
    context = opened(path, database, monkeypatch)
    pa.csv.write_csv(pa.Table.from_pylist(pairs(900, 0)), tmp_path / "pairs.csv")
    by_csv = run(again(path, f"verifier.pairs={tmp_path}/pairs.csv"), AT)
    by_parquet = run(context, AT + timedelta(1))
    assert by_csv.learned.verifier.text == by_parquet.learned.verifier.text
    with pytest.raises(SettingsError, match=r"verifier\.pairs = .*none\.parquet"):
        run(again(path, "verifier.pairs=none.parquet"), AT)
    with pytest.raises(NotEnough, match="canary_share"):
        run(again(path, "verifier.pairs="), AT)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(NotEnough, match="lacks text_a"):
        run(again(path, f"verifier.pairs={tmp_path}/bad.csv"), AT)


def test_a_verifier_of_another_version_is_replaced_and_never_loaded(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured(tmp_path)
    context = opened(path, database, monkeypatch)
    first = run(context, AT)
    file = Store(context.store.path / VERIFIERS).folder(first.name) / "forest_verifier.txt"
    file.write_text(file.read_text().replace("num_leaves=", "num_leaves=1", 1))
    with pytest.raises(BundleError):
        verifier(context.store.path)
    second = run(again(path), AT + timedelta(1))
    assert second.verdict.promote
    assert second.pointer is not None
    assert "cannot be read" in second.pointer.reason
    assert verifier(context.store.path).threshold == second.learned.verifier.threshold


@pytest.mark.slow
def test_the_flow_runs_by_its_name_through_prefect(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured(tmp_path)
    context = opened(path, database, monkeypatch)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "train-verifier", "--config", str(path)],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(Path(__file__).parents[2]), "DO_NOT_TRACK": "true"},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no verifier serves yet" in done.stdout
    assert verifier(context.store.path).threshold < 1
    assert context.tracker.client.get_run(context.tracker.latest("train-verifier")).data.tags["verdict"] == "promote"
