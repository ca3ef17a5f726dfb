"""A challenger goes through its stages on real traffic, journal, lake, store and MLflow, or is stopped on the way."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from beastmode.guard import Guard
from beastmode.store import Baseline
from pipelines.baseline import Measures
from pipelines.context import Context
from pipelines.settings import SettingsError, parse
from pipelines.stages import Advance, advance
from pipelines.tracking import Run
from tests.pipelines.traffic import Traffic, bundle, champion, nominate, settings


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def opened(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch):
    """Open small stages in a folder of their own, "small" in service."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def open_with(epsilon: float = 0.0, **known) -> Context:
        root = tmp_path / "workspace"
        root.mkdir()
        shutil.copy(database, root / "mlflow.db")
        context = Context.open(settings(root, **known))
        champion(context, bundle("first", (0.8, 0.5), epsilon=epsilon))
        return context

    return open_with


def tried(context: Context, traffic: Traffic, batches: int = 12, requests: int = 60) -> list[Advance]:
    """Serve and advance in turn until the trial is over."""
    found = []
    for _ in range(batches):
        found.append(advance(context, now()))
        if found[-1].promotion is not None or found[-1].verdict in ("reject", "roll back"):
            return found
        traffic.serve(requests)
    return found


def stage(run: Run) -> str:
    return run.tags["stage"]


def test_a_better_challenger_goes_from_candidate_to_champion(opened) -> None:
    context = opened()
    run, traffic = nominate(context, bundle("second")), Traffic(context)
    found = tried(context, traffic)
    assert [(step.stage, step.verdict) for step in found[:3]] == [
        ("candidate", "promote"), ("shadow", "promote"), ("canary", "hold"),
    ]  # fmt: skip
    assert (found[-1].stage, found[-1].verdict) == ("canary", "promote"), found[-1].reason
    pointer = context.store.champion()
    assert pointer is not None
    assert (pointer.bundle, pointer.reason) == ("second", found[-1].reason)
    assert pointer.baseline is not None, "a guard has nothing to hold the champion to"
    assert context.store.experiment() is None
    assert stage(run) == "champion"
    kept = Measures.kept(run)
    assert kept is not None
    assert kept.levels["quality"].value > 0.7
    assert not advance(context, now()).mended


def test_the_report_begins_with_the_verdict_and_its_reason(opened) -> None:
    context = opened()
    run = nominate(context, bundle("second"))
    last = tried(context, Traffic(context))[-1]
    assert last.report is not None
    assert last.path is not None
    page = last.path.read_text()
    body = page.split("<header", 1)[1]
    assert body.index("Promote: the challenger is proven better.") < body.index("Quality is not worse by the margin")
    for picture in ("interval/utility", "interval/quality", "weights", "calibration", "segments"):
        assert f'alt="{picture}"' in page, picture
    paths = {artifact.path for artifact in context.tracker.client.list_artifacts(run.run_id)}
    assert {"shadow.html", "canary.html"} <= paths
    metrics = context.tracker.client.get_run(run.run_id).data.metrics
    assert metrics["canary/utility_low"] > 0


def test_a_worse_challenger_is_rejected_and_not_tried_again(opened) -> None:
    context = opened()
    run = nominate(context, bundle("second"))
    last = tried(context, Traffic(context, quality={"small": 0.9, "large": 0.2}))[-1]
    assert (last.stage, last.verdict) == ("canary", "reject"), last.reason
    assert context.store.experiment() is None
    assert context.store.load_champion().name == "first"
    assert stage(run) == "rejected"
    again = advance(context, now())
    assert (again.stage, again.reason) == ("none", "No new challenger: second, the newest, is rejected already.")


def test_a_challenger_whose_upstream_fails_is_rolled_back(opened) -> None:
    context = opened()
    run, traffic = nominate(context, bundle("second")), Traffic(context)
    traffic.quality["large"] = traffic.quality["small"] = 0.95
    traffic.fails = {"large": 0.3}
    last = tried(context, traffic, batches=20)[-1]
    assert last.verdict in ("roll back", "reject"), last.reason
    assert context.store.load_champion().name == "first"
    assert stage(run) in ("rolled back", "rejected")


def test_a_shadow_that_cannot_decide_never_serves(opened) -> None:
    context = opened()
    run, traffic = nominate(context, bundle("second", context_tokens=1)), Traffic(context)
    last = tried(context, traffic)[-1]
    assert (last.stage, last.verdict) == ("shadow", "roll back")
    assert "failed to decide" in last.reason
    assert stage(run) == "rolled back"


def test_a_shadow_that_an_exploring_log_proves_worse_never_serves(opened) -> None:
    context = opened(epsilon=0.5)
    nominate(context, bundle("second"))
    traffic = Traffic(context, quality={"small": 0.95, "large": 0.05})
    last = tried(context, traffic, requests=250)[-1]
    assert (last.stage, last.verdict) == ("shadow", "reject"), last.reason
    assert "proven lower" in last.reason


