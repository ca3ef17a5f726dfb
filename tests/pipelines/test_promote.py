import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate, Price
from beastmode.errors import StaleError, StoreError
from beastmode.objective import Objective
from beastmode.policies import Greedy
from beastmode.scorers import Constant
from models import encoders
from pipelines.context import Context
from pipelines.promote import MANIFEST_TAG, PromotionError, promote, reconcile, rollback

AT = datetime(2026, 3, 1, tzinfo=UTC)
STEPS = ("bundle", "pointer", "version", "alias champion", "alias previous", "reconciled")


def bundle(name: str, quality: float = 0.6) -> Bundle:
    encoder = encoders.fit(["what is two and two", "name a river"], ["a", "b"], encoders.EncoderSettings(), 0)
    scorer = Constant(np.array([0.5, quality]), np.array([100.0, 100.0]), np.array([500.0, 700.0]))
    return Bundle(
        name=name,
        candidates=(Candidate("small", price=Price(0.1, 0.2)), Candidate("large", price=Price(1.0, 2.0))),
        encoder=encoder,
        scorer=scorer,
        policy=Greedy(),
        objective=Objective(),
        created=AT.isoformat(),
        code_version="test",
    )


def put(context: Context, name: str, **known):
    return promote(
        bundle(name), context.store, context.tracker, context.model, at=AT, reason=f"{name} is better", **known
    )


def aliases(context: Context) -> dict[str, str]:
    """Alias -> manifest hash of the version that it names."""
    model = context.tracker.client.get_registered_model(context.model)
    return {
        alias: context.tracker.client.get_model_version(context.model, version).tags[MANIFEST_TAG]
        for alias, version in model.aliases.items()
    }


def agree(context: Context) -> bool:
    pointer = context.store.champion()
    assert pointer is not None
    wanted = {"champion": pointer.manifest_sha256}
    if pointer.previous is not None:
        wanted["previous"] = pointer.previous.manifest_sha256
    return aliases(context) == wanted and pointer.reconciled


def test_promotion_moves_pointer_and_aliases_together(context: Context) -> None:
    first = put(context, "one")
    assert first.pointer.registry is not None
    assert first.pointer.registry.version == "1"
    second = put(context, "two")
    assert second.pointer.bundle == "two"
    assert second.pointer.previous is not None
    assert second.pointer.previous.bundle == "one"
    assert second.pointer.reason == "two is better"
    assert agree(context)


def test_the_registered_version_holds_the_same_bundle(context: Context, tmp_path: Path) -> None:
    pointer = put(context, "one").pointer
    version = context.tracker.client.get_model_version_by_alias(context.model, "champion")
    assert version.run_id
    folder = context.tracker.of(version.run_id).download("bundle", tmp_path)
    assert Bundle.read(folder, pointer.manifest_sha256).verified


def test_promoting_twice_changes_nothing(context: Context) -> None:
    put(context, "one")
    before = put(context, "two").pointer
    again = put(context, "two")
    assert again.mended == ()
    assert again.pointer.previous == before.previous
    assert agree(context)


def test_rollback_and_back_again(context: Context) -> None:
    put(context, "one")
    put(context, "two")
    back = rollback(context.store, context.tracker, context.model, at=AT + timedelta(hours=1), reason="too slow")
    assert (back.pointer.bundle, back.pointer.reason) == ("one", "too slow")
    assert agree(context)
    forth = rollback(context.store, context.tracker, context.model, at=AT, reason="a mistake")
    assert forth.pointer.bundle == "two"
    assert agree(context)


def test_rollback_without_a_previous_is_refused_and_changes_nothing(context: Context) -> None:
    put(context, "one")
    with pytest.raises(StoreError, match="no previous bundle"):
        rollback(context.store, context.tracker, context.model, at=AT, reason="why not")
    assert agree(context)


