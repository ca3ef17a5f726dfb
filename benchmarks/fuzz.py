"""What a hostile log can do: `python -m benchmarks fuzz --rows 100000 --json OUT`.

The records of a world, in every format that can be written, and those of the sample logs in the others, are mutated:
bytes cut, doubled, replaced; values of JSON exchanged for others of every type. Each log is ingested. Counted are
crashes, records that no line of the loss report speaks of, and reports whose sums are not exact.
"""

import argparse
import json
import random
import tempfile
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from features.formats import FORMATS, FormatError, Note, Source, read
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from pipelines.ingest import IngestError, IngestSettings, SourceSettings, ingest

AT = datetime(2026, 6, 1, tzinfo=UTC)
LOG = 500
"""Records of one log."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**30, -1e308, 1.5, "", " ", "null", "NaN", "2026-13-45", "{}", "[]", "\ud800",
    "0" * 40, [], {}, [[]], [None], {"a": {"b": []}}, [{"role": 7}], {"": None},
)  # fmt: skip
FRAGMENTS = (
    b'"', b"{", b"}", b"[", b",", b"\\", b"null", b"-1", b"1e999", b"NaN", b"\xff", b"\x00", b"\r", b"9" * 30,
    b"\\ud800",
)  # fmt: skip
SAMPLES = Path(__file__).resolve().parents[1] / "tests" / "data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Mutate, ingest, print, and write JSON where asked to; returns 1 where anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="over all formats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args(arguments)
    found = {name: fuzz(name, options.rows // len(FORMATS) + 1, options.seed) for name in FORMATS}
    whole: dict[str, Any] = {key: sum(part[key] for part in found.values()) for key in next(iter(found.values()))}
    text = json.dumps({"all": whole, **found}, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return int(bool(whole["crashes"] or whole["unaccounted"] or whole["wrong_sums"]))


def fuzz(name: str, rows: int, seed: int) -> dict[str, int]:
    """Return what came of so many mutated records of one format."""
    rng = random.Random(f"{name} {seed}")
    lines = records(name, seed)
    told = dict.fromkeys(
        ("records", "written", "quarantined", "refused_logs", "crashes", "unaccounted", "wrong_sums"), 0
    )
    while told["records"] < rows:
        # The first record is as it was: a log is told by it.
        log = lines[0] + b"".join(mutated(rng.choice(lines), rng) for _ in range(min(LOG, rows - told["records"])))
        held = sum(bool(line.strip()) for line in log.split(b"\n"))
        told["records"] += held
        try:
            said = sum(
                event.lines for event in read(name, BytesIO(log), Source("shop", AT)) if not isinstance(event, Note)
            )
            told["unaccounted"] += abs(held - said)
            _ingested(name, log, told)
        except (FormatError, IngestError):
            told["refused_logs"] += 1
        except Exception:
            told["crashes"] += 1
            traceback.print_exc()
    return told


def _ingested(name: str, log: bytes, told: dict[str, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        path.write_bytes(log)
        report = ingest(IngestSettings(sources=(SourceSettings(path=str(path), format=name),)), f"{folder}/lake", AT)
    told["written"] += report.written + report.feedback_written
    told["quarantined"] += report.quarantined + report.feedback_quarantined
    told["wrong_sums"] += not report.adds_up


def records(name: str, seed: int) -> list[bytes]:
    """Return the lines of a log of a format: a world's where it can be written, else the samples'."""
    writer = FORMATS[name].write
    if writer is None:
        lines = [line for path in sorted(SAMPLES.glob(f"{name}*.jsonl")) for line in path.read_bytes().splitlines(True)]
        return [line if line.endswith(b"\n") else line + b"\n" for line in lines]
    world = synthetic(SyntheticSettings(prompts=100), WorldSettings(probe_share=0.2, failures=0.1), seed)
    stream = BytesIO()
    writer(stream, world.interactions)
    return stream.getvalue().splitlines(keepends=True)


def mutated(line: bytes, rng: random.Random) -> bytes:
    """Return a line with one to three mutations, or, once in five times, as it was; it stays one line or none."""
    if rng.random() < 0.2:
        return line
    for _ in range(rng.randint(1, 3)):
        line = rng.choice(MUTATIONS)(line, rng)
    return line.replace(b"\n", b" ") + b"\n"


def _bytes(line: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(line) + 1), rng.randint(0, 12)
    return line[:at] + rng.choice(FRAGMENTS) + line[at + length :]


def _cut(line: bytes, rng: random.Random) -> bytes:
    return line[: rng.randrange(len(line) + 1)]


def _value(line: bytes, rng: random.Random) -> bytes:
    """Exchange one value somewhere in the record, or take it out, or give it another name."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    place = record
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        drawn = rng.random()
        if drawn < 0.7:
            place[key] = rng.choice(VALUES)
        elif drawn < 0.9:
            del place[key]
        elif isinstance(place, dict):
            place[f"{key}x"] = place.pop(key)
        break
    return json.dumps(record).encode()


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_bytes, _cut, _value, _value, _value)


if __name__ == "__main__":
    raise SystemExit(main())
