"""Our own journal: a line when a call begins, a line when it ends, a line for each word of feedback."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from beastmode.interactions import Interaction
from features.formats.events import GRACE, Event, Format, Rating, Refusal, Row, Source, Waiting
from features.formats.rows import feedback, interaction, lines, plain, refusal
from features.formats.values import Impossible, moment, record

PROCESS_ENDED = "router_process_ended"
OUTCOME = (
    "status",
    "error_type",
    "error_message",
    "latency_ms",
    "ttft_ms",
    "model_served",
    "provider",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "cost_logged_usd",
    "cost_source",
    "cache_tier",
    "attempts",
)
"""What only the end of a call can say."""


@dataclass(slots=True)
class _Open:
    line: int
    raw: bytes
    known: dict[str, Any]
    since: int
    """The line of the oldest call that was under way then: what waits is read again from there."""
    lines: int = 1


def read(stream: BinaryIO, source: Source) -> Iterator[Event]:
    """Yield what a journal file holds; calls without an end come last, as unknown or as waiting."""
    running: dict[str, _Open] = {}
    for at, raw, ended in lines(stream):
        try:
            known = record(raw)
        except ValueError as error:
            if ended:
                yield refusal(at, error, raw)
            else:
                yield Waiting(at, "the last line is torn; it is read when its end has been written")
            continue
        yield from _line(at, raw, known, running, source)
    for begun in running.values():
        yield _never_ended(begun, source)


def _line(at: int, raw: bytes, known: dict[str, Any], running: dict[str, _Open], source: Source) -> Iterator[Event]:
    kind = known.pop("kind", None)
    known.pop("v", None)
    if kind == "feedback":
        try:
            yield Rating(feedback(known, source))
        except Impossible as error:
            yield refusal(at, error, raw)
        return
    native = known.get("decision_id")
    if kind not in ("begin", "end") or not isinstance(native, str) or not native:
        reason = f"kind = {kind!r}" if kind not in ("begin", "end") else "decision_id is missing"
        yield refusal(at, f"{reason}: a journal line is a begin, an end or feedback", raw)
    elif kind == "begin":
        before = running.get(native)
        if before is None:
            since = next(iter(running.values())).since if running else at
            running[native] = _Open(at, raw, known, since)
        elif before.known == known:
            before.lines += 1
        else:
            yield refusal(at, f"decision {native!r} began twice, and not in the same way", raw)
    else:
        begun = running.pop(native, None)
        if begun is None:
            yield refusal(at, f"decision {native!r} ended without a begin in this file; join its pieces", raw)
        else:
            yield _ended(begun, raw, known, source)


def _ended(begun: _Open, raw: bytes, end: dict[str, Any], source: Source) -> Row | Refusal:
    taken = begun.lines + 1
    try:
        whole = {**begun.known, **end}
        return Row(interaction(whole, "journal", source, str(end["decision_id"])), lines=taken)
    except Impossible as error:
        return refusal(begun.line, error, begun.raw.rstrip() + b"\n" + raw, taken)


def _never_ended(begun: _Open, source: Source) -> Row | Refusal | Waiting:
    native = str(begun.known["decision_id"])
    try:
        when = moment("at", begun.known.get("at"))
        if when is not None and source.at - when <= GRACE:
            return Waiting(begun.since, f"decision {native!r} may still be running", begun.lines)
        lost = {**begun.known, "status": "unknown", "error_type": PROCESS_ENDED}
        lost["error_message"] = "the process ended before the call did"
        return Row(interaction(lost, "journal", source, native), lines=begun.lines)
    except Impossible as error:
        return refusal(begun.line, error, begun.raw, begun.lines)


def write(stream: BinaryIO, rows: Iterable[Interaction]) -> None:
    """Write interactions as the journal would have; each needs its decision id."""
    for row in rows:
        if row.decision_id is None:
            raise ValueError(f"interaction {row.request_id!r} has no decision_id; a journal holds decisions")
        known = plain(row)
        for name in ("event_id", "format"):
            known.pop(name)
        end = {name: known.pop(name) for name in OUTCOME if name in known}
        for line in (
            {"kind": "begin", "v": 1, **known},
            {"kind": "end", "v": 1, "decision_id": row.decision_id, **end},
        ):
            text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)
            stream.write(text.encode("utf-8", "replace") + b"\n")


def sniff(head: bytes) -> float:
    """Return how sure it is that a log which begins so is a journal."""
    first = head.lstrip()[:400]
    if not first.startswith(b"{"):
        return 0.0
    kinds = (b'"kind":"begin"', b'"kind": "begin"', b'"kind":"end"', b'"kind":"feedback"', b'"kind": "feedback"')
    return 0.99 if any(kind in first for kind in kinds) else 0.0


FORMAT = Format(read=read, sniff=sniff, write=write, cannot_carry=frozenset({"event_id", "format"}), resumes=True)
