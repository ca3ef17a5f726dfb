"""Large logs to be ingested: the calls of a synthetic application, again and again under new ids, and made worse."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from beastmode.interactions import Interaction
from features.formats import FORMATS
from features.formats.values import prompt_facts
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from pipelines.columns import INTERACTIONS
from pipelines.lake import Lake

DISTINCT = 4_000
"""Calls that differ in more than their ids and their day."""
DAYS = 28
MARK = "-cycle000000"
"""Stands in every id of a distinct call, where the number of the cycle will."""
MEDIAN_CHARS, SPREAD = 1_200, 0.9
"""Of a prompt: lognormal. LiteLLM's database keeps 2,048 characters of it."""
TORN, DUPLICATE, FAILED, SECRET = 0.01, 0.01, 0.05, 0.02
AT = datetime(2026, 6, 1, tzinfo=UTC)
FIRST = date(2025, 1, 6)


def write(path: Path, log_format: str, rows: int, seed: int) -> dict[str, int]:
    """Write a log of some rows and return what is in it: `lines`, and of them `torn` and `duplicate`."""
    rng = np.random.default_rng(seed)
    lines = [_mixed(line, log_format, number) for number, line in enumerate(_distinct(log_format, seed))]
    said = {"lines": 0, "torn": 0, "duplicate": 0}
    mark, first = MARK.encode(), FIRST.isoformat().encode()
    with path.open("wb", buffering=2**20) as stream:
        for start in range(0, rows, len(lines)):
            ours = f"-cycle{start // len(lines):06d}".encode()
            # Logs are written in the order of time, so that a chunk of one holds few days.
            day = (FIRST + timedelta(days=DAYS * start // rows)).isoformat().encode()
            fate = rng.random(len(lines))
            for line, drawn in zip(lines[: rows - start], fate.tolist(), strict=False):
                whole = line.replace(mark, ours).replace(first, day)
                said["lines"] += 1
                if drawn < TORN:
                    stream.write(whole[: len(whole) // 2] + b"\n")
                    said["torn"] += 1
                    continue
                stream.write(whole)
                if drawn > 1 - DUPLICATE:
                    stream.write(whole)
                    said["lines"] += 1
                    said["duplicate"] += 1
    return said


def _distinct(log_format: str, seed: int) -> list[bytes]:
    rules = WorldSettings(failures=FAILED, start=f"{FIRST.isoformat()}T00:00:00+00:00", span_days=0.99)
    world = synthetic(SyntheticSettings(prompts=DISTINCT), rules, seed)
    rng = np.random.default_rng([seed, 1])
    rows = [_long(row, rng) for row in world.interactions]
    writer = FORMATS[log_format].write
    if writer is None:
        raise SystemExit(f"format {log_format!r} cannot be written; take one of {', '.join(writable())}")
    lines = []
    for row in rows:
        stream = BytesIO()
        writer(stream, [row])
        lines.append(stream.getvalue())
    return lines


def writable() -> list[str]:
    """Return the formats that can be written."""
    return [name for name, known in FORMATS.items() if known.write is not None]


def _long(row: Interaction, rng: np.random.Generator) -> Interaction:
    """Return a call with a prompt of real length, and with ids that hold the mark."""
    said = str(row.messages[-1]["content"]) if row.messages else ""
    wanted = int(np.exp(rng.normal(np.log(MEDIAN_CHARS), SPREAD)))
    words = said.split() or ["word"]
    text = " ".join(words[i] for i in rng.integers(0, len(words), max(wanted // 6, 1)))
    if rng.random() < SECRET:
        text += f" write to user{rng.integers(10**6)}@mail.example by noon"
    messages = ({"role": "system", "content": "You answer in one sentence."}, {"role": "user", "content": text})
    sha256, chars = prompt_facts(messages)
    return replace(
        row,
        request_id=row.request_id + MARK,
        decision_id=f"{row.decision_id}{MARK}",
        session_id=f"{row.session_id}{MARK}",
        messages=messages,
        prompt_sha256=sha256,
        prompt_chars=chars,
        attempts=(),
    )


def _mixed(line: bytes, log_format: str, number: int) -> bytes:
    """Return a LiteLLM record with its prompt in one of the places and shapes that versions of LiteLLM have used."""
    if log_format != "litellm":
        return line
    record = json.loads(line)
    said = record["proxy_server_request"].get("messages")
    if said and number % 4:
        record["proxy_server_request"] = {}
        text = [{"role": "user", "content": [{"type": "text", "text": said[-1]["content"]}]}]
        record["messages"] = (said, json.dumps(said), text)[number % 4 - 1]
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def fill(root: Path, rows: int, seed: int) -> None:
    """Write a lake that holds so many rows already, over the days of the log."""
    lake, rng = Lake(root), np.random.default_rng([seed, 2])
    first = datetime.combine(FIRST, time(), UTC)
    with lake.writing():
        for day, count in enumerate(np.diff(np.linspace(0, rows, DAYS + 1).astype(int)).tolist()):
            at = first + timedelta(days=day)
            lake.append("interactions", at.date(), _held(count, at, rng))


def _held(count: int, at: datetime, rng: np.random.Generator) -> pa.Table:
    digests = rng.bytes(32 * count).hex()
    known: dict[str, list[Any]] = {
        "event_id": [digests[64 * i : 64 * (i + 1)] for i in range(count)],
        "request_id": [digests[64 * i : 64 * i + 24] for i in range(count)],
        "at": [at] * count,
        "purpose": ["serve"] * count,
        "format": ["litellm"] * count,
        "status": ["success"] * count,
        "propensity_source": ["unknown"] * count,
        "attempts": [[]] * count,
    }
    arrays = [
        pa.array(known[field.name], field.type) if field.name in known else pa.nulls(count, field.type)
        for field in INTERACTIONS
    ]
    return pa.Table.from_arrays(arrays, schema=INTERACTIONS)


def clean(path: Path, out: Path) -> int:
    """Write the lines of a log that are whole JSON, each as plain as an explicit schema wants it; return how many."""
    kept = 0
    with path.open("rb") as stream, out.open("wb", buffering=2**20) as target:
        for line in _whole(stream):
            target.write(line)
            kept += 1
    return kept


def _whole(stream: BinaryIO) -> Iterator[bytes]:
    for line in stream:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        # The reader of Arrow takes one type a column; what is nested and mixed is text to it.
        record["messages"] = json.dumps(record.get("messages"))
        record["proxy_server_request"] = json.dumps(record.get("proxy_server_request"))
        yield json.dumps(record).encode() + b"\n"