def test_a_bundle_that_is_not_the_tracked_one_is_refused(context: Context) -> None:
    with pytest.raises(PromotionError, match="train again"):
        promote(
            replace(bundle("one"), sha256="0" * 64), context.store, context.tracker, context.model, at=AT, reason=""
        )
    assert context.store.champion() is None


def test_reconcile_has_nothing_to_do_without_a_champion(context: Context) -> None:
    assert reconcile(context.store, context.tracker, context.model) == ()


def test_reconcile_mends_an_alias_that_somebody_moved(context: Context) -> None:
    put(context, "one")
    put(context, "two")
    context.tracker.client.set_registered_model_alias(context.model, "champion", "1")
    assert reconcile(context.store, context.tracker, context.model) == ("alias 'champion' moved from version 1 to 2",)
    assert agree(context)
    assert reconcile(context.store, context.tracker, context.model) == ()


def test_reconcile_registers_what_was_promoted_by_the_store_alone(context: Context) -> None:
    put(context, "one")
    context.store.add(bundle("two"))
    context.store.promote("two", at=AT.isoformat(), reason="by hand")
    mended = reconcile(context.store, context.tracker, context.model)
    assert "version 2 made for bundle 'two'" in mended
    assert agree(context)


def test_a_guards_rollback_during_a_reconciliation_stands_and_the_aliases_follow_it(context: Context) -> None:
    put(context, "one")
    context.store.add(bundle("two"))
    bad = context.store.promote("two", at=AT.isoformat(), reason="by hand")

    def guard(step: str) -> None:
        if step == "version" and context.store.champion() == bad:
            context.store.rollback(AT.isoformat(), "guard: errors", breach_of=bad.manifest_sha256)

    mended = reconcile(context.store, context.tracker, context.model, after_step=guard)
    pointer = context.store.champion()
    assert pointer is not None
    assert pointer.bundle == "one", "the reconciliation put back what the guard took out"
    assert pointer.previous is not None
    assert pointer.previous.breach == "guard: errors"
    assert "alias 'champion' moved from version 2 to 1" in mended
    assert agree(context)


def test_what_was_judged_on_another_state_of_the_store_is_not_promoted(context: Context) -> None:
    put(context, "one")
    seen = context.store.state()
    put(context, "two")
    with pytest.raises(StaleError, match="look again"):
        put(context, "three", seen=seen)
    assert context.store.load_champion().name == "two"
    assert agree(context)


DIES = """
import os, signal, sys
sys.path[:0] = [{root!r}, {here!r}]
from test_promote import put, rollback, AT
from pipelines.context import Context
from pipelines.settings import parse

def die(step):
    if step == {step!r}:
        os.kill(os.getpid(), signal.SIGKILL)

context = Context.open(parse({settings!r}))
if {back!r}:
    rollback(context.store, context.tracker, context.model, at=AT, reason="back", after_step=die)
else:
    put(context, "two", after_step=die)
"""


@pytest.mark.parametrize("back", [False, True], ids=["promote", "rollback"])
@pytest.mark.parametrize("step", STEPS)
def test_kill_9_after_any_step_leaves_what_the_next_run_mends(context: Context, step: str, back: bool) -> None:
    if back and step == "bundle":
        pytest.skip("a rollback writes no bundle")
    put(context, "one")
    if back:
        put(context, "two")
    here = Path(__file__).resolve().parent
    script = DIES.format(
        root=str(here.parents[1]), here=str(here), step=step, back=back,
        settings=context.settings.model_dump(mode="json"),
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Whatever the moment, what serves is whole.
    serving = context.store.load_champion()
    moved = step != "bundle"
    assert serving.name == (("one" if back else "two") if moved else "one")
    reconcile(context.store, context.tracker, context.model)
    assert agree(context)
    assert context.store.load_champion().name == serving.name
    assert len(context.tracker.client.search_model_versions(f"name = '{context.model}'")) == (2 if moved or back else 1)
