"""Read the files of an ingest as Prefect tasks, a file each, on threads, processes or a Dask cluster."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from pipelines.readings import Reading, Spread, Staged, stage
from pipelines.settings import SettingsError
from pipelines.storage import Storage

Runner = Literal["here", "threads", "processes", "dask"]

_stage = task(name="read-log", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE, persist_result=False)(stage)


def over(runner: Runner, dask_address: str | None = None) -> Spread | None:
    """Return what spreads readings over a task runner; None to read in the process that asks.

    A Dask scheduler's address uses its cluster, which must see the same files; without one a cluster of local
    processes is started for the reading. Raises SettingsError where prefect-dask is not installed.
    """
    if runner == "here":
        return None
    tasks = _task_runner(runner, dask_address)

    def spread(readings: Sequence[Reading], storage: Storage) -> Iterable[Staged]:
        # Not as parameters: Prefect would write them down, the key of the hashes and the store's credentials too.
        @flow(name="read-logs", log_prints=False, persist_result=False, task_runner=tasks)
        def read_logs() -> list[Staged]:
            futures = [_stage.submit(reading, storage) for reading in readings]
            return [future.result() for future in futures]

        return read_logs()

    return spread


def _task_runner(runner: Runner, dask_address: str | None) -> TaskRunner[Any]:
    if runner == "threads":
        return ThreadPoolTaskRunner()
    if runner == "processes":
        return ProcessPoolTaskRunner()
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise SettingsError("ingest.runner = 'dask': prefect-dask is missing; install the extra `dask`") from error
    dask: TaskRunner[Any] = DaskTaskRunner(address=dask_address) if dask_address else DaskTaskRunner()
    return dask
