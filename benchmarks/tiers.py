"""What the cache's tiers keep, refuse and cost: `python -m benchmarks tiers --workers 8 --json OUT`.

Three parts. *Sharing*: a trace is dealt at random to real worker processes, with a memory each, and with a second tier
that they share; hits are compared with those of one cache that everyone shares, which is also the ceiling without
prefetching. *Hostile*: look-alikes of stored requests ask for what is not theirs. *Lookups*: median times of each tier,
also as ratios to a 512 × 512 float32 matrix product taken between them in the same run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import count, output
from benchmarks.decision import ONE_THREAD
from benchmarks.redis_server import RedisServer
from benchmarks.tiers_hostile import hostile
from benchmarks.tiers_sharing import read, sharing

TRACES = ("cache_apache_4day", "cache_excite_queries", "cache_semisynth_app")
QUESTIONS = "cache_qqp_pairs"
PARTS = ("sharing", "hostile", "lookups")
FEWEST = 200
"""Questions among which a lookup is timed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to; returns 1 where an answer crossed a partition or was wrong."""
    options = _options(arguments)
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        command = [sys.executable, "-m", "benchmarks.tiers", *(sys.argv[2:] if arguments is None else arguments)]
        return subprocess.run(command, check=False, env={**os.environ, **ONE_THREAD}).returncode
    # Here, because workers import this module too, and need no tables.
    from benchmarks.traces import locate

    traces = options.trace or (TRACES if options.data else ())
    questions = options.questions or (QUESTIONS if options.data else None)
    needed = {"sharing": bool(traces), "lookups": questions is not None}
    if any(part in options.parts and not there for part, there in needed.items()):
        print("tiers: name the folder of traces by --data or BEASTMODE_DATA, or the files themselves", file=sys.stderr)
        return 2
    try:
        found_at = [locate(trace, options.data) for trace in traces if "sharing" in options.parts]
        calls = {path.stem: read(path) for path in found_at}
        asked = questions if "lookups" in options.parts else None
        texts = distinct(locate(asked, options.data), options.seed) if asked else []
    except ValueError as refused:
        print(f"tiers: {refused}", file=sys.stderr)
        return 2
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        server = _server(Path(scratch), options.parts)
        try:
            for name, dealt in calls.items():
                one = sharing(
                    name, dealt, options.workers, None if server is None else server.url, Path(scratch), options.seed
                )
                found.setdefault("sharing", {})[name] = _told(name, one)
            if "hostile" in options.parts:
                found["hostile"] = _told("hostile", hostile(options.tries, Path(scratch), options.seed))
            if "lookups" in options.parts:
                # Here, because workers import this module too, and should not wait for what fits encoders.
                from benchmarks.tiers_lookups import lookups

                found["lookups"] = lookups(
                    texts,
                    Path(scratch),
                    server,
                    options.rows,
                    options.vectors,
                    options.encoders,
                )
        finally:
            if server is not None:
                server.kill()
    if server is None and set(options.parts) != {"hostile"}:
        found["redis"] = "redis-server is not installed: its rows are missing"
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    wrong = sum(run["wrong"] for one in found.get("sharing", {}).values() for run in one["runs"].values())
    return int(wrong + found.get("hostile", {}).get("crossed", 0) > 0)


def distinct(path: Path, seed: int) -> list[str]:
    """Return the distinct questions of a file, in random order; raises ValueError where there are too few."""
    # Here, because workers import this module too, and need no tables.
    from benchmarks.traces import columns, table

    names = [name for name in ("text_a", "text_b", "text") if name in columns(path)]
    found = {str(text) for name in names for text in table(path, names)[name].to_pylist() if text}
    if len(found) < FEWEST:
        raise ValueError(
            f"{path}: {len(found)} questions in its columns {', '.join(names) or 'text_a, text_b, text'}; "
            f"lookups are timed among at least {FEWEST}: name another file by --questions"
        )
    texts = sorted(found)
    return [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]


def _server(folder: Path, parts: Sequence[str]) -> RedisServer | None:
    return RedisServer(folder) if shutil.which("redis-server") and set(parts) != {"hostile"} else None


def _told(name: str, found: dict[str, Any]) -> dict[str, Any]:
    print(name, json.dumps(found), file=sys.stderr, flush=True)
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tiers", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("BEASTMODE_DATA"), help="folder; BEASTMODE_DATA by default")
    parser.add_argument(
        "--trace", nargs="+", help="parquet files with answer_class, key, text or hash_ids, or names in the folder"
    )
    parser.add_argument("--questions", help="parquet file with text_a and text_b, or text, for the semantic lookups")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--workers", type=count, default=8)
    parser.add_argument("--tries", type=count, default=100_000, help="hostile look-ups")
    parser.add_argument("--rows", type=count, default=100_000, help="entries of the second tier while it is timed")
    parser.add_argument("--vectors", type=count, default=100_000, help="of the hnswlib partition")
    parser.add_argument("--encoders", nargs="+", choices=("static", "onnx"), default=("static", "onnx"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=output, help="write the numbers to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
