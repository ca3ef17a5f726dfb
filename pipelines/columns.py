"""Interactions, feedback and refusals as the columns of the lake."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import orjson
import pyarrow as pa

from beastmode.interactions import Attempt, Feedback, Interaction
from beastmode.records import Prediction
from features.costs import cost
from features.formats.events import Refusal
from features.prices import PriceBook

MOMENT = pa.timestamp("us", tz="UTC")
_KINDS = {"at": MOMENT, "candidates": pa.list_(pa.string()), "probabilities": pa.map_(pa.string(), pa.float64())}
_NUMBERS = (
    "propensity",
    "arm_probability",
    "marginal_propensity",
    "latency_ms",
    "ttft_ms",
    "cost_logged_usd",
    "cost_usd",
)
_PREDICTION = tuple(f.name for f in fields(Prediction))


def _kind(name: str) -> pa.DataType:
    if name in _NUMBERS:
        return pa.float64()
    return pa.int64() if name.endswith("_tokens") or name == "prompt_chars" else pa.string()


_ATTEMPT = tuple(f.name for f in fields(Attempt))
_KINDS["attempts"] = pa.list_(pa.struct([(name, _kind(name)) for name in _ATTEMPT]))
_KINDS["predictions"] = pa.list_(
    pa.struct([(name, pa.string() if name == "candidate" else pa.float64()) for name in _PREDICTION])
)
JSON = ("messages", "context", "needs", "arm_probabilities")
"""Columns that hold JSON as text."""

INTERACTIONS = pa.schema([(f.name, _KINDS.get(f.name, _kind(f.name))) for f in fields(Interaction)])
FEEDBACK = pa.schema(
    [("feedback_id", pa.string())]
    + [
        (f.name, MOMENT if f.name in ("at", "received_at") else pa.float64() if f.name == "value" else pa.string())
        for f in fields(Feedback)
    ]
)
QUARANTINE = pa.schema(
    [(n, pa.string()) for n in ("quarantine_id", "deployment", "format", "reason", "raw")]
    + [("line", pa.int64()), ("quarantined_at", MOMENT)]
)
SCHEMAS = {"interactions": INTERACTIONS, "feedback": FEEDBACK, "quarantine": QUARANTINE}
KEYS = {"interactions": "event_id", "feedback": "feedback_id", "quarantine": "quarantine_id"}
WHEN = {"interactions": "at", "feedback": "received_at", "quarantine": "quarantined_at"}


def interactions_table(rows: Sequence[Interaction], book: PriceBook) -> pa.Table:
    """Return interactions as the lake's columns, their costs at the prices of a book."""
    costs = [cost(row, book) for row in rows]
    priced: dict[str, list[Any]] = {"cost_usd": [usd for usd, _ in costs], "cost_source": [of for _, of in costs]}
    arrays = []
    for field in INTERACTIONS:
        name = field.name
        values = priced.get(name) or list(map(attrgetter(name), rows))
        if name in JSON:
            values = [None if value is None else as_json(value) for value in values]
        elif name == "probabilities":
            values = [None if value is None else list(value.items()) for value in values]
        elif name == "attempts" and any(values):
            values = [[{n: getattr(attempt, n) for n in _ATTEMPT} for attempt in calls] for calls in values]
        arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=INTERACTIONS)


def as_json(value: Any) -> str:
    """Return a JSON value as text; what JSON does not know is written as its own text."""
    try:
        return orjson.dumps(value, default=str).decode()
    except (TypeError, ValueError):
        # Keys that are no strings, and integers of more than 64 bits.
        return json.dumps(value, ensure_ascii=False, default=str)


def feedback_table(ratings: Sequence[Feedback]) -> pa.Table:
    """Return ratings as the lake's columns, each with the identity of its content."""
    identities = [hashlib.sha256("\0".join(map(str, _content(rating))).encode()).hexdigest() for rating in ratings]
    arrays = [pa.array(identities, pa.string())]
    arrays += [pa.array([getattr(r, field.name) for r in ratings], field.type) for field in list(FEEDBACK)[1:]]
    return pa.Table.from_arrays(arrays, schema=FEEDBACK)


def _content(r: Feedback) -> list[Any]:
    known = [r.request_id, r.signal, repr(r.value), r.at.isoformat(), r.received_at.isoformat(), r.source]
    return known if r.trace_id is None and r.label is None else [*known, r.trace_id, r.label]


def quarantine_table(refusals: Sequence[Refusal], deployment: str, log_format: str, at: datetime) -> pa.Table:
    """Return refused records as the lake's columns."""
    known = [
        {
            "quarantine_id": hashlib.sha256(f"{log_format}\0{deployment}\0{r.digest}".encode()).hexdigest(),
            "deployment": deployment,
            "format": log_format,
            "reason": r.reason,
            "raw": r.raw,
            "line": r.line,
            "quarantined_at": at.astimezone(UTC),
        }
        for r in refusals
    ]
    return pa.Table.from_pylist(known, schema=QUARANTINE)


def as_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table under a schema that has come to have more columns, which are null."""
    arrays = [_as(rows[f.name], f.type) if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else column.cast(kind)
