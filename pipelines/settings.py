"""What a run is told: TOML files, read into frozen models that refuse a misspelt key and name the nearest one."""

import difflib
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from beastmode.objective import Objective
from features.budgets import Budget
from features.signals import Signal
from models import comparison, ladder, recipes
from models.guarantee import Settings as Guarantee
from pipelines.ingest import IngestSettings
from pipelines.probe_settings import ProbeSettings
from pipelines.replay import ReplaySettings
from pipelines.stage_settings import MonitorSettings, StageSettings
from pipelines.target_settings import TargetSettings
from pipelines.verifier_settings import VerifierTraining
from pipelines.warm_settings import WarmSettings

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

FlowName = Literal[
    "ingest", "train-selector", "compare", "promote", "rollback", "replay", "improve", "costs", "probe",
    "advance", "monitor", "train-warmer", "warm", "train-verifier", "progress",
]  # fmt: skip


class SettingsError(ValueError):
    """A setting that cannot be used: names the file, the place, the value and the remedy."""


class Section(BaseModel):
    """A group of settings; unknown keys are refused, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Paths(Section):
    """Where things lie; relative paths are taken from the folder the command runs in."""

    root: Path = Path("workspace")
    """Everything that the flows write: logs, lake, store, tracking databases, reports."""
    lake: str | None = None
    """Where the lake lies, a folder or a URL that fsspec knows; `lake` below the root where it is None."""
    data: Path | None = None
    """Outcome tables and arrival traces for worlds that replay them; BEASTMODE_DATA where it is None."""
    embeddings: Path | None = None
    """The teacher's memory, where several workspaces share one; `embeddings` below the root where it is None."""


class Split(Section):
    """How the table is cut in time: the latest rows judge what the earlier ones taught."""

    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    minimum_rows: Annotated[int, Field(ge=2)] = 40
    """Fewer rows with a known quality than this are not trained on."""
    window_days: Annotated[float | None, Field(gt=0)] = None
    """Older requests are not looked at, so that neither memory nor training grows for ever; all count where None."""


class Ladder(Section):
    """The encoders that a training tries: the cheapest that is not shown to be worse is served."""

    rungs: Annotated[tuple[Literal["static", "onnx"], ...], Field(min_length=1)] = ("static",)
    """`static` is numpy alone; `onnx` takes the sentence-transformer along, trains with the extra `embeddings` and
    serves with the extra `onnx`."""
    errors: Annotated[float, Field(ge=0, le=5)] = ladder.ONE_SIDED
    """Standard errors by which the best rung must lead a cheaper one to be taken in its place."""

    @model_validator(mode="after")
    def _distinct(self) -> "Ladder":
        if len(set(self.rungs)) < len(self.rungs):
            raise ValueError(f"ladder.rungs = {list(self.rungs)}: name each rung once")
        return self


class Tracking(Section):
    """What is written to MLflow, and under which names."""

    experiment: str = "beastmode"
    registered_model: str = "beastmode-router"
    nested_trials: Annotated[int, Field(ge=0, le=20)] = 10
    """The best tuning trials that get a run of their own below the training run."""


class Schedule(Section):
    """A flow that `python -m pipelines serve` starts again and again."""

    flow: FlowName
    config: str = "default"
    """The configuration that the scheduled flow runs on."""
    overrides: tuple[str, ...] = ()
    """`key=value`, as after --set."""
    cron: str | None = None
    timezone: str = "UTC"
    interval_seconds: Annotated[float, Field(gt=0)] | None = None
    active: bool = True
    """Whether it is started when it is due; one that is not can be started by hand on Prefect's pages."""

    @model_validator(mode="after")
    def _one_rhythm(self) -> "Schedule":
        if (self.cron is None) == (self.interval_seconds is None):
            raise ValueError(f"schedule of {self.flow!r}: give either cron or interval_seconds")
        return self


