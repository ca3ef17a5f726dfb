import shutil
from datetime import UTC, datetime, timedelta

import pytest

from pipelines import history, logs
from pipelines.compare import recall
from pipelines.context import Context
from pipelines.improve import champion_or_first, improve, learn, promote_run
from pipelines.promote import PromotionError, rollback
from pipelines.settings import SettingsError, load
from pipelines.train import NotEnough

AT = datetime(2026, 3, 1, tzinfo=UTC)
# Money is dear here and quality may fall: what a router saves is then proven on few requests.
EASY = (
    "objective.per_dollar=20",
    "gate.quality_margin=0.15",
    "replay.synthetic.prompts=900",
    "recipe.learning.caution=0.0",
    "seed=5",
)


@pytest.fixture
def small(tmp_path, database, monkeypatch: pytest.MonkeyPatch):
    """Open the small configuration with its world written and ingested."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def open_with(*overrides: str) -> Context:
        root = tmp_path / "workspace"
        settings = load("small", [f"paths.root={root}", *overrides])
        root.mkdir(exist_ok=True)
        shutil.copy(database, root / "mlflow.db")
        context = Context.open(settings)
        logs.replayed(context)
        report = logs.ingest(context, AT)
        assert report.adds_up
        assert report.written > 0
        return context

    return open_with


def test_from_a_log_to_a_promoted_router_and_back(small) -> None:
    context = small(*EASY)
    turn = improve(context, AT)
    assert turn.first is not None
    assert turn.judgement.verdict == "promote", turn.judgement.reason
    assert turn.promotion is not None
    pointer = context.store.champion()
    assert pointer is not None
    assert pointer.bundle == turn.training.bundle.name
    assert pointer.reason == turn.judgement.reason
    assert pointer.previous is not None
    assert pointer.previous.bundle == turn.training.first.name
    note = context.tracker.of(turn.training.run_id).tags["mlflow.note.content"]
    assert note.startswith("**Promote: the challenger is proven better.**")
    assert "In service since" in note
    back = rollback(context.store, context.tracker, context.model, at=AT, reason="to see")
    assert back.pointer.bundle == turn.training.first.name


def test_a_second_turn_on_the_same_log_finds_nothing_better(small) -> None:
    context = small(*EASY)
    first = improve(context, AT)
    again = improve(context, AT + timedelta(hours=1))
    assert again.first is None
    assert again.judgement.verdict == "hold"
    assert "as the champion does" in again.judgement.reason
    assert again.promotion is None
    assert context.store.load_champion().name == first.training.bundle.name


def test_what_cannot_be_evaluated_is_held_and_nothing_moves(small) -> None:
    context = small("gate.min_rows=100000")
    turn = improve(context, AT)
    assert turn.judgement.verdict == "hold"
    assert turn.judgement.refused is not None
    assert turn.promotion is None
    assert context.store.load_champion().name == turn.training.first.name


def test_only_a_proven_run_is_promoted_by_hand(small) -> None:
    context = small("gate.min_rows=100000")
    run_id = improve(context, AT).training.run_id
    with pytest.raises(PromotionError, match=r"its verdict is 'hold'.*--force"):
        promote_run(context, run_id, AT)
    forced = promote_run(context, run_id, AT, force=True)
    assert forced.pointer.reason.startswith("Forced, against the verdict 'hold'")


def test_a_verdict_against_another_champion_is_stale(small) -> None:
    context = small(*EASY)
    turn = improve(context, AT)
    assert promote_run(context, turn.training.run_id, AT).pointer.bundle == turn.training.bundle.name
    other = learn(context, AT + timedelta(hours=1))
    context.store.add(other.first)
    context.store.promote(other.first.name, at=AT.isoformat(), reason="by hand")
    with pytest.raises(PromotionError, match=r"another bundle serves now.*compare` again"):
        promote_run(context, turn.training.run_id, AT)


def test_what_a_guard_took_out_is_promoted_again_by_force_alone(small) -> None:
    """Its verdict is against the very champion that serves again."""
    context = small(*EASY)
    turn = improve(context, AT)
    taken = turn.training.bundle
    assert context.store.load_champion().name == taken.name
    context.store.rollback(AT.isoformat(), "guard: errors", breach_of=taken.sha256)
    with pytest.raises(PromotionError, match=r"taken out of service \(guard: errors\).*--force"):
        promote_run(context, turn.training.run_id, AT)
    assert promote_run(context, turn.training.run_id, AT, force=True).pointer.bundle == taken.name


def test_an_unjudged_run_is_not_promoted(small) -> None:
    context = small()
    training = learn(context, AT)
    champion_or_first(context, training, AT)
    with pytest.raises(PromotionError, match="its verdict is 'none yet'"):
        promote_run(context, None, AT)
    assert recall(context, None, lambda as_of: history.table(context, as_of)).run_id == training.run_id


def test_a_turn_mends_what_a_crash_left(small) -> None:
    context = small(*EASY)
    first = improve(context, AT)
    assert first.promotion is not None
    context.tracker.client.set_registered_model_alias(context.model, "champion", "1")
    again = improve(context, AT + timedelta(hours=1))
    assert again.mended == ("alias 'champion' moved from version 1 to 2",)


def test_every_step_is_run_as_the_caller_wants(small) -> None:
    names = []

    def step(name, call):
        names.append(name)
        return call()

    improve(small(), AT, step=step)
    assert names == ["reconcile", "train", "champion", "compare", "promote"]


def test_an_empty_lake_names_the_way_in(small, tmp_path) -> None:
    context = small()
    shutil.rmtree(context.workspace.lake)
    with pytest.raises(NotEnough, match="python -m pipelines ingest"):
        learn(context, AT)


def test_a_configuration_without_a_world_has_nothing_to_replay(context: Context) -> None:
    assert not logs.missing(context)
    with pytest.raises(SettingsError, match=r"add a section \[replay\]"):
        logs.replayed(context)


def test_a_world_is_missing_until_it_is_written(small) -> None:
    context = small()
    assert not logs.missing(context)
    (context.workspace.logs / "candidates.json").unlink()
    assert logs.missing(context)
