"""Put a bundle into service, take it back, and make the registry agree with the pointer, which is the only truth."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from beastmode.bundle import Bundle
from beastmode.store import Baseline, Pointer, Registered, State, Store
from pipelines.signing import signed
from pipelines.tracking import BUNDLE, Tracker

MANIFEST_TAG = "manifest_sha256"

AfterStep = Callable[[str], None]


class PromotionError(RuntimeError):
    """A bundle that may not be promoted as things stand; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What a promotion or a rollback changed."""

    pointer: Pointer
    mended: tuple[str, ...]
    """What was done to the registry, in words."""


def promote(
    bundle: Bundle,
    store: Store,
    tracker: Tracker,
    model: str,
    *,
    at: datetime,
    reason: str,
    baseline: Baseline | None = None,
    seen: State | None = None,
    after_step: AfterStep = lambda step: None,
) -> Promotion:
    """Make a bundle the champion: write it, move the pointer, then let the registry follow.

    The pointer is moved in one atomic step; a crash before it changes nothing that serves, a crash after it leaves
    a registry that lags, which `reconcile` mends at the start of the next flow. A guard holds the bundle to
    `baseline`; `after_step` is told each step done. Raises StaleError where the store no longer holds what was `seen`
    when the bundle was judged.
    """
    kept = store.add(bundle)
    if bundle.sha256 is not None and kept.sha256 != bundle.sha256:
        raise PromotionError(
            f"bundle {bundle.name!r}: the store's copy has manifest {kept.sha256}, the tracked one {bundle.sha256}; "
            "train again with one version of the code"
        )
    signed(store.folder(kept.name))
    after_step("bundle")
    store.promote(kept.name, at=at.isoformat(), reason=reason, baseline=baseline, seen=seen)
    after_step("pointer")
    mended = reconcile(store, tracker, model, after_step=after_step)
    pointer = store.champion()
    assert pointer is not None
    return Promotion(pointer, mended)


def rollback(
    store: Store, tracker: Tracker, model: str, *, at: datetime, reason: str, after_step: AfterStep = lambda step: None
) -> Promotion:
    """Make the previous bundle the champion again; raises StoreError where there is none."""
    pointer = store.rollback(at=at.isoformat(), reason=reason)
    after_step("pointer")
    mended = reconcile(store, tracker, model, after_step=after_step)
    return Promotion(store.champion() or pointer, mended)


def reconcile(
    store: Store, tracker: Tracker, model: str, *, after_step: AfterStep = lambda step: None
) -> tuple[str, ...]:
    """Make the registry's aliases say what the pointer says, and return what had to be mended, in words."""
    pointer = store.champion()
    if pointer is None:
        return ()
    client, mended = tracker.client, []
    if not _exists(tracker, model):
        client.create_registered_model(model, description="Routers that were proven better, newest last.")
        mended.append(f"registered model {model!r} made")
    version, new = _version(store, tracker, model, pointer.bundle, pointer.manifest_sha256, pointer.reason)
    if new:
        mended.append(f"version {version} made for bundle {pointer.bundle!r}")
    after_step("version")
    wanted: dict[str, str | None] = {"champion": version, "previous": None}
    if pointer.previous is not None:
        kept = pointer.previous
        wanted["previous"], _ = _version(store, tracker, model, kept.bundle, kept.manifest_sha256, "It served before.")
    current = {name: str(number) for name, number in client.get_registered_model(model).aliases.items()}
    for alias, number in wanted.items():
        if number is not None and current.get(alias) != number:
            client.set_registered_model_alias(model, alias, number)
            mended.append(f"alias {alias!r} moved from version {current.get(alias, 'none')} to {number}")
        elif number is None and alias in current:
            client.delete_registered_model_alias(model, alias)
            mended.append(f"alias {alias!r} removed: there is no {alias} bundle")
        after_step(f"alias {alias}")
    agrees = store.mark_reconciled(pointer, Registered(model, version))
    after_step("reconciled")
    # A guard or a hand may have moved the pointer meanwhile, and that move stands: the aliases follow it.
    return tuple(mended) if agrees else (*mended, *reconcile(store, tracker, model))


def _exists(tracker: Tracker, model: str) -> bool:
    try:
        tracker.client.get_registered_model(model)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _version(store: Store, tracker: Tracker, model: str, name: str, sha256: str, reason: str) -> tuple[str, bool]:
    """The version that holds a bundle, and whether it had to be made."""
    found = [v for v in _versions(tracker, model) if v.tags.get(MANIFEST_TAG) == sha256]
    if found:
        return str(found[0].version), False
    run_id = store.read(name, sha256).mlflow_run_id
    if run_id is None or not _has_bundle(tracker, run_id):
        run_id = _upload(tracker, store.folder(name), name)
    # A plain artifact folder of a run: what the standard library can fetch over REST (`runs:/` sources it cannot).
    source = f"{tracker.of(run_id).artifact_uri}/{BUNDLE}"
    made = tracker.client.create_model_version(
        model, source, run_id, tags={MANIFEST_TAG: sha256, "bundle": name}, description=reason
    )
    return str(made.version), True


def _versions(tracker: Tracker, model: str) -> list[ModelVersion]:
    """Every version of the registered model, newest first."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = tracker.client.search_model_versions(f"name = '{model}'", max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: -int(version.version))


def _has_bundle(tracker: Tracker, run_id: str) -> bool:
    try:
        return bool(tracker.client.list_artifacts(run_id, BUNDLE))
    except MlflowException:
        return False


def _upload(tracker: Tracker, folder: Path, name: str) -> str:
    with tracker.run(f"bundle {name}", "bundle") as run:
        run.folder(folder, BUNDLE)
        run.describe(f"Bundle {name} as the store holds it: the run that trained it is not in this tracking server.")
    return run.run_id
