"""Benchmarks: what each of several models scored on each prompt, a row a prompt (RouterBench) or a row a score."""

import ast
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from beastmode.interactions import Feedback
from features.formats.events import Event, Format, FormatError, Note, Rating, Row, Skipped, Source
from features.formats.failures import error_type
from features.formats.heads import beginning
from features.formats.rows import interaction, opinion, refusal
from features.formats.tabular import Record, kind, records
from features.formats.values import Impossible, prompt_facts, text

ID = ("prompt_id", "sample_id", "question_id", "index", "id")
PROMPT = ("prompt", "question", "query", "origin_query")
DATASET = ("dataset", "eval_name", "dataset_name", "benchmark")
MODEL = ("model", "model_name")
SCORE = ("score", "performance", "accuracy")
CELL: Mapping[str, tuple[str, ...]] = {
    "score": SCORE,
    "cost_usd": ("cost_usd", "total_cost", "cost"),
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
    "latency_ms": ("latency_ms",),
    "ttft_ms": ("ttft_ms",),
    "error": ("error_code", "error_type", "error"),
}
"""What is known of one model's answer: our name -> the column in long form, or what follows `model|` in wide form."""
OTHERS = frozenset({*ID, *PROMPT, *DATASET, "task", "oracle_model_to_route_to", "ground_truth", "answer"})
"""Columns that are no model's."""
LONGEST_LIST = 2**18
"""Characters. A longer prompt is never taken for a Python list, which costs time and memory to parse."""


@dataclass(slots=True)
class _Walk:
    """What is remembered between the records of a benchmark."""

    source: Source
    prompts: dict[str, int] = field(default_factory=dict)
    """The prompts in the order in which they came: a benchmark has no moments."""
    models: dict[tuple[str, ...], dict[str, dict[str, str]]] = field(default_factory=dict)
    """The columns of a wide record -> its models, each with its columns and what they are to us."""

    def at(self, prompt: str) -> datetime:
        return self.source.start + timedelta(milliseconds=self.prompts.setdefault(prompt, len(self.prompts)))


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield every cell of a benchmark as a probe of its prompt, and the score beside it.

    Raises FormatError where the first record names neither a model and its score nor models as columns.
    """
    walk, begun = _Walk(source), False
    for item in records(stream):
        if item.values is None:
            yield item.event()
            continue
        if not begun:
            begun = True
            if not _is_long(item.values, source) and not _models(item.values):
                raise FormatError(
                    f"matrix: no column for the model and its score, nor a column a model, among "
                    f"{', '.join(item.values)}; name them in the source's columns, such as {{ model = 'name' }}"
                )
            yield Note(
                f"a benchmark has no moments: its k-th prompt stands at {source.start.isoformat()} plus k ms; set start"
            )
        yield from _record(item, item.values, walk)


def _record(item: Record, values: Mapping[str, Any], walk: _Walk) -> Iterator[Event]:
    """Yield what one record holds; its lines are taken by the first event."""
    raw = item.raw or json.dumps(values, default=str, sort_keys=True).encode("utf-8", "replace")
    try:
        asked = _asked(values, walk)
        cells = list(_cells(values, walk))
    except Impossible as error:
        yield refusal(item.line, error, raw, item.lines)
        return
    if not cells:
        yield Skipped(item.line, "no model has a score or a cost here", item.lines)
    left = item.lines
    for model, cell in cells:
        for event in _cell(model, cell, asked, item.line, raw, left, walk):
            left = 0
            yield event


def _is_long(values: Mapping[str, Any], source: Source) -> bool:
    return _value(values, "model", MODEL, source) is not None and any(
        name in values for name in (source.columns.get("score", ""), *SCORE)
    )


def _models(values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the models of a wide record: columns with a `model|...` beside them, else all others with numbers."""
    names = values.keys()
    marked = {name.rpartition("|")[0] for name in names if "|" in name}
    models = [name for name in names if name in marked and name not in OTHERS]
    if not marked and not OTHERS.isdisjoint(names):
        models = [name for name in names if name not in OTHERS and _is_number(values[name])]
    parts = {f"|{name}": ours for ours, aliases in CELL.items() for name in aliases} | {"": "score"}
    return {model: {model + part: ours for part, ours in parts.items() if model + part in names} for model in models}


def _is_number(value: object) -> bool:
    """Whether a value may be a score, as an empty one may."""
    try:
        return opinion("score", _known(value))[1] is None
    except Impossible:
        return False


