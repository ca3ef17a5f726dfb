"""Feedback files: who said how good an answer was, and when (CSV, JSON lines, JSON array or Parquet)."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import BinaryIO

from beastmode.interactions import Feedback
from features.formats.events import Event, Format, FormatError, Rating, Source
from features.formats.rows import feedback, refusal
from features.formats.tabular import kind, records
from features.formats.values import Impossible

COLUMNS = ("request_id", "trace_id", "signal", "value", "label", "at", "received_at", "source", "supersedes")


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield the ratings of a feedback file."""
    for item in records(stream, source.shape):
        if item.values is None:
            yield item.event()
            continue
        known = {name: item.values.get(source.columns.get(name, name)) for name in COLUMNS}
        try:
            yield Rating(feedback(known, source), item.lines)
        except Impossible as error:
            yield refusal(item.line, error, item.raw or repr(item.values), item.lines)


def write(stream: BinaryIO, ratings: Iterable[Feedback]) -> None:
    """Write ratings as JSON lines."""
    for rating in ratings:
        known = {name: value for name, value in asdict(rating).items() if value is not None}
        known["at"], known["received_at"] = rating.at.isoformat(), rating.received_at.isoformat()
        stream.write(json.dumps(known, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def sniff(head: bytes) -> float:
    """Return how sure it is that a file which begins so holds feedback."""
    try:
        of = kind(head)
    except FormatError:
        return 0.0
    first = head[:400] if of == "array" else head.lstrip(b"\xef\xbb\xbf \r\n").split(b"\n", 1)[0]
    if of == "parquet":
        return 0.1
    has = all(name in first for name in (b"request_id", b"value"))
    other = (b'"kind"', b"startTime", b"model", b"prompt_tokens")
    return 0.9 if has and not any(name in first for name in other) else 0.0


FORMAT = Format(read=read, sniff=sniff, resumes=True)