class Settings(Section):
    """Everything a flow may be told."""

    name: str = "default"
    seed: Annotated[int, Field(ge=0)] = 0
    catalogue: Path | None = None
    """TOML file of candidates; where it is None, the candidates that the replayed world wrote down."""
    objective: Objective = Objective()
    paths: Paths = Paths()
    replay: ReplaySettings | None = None
    """The world whose log is learned from; None where the logs are an application's own."""
    ingest: IngestSettings = IngestSettings()
    signals: tuple[Signal, ...] = ()
    """What each signal of feedback says of quality; without a word of it, numbers in [0, 1] are qualities."""
    split: Split = Split()
    ladder: Ladder = Ladder()
    recipe: recipes.Settings = recipes.Settings()
    gate: comparison.Settings = comparison.Settings()
    stages: StageSettings | None = None
    """How a challenger that the held-out slice does not refuse is tried on traffic; where it is None, it is promoted at
    once when it is proven better."""
    monitor: MonitorSettings = MonitorSettings()
    targets: TargetSettings = TargetSettings()
    guarantee: Guarantee | None = None
    """The quality guarantee that the held-out requests are to certify; none is asked for where it is None."""
    teacher: Literal["none", "sentence-transformers"] = "none"
    """Whose embeddings the static encoder learns from; `sentence-transformers` needs the extra `embeddings`."""
    tracking: Tracking = Tracking()
    budget: Budget = Budget()
    probe: ProbeSettings = ProbeSettings()
    warming: WarmSettings = WarmSettings()
    verifier: VerifierTraining = VerifierTraining()
    schedules: tuple[Schedule, ...] = ()


def load(name: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Return the settings of `configs/<name>.toml`, or of a file given by its path.

    `overrides` are `section.key=value`, the value as TOML would have it; what is no TOML is taken as text.
    Raises SettingsError for a missing file, bad TOML, an unknown key or a value out of bounds.
    """
    path = locate(name)
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    known.setdefault("name", path.stem)
    for override in overrides:
        _put(known, override)
    return parse(known, str(path))


def locate(name: str | Path) -> Path:
    """Return the file that a configuration's name stands for; raises SettingsError with what there is."""
    path = Path(name) if str(name).endswith(".toml") else CONFIGS / f"{name}.toml"
    if path.is_file():
        return path
    there = sorted(p.stem for p in CONFIGS.glob("*.toml"))
    near = difflib.get_close_matches(str(name), there, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif path.parent.is_dir():
        hint = f"for one of your own: cp {CONFIGS / 'default.toml'} {path}"
    else:
        hint = "give a name, or a path that ends in .toml"
    raise SettingsError(f"configuration {str(name)!r}: no file {path}; {hint}; there are: {', '.join(there)}")


def parse(known: Mapping[str, Any], place: str = "settings") -> Settings:
    """Return settings of plain data; raises SettingsError naming the first thing wrong in each place."""
    wrong = list(_unknown(known, Settings, ""))
    if wrong:
        raise SettingsError("\n".join(f"{place}: {line}" for line in wrong))
    try:
        return Settings.model_validate(known)
    except ValidationError as error:
        raise SettingsError("\n".join(f"{place}: {_told(e)}" for e in error.errors())) from error


def flat(settings: BaseModel) -> dict[str, str]:
    """Return every setting as `section.key` -> text: what a tracked run shows as its parameters.

    >>> flat(Paths())
    {'root': 'workspace', 'lake': 'None', 'data': 'None', 'embeddings': 'None'}
    """
    return dict(_leaves(settings.model_dump(mode="json"), ""))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, str(value)


def _put(known: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SettingsError(f"--set {override!r}: expected key=value, as in split.test_share=0.2")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, last = key.strip().split(".")
    place = known
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise SettingsError(f"--set {override!r}: {section!r} is not a group of settings")
    place[last] = value


def _told(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    given = error.get("input")
    was = f" (was {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{place}: {error['msg']}{was}"


def _names(kind: Any) -> dict[str, Any] | None:
    """The fields of a settings class and their types, or None for what has none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in fields(kind)}
    return None


def _inside(kind: Any) -> Iterator[Any]:
    """The settings classes that a type annotation speaks of."""
    if _names(kind) is not None:
        yield kind
    elif get_origin(kind) in (Union, types.UnionType, Annotated, tuple, list):
        for part in get_args(kind):
            yield from _inside(part)


def _unknown(value: Any, kind: Any, place: str) -> Iterator[str]:
    """Each key that no class of `kind` knows. Pydantic alone would let a misspelt key of a dataclass pass."""
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _unknown(item, kind, f"{place}[{number}]")
        return
    classes = [names for names in map(_names, _inside(kind)) if names is not None]
    if not isinstance(value, Mapping) or not classes:
        return
    names = max(classes, key=lambda names: len(set(names) & set(value)))
    for key, inner in value.items():
        where = f"{place}.{key}" if place else str(key)
        if key in names:
            yield from _unknown(inner, names[key], where)
            continue
        near = difflib.get_close_matches(str(key), list(names), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(names))}"
        yield f"{where}: unknown key {key!r}; {hint}"