def _known(value: Any) -> Any:
    """Return a value, None where a table has none: empty, or NaN."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return None if isinstance(value, str) and value.lower() == "nan" else value


def _value(values: Mapping[str, Any], ours: str, aliases: tuple[str, ...], source: Source) -> Any:
    """Return the value of one of our columns, in the first of its spellings that has one."""
    given = source.columns.get(ours)
    for name in (given,) if given is not None else aliases:
        if (value := _known(values.get(name))) is not None:
            return value
    return None


def _asked(values: Mapping[str, Any], walk: _Walk) -> dict[str, Any]:
    """Return what all cells of a prompt share."""
    source = walk.source
    said = _prompt(_value(values, "prompt", PROMPT, source))
    dataset = text("dataset", _value(values, "dataset", DATASET, source))
    task = text("task", _value(values, "task", ("task", "category"), source))
    known: dict[str, Any] = {"context": {k: v for k, v in (("dataset", dataset), ("task", task)) if v} or None}
    if said:
        known["messages"] = ({"role": "user", "content": said},)
        known["prompt_sha256"], known["prompt_chars"] = prompt_facts(known["messages"])
    prompt = text("prompt_id", _value(values, "prompt_id", ID, source)) or known.get("prompt_sha256")
    if prompt is None:
        raise Impossible("prompt_id", None, "a benchmark's record has the id of its prompt, or the prompt")
    # Ids such as 0, 1, 2 are unique in their benchmark alone.
    known["parent_request_id"] = prompt if dataset is None or prompt.startswith(dataset) else f"{dataset}/{prompt}"
    known["at"] = walk.at(known["parent_request_id"])
    return known


def _prompt(value: object) -> str | None:
    """Return a prompt, also where it is the text of a Python list of its turns, as RouterBench has it."""
    if isinstance(value, str) and value[:1] == "[" and value[-1:] == "]" and len(value) <= LONGEST_LIST:
        try:
            with warnings.catch_warnings():
                # A backslash in what is no list after all is nobody's mistake.
                warnings.simplefilter("ignore")
                turns = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return value
        spoken = isinstance(turns, list) and all(isinstance(turn, str) for turn in turns)
        value = turns if spoken else value
    if isinstance(value, list):
        value = "\n".join(map(str, value))
    return text("prompt", value)


def _cells(values: Mapping[str, Any], walk: _Walk) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each model and what is known of its answer; models of which a wide record says nothing are left out."""
    source = walk.source
    if _is_long(values, source):
        model = text("model", _value(values, "model", MODEL, source))
        cell = {ours: _value(values, ours, aliases, source) for ours, aliases in CELL.items()}
        if model is not None:
            yield model, cell
        return
    names = tuple(values)
    if names not in walk.models:
        walk.models[names] = _models(values)
    for wide, columns in walk.models[names].items():
        cell = {ours: value for name, ours in columns.items() if (value := _known(values[name])) is not None}
        if cell:
            yield wide, cell


def _cell(
    model: str, cell: Mapping[str, Any], asked: Mapping[str, Any], line: int, raw: bytes, left: int, walk: _Walk
) -> Iterator[Event]:
    """Yield a model's answer as a probe that was certain to be made, and its score."""
    known = {
        **asked,
        "input_tokens": cell.get("input_tokens"),
        "output_tokens": cell.get("output_tokens"),
        "request_id": f"{asked['parent_request_id']}:{model}",
        "purpose": "probe",
        "candidates": (model,),
        "plan": model,
        "probabilities": {model: 1.0},
        "propensity": 1.0,
        "model_requested": model,
        "cost_logged_usd": cell.get("cost_usd"),
        "latency_ms": cell.get("latency_ms"),
        "ttft_ms": cell.get("ttft_ms"),
    }
    if (wrong := cell.get("error")) is not None:
        spelled = str(wrong).removesuffix(".0")
        known |= {"status": "failure", "error_type": error_type(spelled, None), "error_message": f"error {spelled}"}
    else:
        known["model_served"] = model
    try:
        row = interaction(known, "matrix", walk.source, f"{asked['parent_request_id']}\0{model}")
    except Impossible as error:
        yield replace(refusal(line, error, raw, left), of_call=left == 0)
        return
    yield Row(row, left, line=line)
    if wrong is not None or cell.get("score") is None:
        return
    try:
        value = opinion("score", cell["score"])[0]
        if value is None:
            raise Impossible("score", cell["score"], "expected a number")
    except Impossible as error:
        yield refusal(line, error, raw, 0)
        return
    at = row.at + timedelta(milliseconds=row.latency_ms or 0)
    word = Feedback(request_id=row.request_id, signal="score", value=value, at=at, received_at=at, source="benchmark")
    yield Rating(word, 0)


def sniff(head: bytes) -> float:
    """Return how sure it is that a table which begins so is a benchmark's."""
    try:
        if kind(head) == "parquet":
            return 0.1
    except FormatError:
        return 0.0
    names = beginning(head).keys()
    if "oracle_model_to_route_to" in names or any(str(name).endswith("|total_cost") for name in names):
        return 0.97
    long = (names & set(ID[:3])) and (names & set(MODEL)) and (names & set(SCORE[:2]))
    return 0.95 if long and not names & {"request_id", "timestamp", "at", "propensity"} else 0.0


FORMAT = Format(read=read, sniff=sniff)
