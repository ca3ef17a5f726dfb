"""Run the schedules of a configuration: each flow is registered with its rhythm and started when it is due."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipelines.servers import prefect_server, running
from pipelines.settings import Schedule, Settings, SettingsError, load
from pipelines.workspace import Workspace


def serve(settings: Settings, port: int | None = None) -> None:
    """Serve the configured schedules until interrupted.

    Without PREFECT_API_URL a Prefect server is started over the workspace's database, since only a full server
    has the scheduler that creates due runs. Raises SettingsError where nothing is scheduled or a scheduled
    configuration cannot be read: that is found here, not at three in the morning.
    """
    if not settings.schedules:
        raise SettingsError(
            f"configuration {settings.name!r} has no schedules: add a block [[schedules]] with flow, and cron or "
            "interval_seconds (configs/schedules.toml shows some)"
        )
    for schedule in settings.schedules:
        load(schedule.config, schedule.overrides)
    workspace = Workspace.of(settings.paths.root)
    with ExitStack() as stack:
        if not os.environ.get("PREFECT_API_URL"):
            server = prefect_server(workspace, port)
            stack.enter_context(running(workspace, server))
            os.environ["PREFECT_API_URL"] = f"{server.address}/api"
            print(f"Prefect {server.address}", flush=True)  # noqa: T201 - where to watch the runs
        _run(settings)


def _run(settings: Settings) -> None:
    # Prefect reads its address when it is imported.
    import prefect

    named = zip(settings.schedules, names(settings.schedules), strict=True)
    deployments = [_deployment(schedule, name) for schedule, name in named]
    prefect.serve(*deployments, pause_on_shutdown=True)


def names(schedules: Sequence[Schedule]) -> tuple[str, ...]:
    """Return a name for each schedule: no path, which Prefect refuses; none twice, for the later would replace it."""
    met: Counter[str] = Counter()
    found = []
    for schedule in schedules:
        name = f"{schedule.flow} {Path(schedule.config).name.removesuffix('.toml')}"
        met[name] += 1
        found.append(name if met[name] == 1 else f"{name} {met[name]}")
    return tuple(found)


def _deployment(schedule: Schedule, name: str) -> Any:
    from prefect.schedules import Cron, Interval

    from pipelines.flows import FLOWS

    rhythm: dict[str, Any] = {}
    if schedule.cron is not None:
        rhythm["schedule"] = Cron(schedule.cron, timezone=schedule.timezone, active=schedule.active)
    elif schedule.interval_seconds is not None:
        rhythm["schedule"] = Interval(timedelta(seconds=schedule.interval_seconds), active=schedule.active)
    return FLOWS[schedule.flow].to_deployment(
        name=name,
        parameters={"config": schedule.config, "overrides": list(schedule.overrides)},
        # Two turns of the loop at once would fight over the lake and the pointer.
        concurrency_limit=1,
        **rhythm,
    )
