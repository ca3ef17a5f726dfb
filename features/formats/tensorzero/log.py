"""What the rows of a TensorZero log have to do with each other: learnt on a first walk, whatever their order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from features.formats.decisions import taken
from features.formats.events import Note, Source
from features.formats.tabular import Record
from features.formats.tensorzero.experiments import Experiment, Snapshot, snapshot
from features.formats.tensorzero.rows import PINNED, Call, at, call, name, table_of, tags
from features.formats.values import Impossible, text


@dataclass(slots=True)
class Log:
    """What a first walk over a log learns, so that rows may join whatever their order."""

    source: Source
    columns: dict[str, Experiment]
    records: int = 0
    torn: bool = False
    calls: dict[str, dict[str, Call]] = field(default_factory=dict)
    """Inference -> its model calls by id."""
    taken: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Inference -> how many records join it, and their lines."""
    requests: dict[str, str] = field(default_factory=dict)
    """Inference -> the request id that it is known by."""
    episodes: set[str] = field(default_factory=set)
    first: dict[tuple[str, str], tuple[datetime, str]] = field(default_factory=dict)
    """Function and episode -> the inference that drew its variant."""
    prompts: dict[str, Any] = field(default_factory=dict)
    """Inference -> its input, where PostgreSQL keeps it in a table of its own."""
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    last: str = ""
    """The last inference that a row spoke of."""
    broken: dict[int, Impossible] = field(default_factory=dict)
    """Line -> why it joins nothing."""

    def called(self, inference: str) -> list[Call]:
        """Return an inference's calls in time order; the ids of one second are in order themselves."""
        return sorted(self.calls.get(inference, {}).values(), key=lambda one: (one.at, one.id))

    def unfinished(self, inference: str) -> bool:
        """Whether the end of a torn log may hold more of an inference: of the last one, or of one that lacks a part."""
        lacking = bool(self.requests and self.calls) and (inference in self.requests) != (inference in self.calls)
        return self.torn and (lacking or inference == self.last)

    def take(self, inference: str) -> tuple[int, int]:
        """Return how many records join an inference, and their lines: once, so that a copy of it takes none."""
        return self.taken.pop(inference, (0, 0))


def learn(item: Record, log: Log) -> None:
    """Take from a row what other rows need of it; remember it as broken where it can be of none."""
    log.records, log.torn = log.records + 1, item.torn
    if item.values is None:
        return
    try:
        _learn(item.values, item.lines, log)
    except Impossible as error:
        log.broken[item.line] = error


def _learn(values: Mapping[str, Any], lines: int, log: Log) -> None:
    table = table_of(values)
    if table == "call":
        one = call(values, log.source)
        inference = name(values, "inference_id")
        log.calls.setdefault(inference, {}).setdefault(one.id, one)
        _joins(inference, lines, log)
    elif table == "inference":
        _learn_inference(values, log)
    elif table == "prompt":
        inference = name(values, "id")
        log.prompts[inference] = values.get("input")
        _joins(inference, lines, log)
    elif table == "config":
        known = snapshot(values.get("config_jsonb") or values.get("config"))
        for column in ("snapshot_hash", "hash", "canonical_hash"):
            if (hashed := digits(values.get(column))) is not None:
                log.snapshots[hashed] = known


def _joins(inference: str, lines: int, log: Log) -> None:
    log.last = inference
    records, before = log.taken.get(inference, (0, 0))
    log.taken[inference] = (records + 1, before + lines)


def _learn_inference(values: Mapping[str, Any], log: Log) -> None:
    native, known, this = name(values, "id"), tags(values), (at(values), name(values, "id"))
    request = str(taken((known,)).get("request_id") or native)
    episode = text("episode_id", values.get("episode_id"))
    log.requests[native], log.last = request, native
    if episode is None:
        return
    log.episodes.add(episode)
    if PINNED not in known:
        key = (str(values.get("function_name")), episode)
        log.first[key] = min(log.first.get(key, this), this)


def digits(value: object) -> str | None:
    """Return a snapshot's hash as digits: ClickHouse writes a number, PostgreSQL its bytes in hexadecimal."""
    if value is None or value == "":
        return None
    spelled = str(value)
    try:
        return str(int(spelled[2:], 16)) if spelled.startswith("\\x") else spelled
    except ValueError as error:
        raise Impossible("snapshotdigits", value, "expected digits, or \\x and hexadecimal digits") from error


def notes(log: Log) -> Iterator[Note]:
    """Yield what a table that is missing would tell."""
    alone = len(log.calls.keys() - log.requests.keys())
    if alone:
        yield Note(f"{alone:,} inferences have ModelInference rows alone; put ChatInference and JsonInference beside")
    if log.requests and not log.calls:
        yield Note("no ModelInference rows, which tell model, tokens and cost; put that table into the same file")