def test_a_shadow_waits_for_its_requests_and_a_share_for_its_hours(opened) -> None:
    ramp = [{"share": 0.4, "hours": 1.0}, {"share": 0.5, "hours": 0.0}]
    context = opened(stages={"ramp": ramp})
    nominate(context, bundle("second"))
    traffic = Traffic(context, quality={"small": 0.6, "large": 0.6})
    advance(context, now())
    traffic.serve(20)
    assert advance(context, now()).reason == "It has decided 20 of the 40 requests that the shadow asks for."
    traffic.serve(30)
    assert "serves 40%" in advance(context, now()).done
    traffic.serve(60)
    held = advance(context, now())
    assert (held.verdict, held.done) == ("hold", "Everything stays as it is.")


class Killed(BaseException):
    """What stands for a kill: nothing catches it."""


@pytest.mark.slow
@pytest.mark.parametrize("at", ["pointer", "reconciled"])
def test_a_run_that_was_killed_goes_on_from_there(opened, at: str) -> None:
    context = opened()
    run, traffic = nominate(context, bundle("second")), Traffic(context)
    killed = 0

    def die(step: str) -> None:
        nonlocal killed
        if step == at and not (at == "report" and killed > 3):
            killed += 1
            raise Killed

    for _ in range(14):
        try:
            advance(context, now(), after_step=die)
        except Killed:
            advance(context, now())
        if context.store.load_champion().name == "second":
            break
        traffic.serve(60)
    assert killed
    advance(context, now())
    assert context.store.load_champion().name == "second"
    assert context.store.experiment() is None
    assert stage(run) == "champion"


def test_what_the_guard_stopped_is_tagged_so(opened) -> None:
    context = opened()
    run, traffic = nominate(context, bundle("second")), Traffic(context)
    advance(context, now())
    traffic.serve(60)
    advance(context, now())
    traffic.fails = {"large": 1.0}
    traffic.serve(120)
    usual = Baseline(error_rate=0.01, p95_ms=60_000.0)
    (said,) = Guard(context.store, context.workspace.root / "journal", usual).look(now().isoformat())
    assert said.startswith("experiment stopped")
    assert any("second is stopped" in line for line in advance(context, now()).mended)
    assert stage(run) == "stopped"


@pytest.mark.parametrize("stage_at", ["shadow", "canary"])
def test_a_stop_while_the_evidence_is_weighed_is_final(opened, stage_at: str) -> None:
    """Also where the verdict is to go on: neither the canary begins nor the pointer moves."""
    context = opened()
    run, traffic = nominate(context, bundle("second")), Traffic(context)

    def stop(step: str) -> None:
        trial = context.store.experiment()
        if step == "report" and trial is not None and trial.dealing.mode == stage_at:
            assert context.store.stop_experiment("guard: errors", challenger=trial.manifest_sha256)

    for _ in range(12):
        found = advance(context, now(), after_step=stop)
        if found.stage == stage_at and "Nothing was done" in found.done:
            break
        traffic.serve(60)
    assert (found.stage, found.verdict, found.promotion) == (stage_at, "hold", None)
    assert "has changed since it was judged" in found.done
    assert found.mended == ("second is stopped: guard: errors",)
    assert context.store.load_champion().name == "first"
    assert stage(run) == "stopped"
    assert context.store.experiment() is None
    assert "is stopped already" in advance(context, now()).reason


def test_what_was_stopped_before_its_run_was_tagged_is_not_tried_again(opened) -> None:
    """Killed between the store and the tag; then the guard stops it."""
    context = opened()
    run = nominate(context, bundle("second"))
    advance(context, now())
    context.tracker.client.delete_tag(run.run_id, "stage")
    assert context.store.stop_experiment("guard: errors")
    again = advance(context, now())
    assert (again.stage, again.reason) == ("none", "No new challenger: second, the newest, was stopped. guard: errors")
    assert context.store.experiment() is None


def test_another_champion_ends_the_experiment(opened) -> None:
    context = opened()
    run = nominate(context, bundle("second"))
    advance(context, now())
    champion(context, bundle("third", (0.7, 0.6)))
    mended = advance(context, now()).mended
    assert mended == ("second is stopped: third serves in the champion's place",)
    assert context.store.experiment() is None
    assert stage(run) == "stopped"
    run.tag({"stage": "champion"})
    assert "second is retired: third serves in its place" in advance(context, now()).mended


@pytest.mark.parametrize(("verdict", "admit", "begins"), [
    ("reject", ["promote", "hold"], False), ("hold", ["promote"], False), ("hold", ["promote", "hold"], True),
])  # fmt: skip
def test_only_admitted_verdicts_are_tried(opened, verdict: str, admit: list[str], begins: bool) -> None:
    context = opened(stages={"admit": admit})
    nominate(context, bundle("second"), verdict)
    assert (advance(context, now()).stage == "candidate") is begins


def test_a_configuration_without_stages_says_how_to_have_them(context: Context) -> None:
    with pytest.raises(SettingsError, match=r"add a section \[stages\]"):
        advance(context, now())


def test_a_ramp_that_falls_is_refused() -> None:
    with pytest.raises(SettingsError, match="must rise"):
        parse({"stages": {"ramp": [{"share": 0.5}, {"share": 0.2}]}})
