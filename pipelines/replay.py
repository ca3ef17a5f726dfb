"""A world's log on disk: interactions in any writable format, feedback that comes late, and the truth for judging."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge

from beastmode.records import Request
from features.formats import FORMATS, feedback
from features.formats.litellm.text import restored, truncated
from features.outcomes import catalogue, outcomes
from features.table import Floats, Table
from features.worlds.latency import Hosts, measured
from features.worlds.replay import WorldSettings
from features.worlds.replay import replay as replay_outcomes
from features.worlds.synthetic import SyntheticSettings, synthetic
from features.worlds.world import World


class ReplayError(ValueError):
    """A world that cannot be replayed: names the setting, its value and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """Which world, and how its log is written."""

    outcomes: str | None = None
    """Parquet file of outcomes; the synthetic world, which needs no file, where it is None."""
    models: tuple[str, ...] = ()
    """Which of its models are candidates; all where neither this nor a candidate set says."""
    candidate_sets: str | None = None
    """JSON file of named sets: {name: {file, models, assumed_usd_per_request}}."""
    candidate_set: str | None = None
    """The set to take; its file lies beside the JSON file."""
    usd_per_request: dict[str, float] = field(default_factory=dict)
    """Assumed prices of models whose outcomes have no cost."""
    arrivals: str | None = None
    """Parquet file with a column `timestamp`; exponential gaps where it is None."""
    latency: str | None = None
    """Parquet file of measured calls: model, ttft_ms, latency_ms, output_tokens."""
    prompts: Annotated[int, Ge(8)] | None = None
    """Take only so many prompts, drawn by the seed."""
    format: str = "journal"
    world: WorldSettings = field(default_factory=WorldSettings)
    synthetic: SyntheticSettings = field(default_factory=SyntheticSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """What a format's cut of long prompts loses."""

    requests: int
    truncated: int
    chars: int
    chars_lost: int

    def line(self) -> str:
        """Return it as a line to print."""
        share, lost = self.truncated / max(self.requests, 1), self.chars_lost / max(self.chars, 1)
        return (
            f"litellm keeps 2,048 characters of a string: {self.truncated:,} of {self.requests:,} prompts are cut "
            f"({share:.1%}), {self.chars_lost:,} characters are lost ({lost:.1%})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """What was written, and the world behind it."""

    world: World
    log: Path
    feedback: Path
    truth: Path
    candidates: Path
    """JSON list of the candidates with their prices."""
    truncation: Truncation | None

    def lines(self) -> tuple[str, ...]:
        """Return what happened as lines to print."""
        rows = self.world.interactions
        served = sum(row.purpose == "serve" for row in rows)
        failed = sum(row.status != "success" for row in rows)
        told = [
            f"{len(self.world.truth):,} requests, {len(rows):,} calls ({served:,} served, "
            f"{len(rows) - served:,} probes, {failed:,} failed), {len(self.world.feedback):,} words of feedback",
            f"log {self.log}, feedback {self.feedback}, truth {self.truth}",
        ]
        return (*told, *([self.truncation.line()] if self.truncation else []))


def replay(settings: ReplaySettings, seed: int, out_dir: Path | str) -> ReplayResult:
    """Write a world's log, feedback, candidates and truth below a folder, and return them with the world.

    Everything drawn depends on `seed` alone. Raises ReplayError for a file that is missing or does not fit, or a format
    that cannot be written.
    """
    known = FORMATS.get(settings.format)
    if known is None or known.write is None:
        writable = ", ".join(name for name, one in FORMATS.items() if one.write)
        raise ReplayError(f"replay: format = {settings.format!r} cannot be written; writable: {writable}")
    if settings.world.strip_decisions and settings.format == "journal":
        raise ReplayError("replay: strip_decisions with format = 'journal'; a journal holds decisions, take 'litellm'")
    world = _world(settings, seed)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    paths = {
        "log": out / f"{settings.format}.jsonl",
        "feedback": out / "feedback.jsonl",
        "truth": out / "truth.parquet",
        "candidates": out / "candidates.json",
    }
    with _whole(paths["log"]).open("wb") as stream:
        known.write(stream, world.interactions)
    with _whole(paths["feedback"]).open("wb") as stream:
        feedback.write(stream, world.feedback)
    truth_frame(world.truth).to_parquet(_whole(paths["truth"]), index=False)
    listed = [candidate.to_json() for candidate in world.candidates]
    _whole(paths["candidates"]).write_text(json.dumps(listed, indent=1), encoding="utf-8")
    for path in paths.values():
        os.replace(_whole(path), path)
    cut = truncation(world) if settings.format == "litellm" else None
    return ReplayResult(world=world, truncation=cut, **paths)


def _whole(path: Path) -> Path:
    """Return where a file is written before it takes its name, so that nobody reads half of it."""
    return path.with_name(f".{path.name}.staged")


def _world(settings: ReplaySettings, seed: int) -> World:
    if settings.outcomes is None and settings.candidate_set is None:
        return synthetic(settings.synthetic, settings.world, seed, gaps=_gaps(settings), hosts=_hosts(settings))
    path, models, assumed = _chosen(settings)
    frame = _frame(path, "outcomes")
    try:
        table = outcomes(frame, models or None)
        candidates = catalogue(table, assumed)
        labels = _subjects(frame, table) if "task" in frame.columns else None
        if settings.prompts is not None and settings.prompts < len(table):
            rows = np.sort(np.random.default_rng([seed, 2]).permutation(len(table))[: settings.prompts])
            table = table.take(rows)
            labels = None if labels is None else tuple(labels[i] for i in rows)
        return replay_outcomes(
            table, candidates, settings.world, seed, subjects=labels, gaps=_gaps(settings), hosts=_hosts(settings)
        )
    except ValueError as error:
        raise ReplayError(f"replay of {path}: {error}") from error


def _chosen(settings: ReplaySettings) -> tuple[Path, tuple[str, ...], Mapping[str, float]]:
    """Return the outcome file, its models and their assumed prices."""
    assumed: dict[str, float] = {}
    models, path = settings.models, settings.outcomes
    if settings.candidate_set is not None:
        if settings.candidate_sets is None:
            raise ReplayError(
                f"replay: candidate_set = {settings.candidate_set!r} needs candidate_sets, the file of sets"
            )
        where = Path(settings.candidate_sets)
        if not where.is_file():
            raise ReplayError(f"replay: candidate_sets = {where} is missing; set the data folder (BEASTMODE_DATA)")
        sets = json.loads(where.read_text(encoding="utf-8"))
        if settings.candidate_set not in sets:
            raise ReplayError(
                f"replay: candidate_set = {settings.candidate_set!r} is not in {where}; it has {', '.join(sets)}"
            )
        one = sets[settings.candidate_set]
        models = models or tuple(one["models"])
        path = path or str(where.parent / one["file"])
        assumed = dict(one.get("assumed_usd_per_request", {}))
    return Path(path or ""), models, {**assumed, **settings.usd_per_request}


def _frame(path: Path, what: str) -> pd.DataFrame:
    if not path.is_file():
        raise ReplayError(f"replay: {what} = {path} is missing; set the data folder (BEASTMODE_DATA) or the path")
    return pd.read_parquet(path)


def _subjects(frame: pd.DataFrame, table: Table) -> tuple[str, ...]:
    """Return each prompt's subject, for the world's shift alone: no log shows it."""
    first = frame.drop_duplicates("prompt_id")
    known = dict(zip(first["prompt_id"].astype(str), first["task"].astype(str), strict=True))
    return tuple(known[i] for i in table.request_ids.tolist())


def _gaps(settings: ReplaySettings) -> Floats | None:
    if settings.arrivals is None:
        return None
    frame = _frame(Path(settings.arrivals), "arrivals")
    if "timestamp" not in frame.columns:
        raise ReplayError(f"replay: arrivals = {settings.arrivals} has no column 'timestamp'")
    moments = np.sort(frame["timestamp"].to_numpy(dtype="datetime64[ns]"))
    return np.diff(moments).astype(np.float64)


def _hosts(settings: ReplaySettings) -> Hosts | None:
    if settings.latency is None:
        return None
    try:
        return measured(_frame(Path(settings.latency), "latency"))
    except ReplayError:
        raise
    except ValueError as error:
        raise ReplayError(f"replay: latency = {settings.latency}: {error}") from error


def truth_frame(truth: Table) -> pd.DataFrame:
    """Return a truth in long form: a row for each request and candidate, with what the policy drew."""
    n, m = len(truth), len(truth.candidates)
    wide = {
        "request_id": truth.request_ids,
        "at": pd.to_datetime(truth.at, utc=True),
        "prompt": np.array(truth.texts, dtype=object),
        "input_tokens": truth.input_tokens,
        "served": np.array([truth.candidates[j] for j in truth.served], dtype=object),
        "propensity": truth.propensity,
        "probed": truth.probed,
    }
    frame = pd.DataFrame({name: np.repeat(np.asarray(values), m) for name, values in wide.items()})
    frame["candidate"] = np.tile(np.array(truth.candidates, dtype=object), n)
    for name in ("quality", "cost_usd", "latency_ms", "output_tokens"):
        frame[name] = getattr(truth, name).ravel()
    return frame


def truncation(world: World) -> Truncation:
    """Return what LiteLLM's cut loses of the served requests' prompts."""
    cut = chars = lost = total = 0
    for row in world.interactions:
        if row.purpose != "serve" or not row.messages:
            continue
        whole = Request(messages=row.messages, request_id="").chars
        total += 1
        chars += whole
        less = restored(truncated(row.messages))[1]
        cut += less > 0
        lost += less
    return Truncation(requests=total, truncated=cut, chars=chars, chars_lost=lost)
