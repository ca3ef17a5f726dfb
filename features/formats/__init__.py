"""The kinds of log that can be read, each a module or a package of its own, and how to tell them apart."""

from collections.abc import Iterator
from typing import BinaryIO

from features.formats import (
    feedback,
    generic,
    helicone,
    journal,
    langfuse,
    litellm,
    matrix,
    mlflow,
    openai,
    otel,
    tensorzero,
)
from features.formats.events import (
    Event,
    Format,
    FormatError,
    Note,
    Rating,
    Reader,
    Refusal,
    Row,
    Skipped,
    Source,
    Waiting,
    Writer,
)

FORMATS: dict[str, Format] = {
    "journal": journal.FORMAT,
    "litellm": litellm.FORMAT,
    "langfuse": langfuse.FORMAT,
    "helicone": helicone.FORMAT,
    "openai": openai.FORMAT,
    "tensorzero": tensorzero.FORMAT,
    "matrix": matrix.FORMAT,
    "otel": otel.FORMAT,
    "mlflow": mlflow.FORMAT,
    "feedback": feedback.FORMAT,
    "table": generic.FORMAT,
}
"""Name -> how it is read and written; the name stands in a row's `format`."""

HEAD = 2**16
"""Bytes of a log's beginning that tell its format."""


def read(name: str, stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield what a log of a format holds; raises FormatError, and KeyError for an unknown name."""
    return FORMATS[name].read(stream, source)


def detect(head: bytes) -> tuple[str, float]:
    """Return the format that a log which begins so looks like, and how sure that is in [0, 1].

    Raises FormatError where it looks like none: the message names what is known.
    """
    name, sure = max(((name, known.sniff(head)) for name, known in FORMATS.items()), key=lambda pair: pair[1])
    if sure < 0.2:
        shown = head[:60].decode("utf-8", "replace")
        raise FormatError(f"a log that begins with {shown!r} is of no known format: {', '.join(FORMATS)}")
    return name, sure


def expect(name: str, head: bytes) -> Format:
    """Return the format of that name, if the log can be of it; raises FormatError saying what it looks like."""
    if name not in FORMATS:
        raise FormatError(f"unknown format {name!r}; known: {', '.join(FORMATS)}, or 'auto' to be told apart")
    looks, sure = detect(head)
    if name == looks or (FORMATS[name].sniff(head) > 0 and sure < 0.9):
        return FORMATS[name]
    raise FormatError(f"this is no {name} log: it looks like {looks} ({sure:.0%} sure); set format = {looks!r}")


__all__ = [
    "FORMATS",
    "Event",
    "Format",
    "FormatError",
    "Note",
    "Rating",
    "Reader",
    "Refusal",
    "Row",
    "Skipped",
    "Source",
    "Waiting",
    "Writer",
    "detect",
    "expect",
    "read",
]
