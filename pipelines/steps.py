"""A step of a flow as a Prefect task, with its retries."""

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from pipelines.promote import PromotionError

T = TypeVar("T")

RETRIES = {"replay": 1, "ingest": 2, "reconcile": 3, "champion": 2, "promote": 3, "advance": 2,
           "progress": 2}  # fmt: skip
"""Steps that meet the outside (a lake that another run writes, a tracking server), and how often each is retried."""


def step(name: str, call: Callable[[], T]) -> T:
    """Run a step as a Prefect task; what it takes and gives stays in this process and is never cached.

    It is retried where the outside failed, not where a person has to mend a setting, a log or a verdict first.
    """

    @task(
        name=name, retries=RETRIES.get(name, 0), retry_delay_seconds=5, retry_condition_fn=_may_pass,
        cache_policy=NO_CACHE, persist_result=False,
    )  # fmt: skip
    def run() -> T:
        return call()

    return run()


def _may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    return not isinstance(state.result(raise_on_failure=False), ValueError | PromotionError)
