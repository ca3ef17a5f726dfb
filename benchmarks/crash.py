"""What a kill costs: `python -m benchmarks crash --kills 200 --json OUT`.

An ingest of logs in several formats, with everything in them that goes wrong, is killed with SIGKILL at random moments
and started again, until it has come to its end; then the lake is compared, row for row, with that of an undisturbed
run, and the next lake is begun, until there were as many kills as were asked for.
"""

import argparse
import json
import multiprocessing
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.formats import FORMATS, feedback
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from pipelines.columns import SCHEMAS
from pipelines.ingest import IngestSettings, SourceSettings, ingest
from pipelines.lake import Lake

AT = datetime(2026, 6, 1, tzinfo=UTC)
LOGS = ("journal", "litellm", "langfuse", "table")
BROKEN = 0.05
"""Share of the lines that are cut in the middle."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, compare, print, and write JSON where asked to; returns 1 where a lake differed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks crash", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--requests", type=int, default=400, help="of the world that each log holds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = killed(Path(folder), options.kills, options.requests, options.seed)
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return int(found["lakes_that_differ"] > 0)


def killed(folder: Path, kills: int, requests: int, seed: int) -> dict[str, Any]:
    """Return how many kills there were, over how many lakes, and how many of those were not as undisturbed."""
    # Children are forked off a server that has imported all and runs no thread: they begin to read at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.ingest"])
    rng = random.Random(seed)
    write(folder / "logs", requests, seed)
    begun = time.monotonic()
    run(folder / "logs", folder / "undisturbed")
    takes = time.monotonic() - begun
    expected = content(folder / "undisturbed")
    told: dict[str, Any] = {"kills": 0, "lakes": 0, "lakes_that_differ": 0, "rows": len(expected), "kills_a_lake": []}
    while told["kills"] < kills:
        lake, here = folder / "lake", 0
        while True:
            child = context.Process(target=run, args=(folder / "logs", lake))
            begun = time.monotonic()
            child.start()
            child.join(rng.random() * takes if told["kills"] < kills else None)
            if child.exitcode is not None:
                # The machine may be quicker now than it was: most runs should be killed.
                takes = takes if here else min(takes, time.monotonic() - begun)
                break
            child.kill()
            child.join()
            here += 1
            told["kills"] += 1
        if child.exitcode != 0:
            raise SystemExit(f"the ingest after {here} kills ended with status {child.exitcode}")
        told["lakes"] += 1
        told["kills_a_lake"].append(here)
        told["lakes_that_differ"] += content(lake) != expected
        shutil.rmtree(lake)
    return told


def write(folder: Path, requests: int, seed: int) -> None:
    """Write the world's logs, one a format, each under a deployment's folder, with broken and doubled lines."""
    world = synthetic(SyntheticSettings(prompts=requests), WorldSettings(probe_share=0.2, failures=0.05), seed)
    rng = random.Random(seed)
    for name in LOGS:
        path = folder / name / "log.jsonl"
        path.parent.mkdir(parents=True)
        writer = FORMATS[name].write
        assert writer is not None
        with path.open("wb") as stream:
            writer(stream, world.interactions)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(_worse(line, rng) for line in lines))
    with (folder / "journal" / "feedback.jsonl").open("wb") as stream:
        feedback.write(stream, world.feedback)


def _worse(line: bytes, rng: random.Random) -> bytes:
    drawn = rng.random()
    if drawn < BROKEN:
        return line[: len(line) // 2] + b"\n"
    return line + line if drawn > 1 - BROKEN else line


def run(logs: Path, lake: Path) -> None:
    """Ingest the logs in small chunks, so that there is much to be interrupted."""
    sources = tuple(SourceSettings(path=f"{logs}/{name}/*.jsonl", deployment=name) for name in LOGS)
    ingest(IngestSettings(sources=sources, chunk_rows=40, wait_seconds=60), lake, AT)


def content(root: Path) -> list[str]:
    """Return every row of every table, as JSON, in an order of its own."""
    lake = Lake(root)
    rows = [row for table in SCHEMAS for row in lake.read(table, lake.days(table)).to_pylist()]
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


if __name__ == "__main__":
    raise SystemExit(main())
