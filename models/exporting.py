"""From a trained router to a bundle."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from beastmode.bundle import Bundle
from models.recipes import Trained


def bundle(
    trained: Trained,
    *,
    name: str,
    created: str,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    mlflow_run_id: str | None = None,
) -> Bundle:
    """Return the router as a bundle, not yet written; `created` is an ISO date."""
    return Bundle(
        name=name,
        candidates=trained.candidates,
        encoder=trained.encoder,
        scorer=trained.scorer,
        policy=trained.policy,
        objective=trained.objective,
        operating_points=trained.operating_points,
        created=created,
        code_version=code_version(),
        training=training,
        evaluation=evaluation,
        mlflow_run_id=mlflow_run_id,
    )


def baseline_bundle(
    trained: Trained, *, name: str, created: str, training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> Bundle:
    """Return the tuned nearest neighbours as a bundle; raises ValueError where there are none."""
    if trained.baseline is None or trained.baseline_policy is None:
        raise ValueError("this router has no baseline: too few requests were observed to tune neighbours")
    whole = bundle(trained, name=name, created=created, training=training, evaluation=evaluation)
    return replace(whole, scorer=trained.baseline, policy=trained.baseline_policy, operating_points=())


def code_version() -> str:
    """Return the installed version of this package, or "unknown" in a tree that was never installed."""
    try:
        return version("beastmode")
    except PackageNotFoundError:
        return "unknown"
