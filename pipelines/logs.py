"""Logs as a configuration names them: a world's are written, an application's are read into the lake."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beastmode.candidates import Candidate
from features.prices import PriceBook
from pipelines import catalogue
from pipelines.context import Context
from pipelines.ingest import LossReport, SourceSettings
from pipelines.ingest import ingest as read_logs
from pipelines.progress import counts
from pipelines.readings import Spread
from pipelines.replay import ReplayResult, ReplaySettings
from pipelines.replay import replay as write_world
from pipelines.settings import CONFIGS, Paths, Settings, SettingsError
from pipelines.workspace import Workspace

PLACES = ("outcomes", "candidate_sets", "arrivals", "latency")


def replay(context: Context) -> tuple[str, ...]:
    """Write the configured world's log into the workspace, and return what happened as lines."""
    return replayed(context).lines()


def replayed(context: Context) -> ReplayResult:
    """Write the configured world's log into the workspace, and return it with the world behind it."""
    if context.settings.replay is None:
        raise SettingsError(
            f"configuration {context.settings.name!r} has no world to replay: add a section [replay] "
            "(configs/demo.toml shows one)"
        )
    settings = placed(context.settings.replay, context)
    return write_world(settings, context.settings.seed, context.workspace.logs)


def missing(context: Context) -> bool:
    """Whether the configuration names a world whose log was not written yet."""
    return context.settings.replay is not None and not (context.workspace.logs / "candidates.json").is_file()


def ingest(context: Context, at: datetime, *, dry_run: bool = False, spread: Spread | None = None) -> LossReport:
    """Read the configured logs into the lake; `at` is the moment of reading. A dry run writes nothing."""
    settings = context.settings.ingest
    with counts("ingest", "records") as show:
        return read_logs(
            replace(settings, sources=sources(context)),
            context.lake.root,
            at,
            prices=book(context),
            progress=show,
            dry_run=dry_run,
            spread=spread,
        )


def sources(context: Context) -> tuple[SourceSettings, ...]:
    """Return where the configured logs lie, with `{data}` and `{root}` filled in."""
    return tuple(
        replace(source, path=_place(source.path, context.settings.paths, context.workspace))
        for source in context.settings.ingest.sources
    )


def candidates(context: Context) -> tuple[Candidate, ...]:
    """Return the catalogue: the configured file, else what the replayed world wrote, else nothing."""
    today = datetime.now(UTC).date()
    return tuple(entry.candidate(today) for entry in entries(context))


def book(context: Context) -> PriceBook:
    """Return the dated prices of the catalogue, with the public list behind them."""
    return catalogue.book(entries(context))


def entries(context: Context) -> tuple[catalogue.Entry, ...]:
    """Return the blocks of the catalogue, or none where neither the settings nor a world have one."""
    path = catalogue_path(context.settings, context.workspace)
    return catalogue.entries(path) if context.settings.catalogue or path.is_file() else ()


def catalogue_path(settings: Settings, workspace: Workspace) -> Path:
    """Return the file of candidates; a relative one that is not below the working folder is taken from the checkout."""
    if settings.catalogue is None:
        return workspace.logs / "candidates.json"
    path = Path(_place(str(settings.catalogue), settings.paths, workspace))
    beside = CONFIGS.parent / path
    return beside if not path.exists() and beside.exists() else path


def placed(settings: ReplaySettings, context: Context) -> ReplaySettings:
    """Return the settings with `{data}` and `{root}` in its paths filled in."""
    known = {name: getattr(settings, name) for name in PLACES}
    named: dict[str, Any] = {
        name: _place(path, context.settings.paths, context.workspace)
        for name, path in known.items()
        if path is not None
    }
    return replace(settings, **named)


def data_folder(paths: Paths) -> Path:
    """Return the folder of outcome tables: paths.data, BEASTMODE_DATA, or shared/data beside the checkout.

    Raises SettingsError where there is none of them.
    """
    beside = CONFIGS.parent.parent / "shared" / "data"
    named = paths.data or os.environ.get("BEASTMODE_DATA") or (beside if beside.is_dir() else None)
    if not named:
        raise SettingsError(
            "paths.data: this configuration reads outcome tables; set BEASTMODE_DATA to their folder, or --set "
            "paths.data=FOLDER"
        )
    return Path(named)


def _place(path: str, paths: Paths, workspace: Workspace) -> str:
    if "{data}" in path:
        path = path.replace("{data}", str(data_folder(paths)))
    return path.replace("{root}", str(workspace.root))
