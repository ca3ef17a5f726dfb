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

from benchmarks.decision import ONE_THREAD
from benchmarks.redis_server import RedisServer
from benchmarks.tiers_hostile import hostile
from benchmarks.tiers_sharing import sharing

TRACES = ("cache_apache_4day", "cache_excite_queries", "cache_semisynth_app")
QUESTIONS = "cache_qqp_pairs"
PARTS = ("sharing", "hostile", "lookups")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to; returns 1 where an answer crossed a partition or was wrong."""
    options = _options(arguments)
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        command = [sys.executable, "-m", "benchmarks.tiers", *(sys.argv[2:] if arguments is None else arguments)]
        return subprocess.run(command, check=False, env={**os.environ, **ONE_THREAD}).returncode
    folder = Path(options.data) if options.data else None
    traces = options.trace or ([folder / f"{name}.parquet" for name in TRACES] if folder else [])
    questions = options.questions or (folder / f"{QUESTIONS}.parquet" if folder else None)
    needed = {"sharing": bool(traces), "lookups": questions is not None}
    if any(part in options.parts and not there for part, there in needed.items()):
        print("tiers: name the folder of traces by --data or BEASTMODE_DATA, or the files themselves", file=sys.stderr)
        return 2
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        server = _server(Path(scratch), options.parts)
        try:
            if "sharing" in options.parts:
                found["sharing"] = {}
                for path in map(Path, traces):
                    one = sharing(
                        path, options.workers, None if server is None else server.url, Path(scratch), options.seed
                    )
                    found["sharing"][path.stem] = _told(path.stem, one)
            if "hostile" in options.parts:
                found["hostile"] = _told("hostile", hostile(options.tries, Path(scratch), options.seed))
            if "lookups" in options.parts:
                # Here, because workers import this module too, and should not wait for what fits encoders.
                from benchmarks.tiers_lookups import lookups

                found["lookups"] = lookups(
                    Path(str(questions)),
                    Path(scratch),
                    server,
                    options.rows,
                    options.vectors,
                    options.encoders,
                    options.seed,
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


def _server(folder: Path, parts: Sequence[str]) -> RedisServer | None:
    return RedisServer(folder) if shutil.which("redis-server") and set(parts) != {"hostile"} else None


def _told(name: str, found: dict[str, Any]) -> dict[str, Any]:
    print(name, json.dumps(found), file=sys.stderr, flush=True)
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tiers", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("BEASTMODE_DATA"), help="folder; BEASTMODE_DATA by default")
    parser.add_argument("--trace", nargs="+", type=Path, help="parquet files with a column answer_class, key or text")
    parser.add_argument("--questions", type=Path, help="parquet file with text_a and text_b, for the semantic lookups")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--tries", type=int, default=100_000, help="hostile look-ups")
    parser.add_argument("--rows", type=int, default=100_000, help="entries of the second tier while it is timed")
    parser.add_argument("--vectors", type=int, default=100_000, help="of the hnswlib partition")
    parser.add_argument("--encoders", nargs="+", choices=("static", "onnx"), default=("static", "onnx"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
