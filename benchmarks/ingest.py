"""What reading a log costs: `python -m benchmarks ingest --rows N --format litellm --json OUT`.

Three ways to bring the same log into Parquet, each in a process of its own on one core: `full` is the ingest with all
that it checks, against a lake that holds rows already; `bare` is `json.loads` for each line without a check, ten
columns and the prompt; `arrow` is pyarrow's reader with an explicit schema over the lines that are whole. Seconds are
the processor's own, so that a busy machine does not count against any of them; goals are ratios to `bare`.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.decision import ONE_THREAD

COLUMNS = (
    "request_id", "call_type", "spend", "prompt_tokens", "completion_tokens", "startTime", "endTime", "model", "status",
    "session_id",
)  # fmt: skip
"""What the bare loop keeps beside the prompt."""
BATCH = 20_000
ARMS = ("full", "bare", "arrow", "full-without-redaction")
RATIOS = {
    "full_to_bare": ("full", "bare"),
    "arrow_to_bare": ("arrow", "bare"),
    "without_redaction_to_full": ("full-without-redaction", "full"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ingest", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000], help="several sizes give an exponent")
    parser.add_argument(
        "--format", default="litellm", help="any format that can be written; bare and arrow are LiteLLM's"
    )
    parser.add_argument("--lake-rows", type=int, default=3_000_000, help="rows that the lake holds already")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="ways to compare; full is always one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--work", type=Path, help="folder for logs and lakes; a temporary one by default")
    parser.add_argument("--arm", nargs=3, metavar=("ARM", "LOG", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.arm is not None:
        arm, log, out = options.arm
        print(json.dumps(_measured(arm, options.format, Path(log), Path(out))))
        return 0
    found: dict[str, Any] = {"format": options.format, "lake_rows": options.lake_rows, "sizes": []}
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        for rows in sorted(options.rows):
            found["sizes"].append(_size(Path(folder), options, rows))
            if len(found["sizes"]) > 1:
                found["exponent"] = _exponent(found["sizes"])
            # A size takes minutes: what is known stands on disk before the next is begun.
            if options.json is not None:
                options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    return 0


def _size(folder: Path, options: argparse.Namespace, rows: int) -> dict[str, Any]:
    from benchmarks import ingest_logs

    log, lake = folder / "log.jsonl", folder / "lake"
    made = ingest_logs.write(log, options.format, rows, options.seed)
    found: dict[str, Any] = {"rows": rows, **made, "bytes_a_line": round(log.stat().st_size / made["lines"])}
    ingest_logs.fill(lake, options.lake_rows, options.seed)
    arms = [
        arm
        for arm in ("full", *(arm for arm in options.arms if arm != "full"))
        if options.format == "litellm" or arm.startswith("full")
    ]
    if "arrow" in arms:
        ingest_logs.clean(log, folder / "clean.jsonl")
    for arm in arms:
        found[arm] = _arm(arm, options.format, folder / "clean.jsonl" if arm == "arrow" else log, folder)
        print(f"{rows:,} rows, {arm}: {found[arm]}", file=sys.stderr, flush=True)
    report = found["full"]["report"]
    found["accounted_for"] = bool(
        report["read"] == made["lines"]
        and report["quarantined"] == made["torn"]
        and report["duplicate"] == made["duplicate"]
    )
    for name, (arm, other) in RATIOS.items():
        if arm in found and other in found:
            found[name] = round(found[arm]["cpu_seconds"] / found[other]["cpu_seconds"], 3)
    for path in folder.iterdir():
        _remove(path)
    return found


def _arm(arm: str, log_format: str, log: Path, folder: Path) -> dict[str, Any]:
    """Run one way in a process of its own; the ingest gets a copy of the lake, so that each begins with the same."""
    out = folder / arm
    if arm.startswith("full"):
        subprocess.run(["cp", "-r", str(folder / "lake"), str(out)], check=True)
    command = [sys.executable, "-m", "benchmarks.ingest", "--format", log_format, "--arm", arm, str(log), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **ONE_THREAD})
    found: dict[str, Any] = json.loads(done.stdout)
    _remove(out)
    return found


def _measured(arm: str, log_format: str, log: Path, out: Path) -> dict[str, Any]:
    """Return processor seconds (a line), peak memory in MiB, and the loss report where there is one."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    # Imports are not reading: they cost the same whatever the log.
    act = {"bare": _bare, "arrow": _arrow}.get(arm) or _full(arm, log_format)
    before, wall = time.process_time(), time.perf_counter()
    lines, report = act(log, out)
    seconds = time.process_time() - before
    return {
        "cpu_seconds": round(seconds, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "us_a_line": round(seconds / lines * 1e6, 2),
        "peak_mib": round(_peak_mib()),
        **({"report": report} if report else {}),
    }


def _peak_mib() -> float:
    status = Path("/proc/self/status")
    return float(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024 if status.exists() else math.nan  # type: ignore[index]


def _full(arm: str, log_format: str) -> Any:
    from benchmarks.ingest_logs import AT
    from pipelines.ingest import IngestSettings, SourceSettings, ingest

    def act(log: Path, out: Path) -> tuple[int, dict[str, int]]:
        source = SourceSettings(path=str(log), format=log_format)
        store = "full" if arm == "full-without-redaction" else "redacted"
        report = ingest(IngestSettings(sources=(source,), store_prompts=store), out, AT)  # type: ignore[arg-type]
        if not report.adds_up:
            raise SystemExit(f"the loss report does not add up: {report}")
        names = ("read", "written", "duplicate", "joined", "quarantined", "failures", "redacted", "truncated")
        return report.read, {name: getattr(report, name) for name in names}

    return act


def _bare(log: Path, out: Path) -> tuple[int, None]:
    writer: Any = None
    lines, rows = 0, []
    with log.open("rb") as stream:
        for line in stream:
            lines += 1
            try:
                record = json.loads(line)
            except ValueError:
                continue
            prompt = record["messages"] or record["proxy_server_request"].get("messages")
            rows.append((*(record.get(name) for name in COLUMNS), json.dumps(prompt)))
            if len(rows) == BATCH:
                writer = _flush(writer, rows, out)
                rows = []
    writer = _flush(writer, rows, out) if rows else writer
    if writer is not None:
        writer.close()
    return lines, None


def _flush(writer: Any, rows: list[tuple[Any, ...]], out: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict(zip((*COLUMNS, "prompt"), map(list, zip(*rows, strict=True)), strict=True))
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
    writer.write_table(table)
    return writer


def _arrow(log: Path, out: Path) -> tuple[int, None]:
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    kinds = {"spend": pa.float64(), "prompt_tokens": pa.int64(), "completion_tokens": pa.int64()}
    names = (*COLUMNS, "messages", "proxy_server_request")
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    parsing = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    lines = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in pj.open_json(log, pj.ReadOptions(use_threads=False, block_size=2**24), parsing):
            writer.write_batch(batch)
            lines += len(batch)
    return lines, None


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exponent(sizes: Sequence[dict[str, Any]]) -> float:
    """Return b of seconds = a * rows ** b, by least squares on logarithms."""
    import numpy as np

    rows = [math.log(size["lines"]) for size in sizes]
    seconds = [math.log(size["full"]["cpu_seconds"]) for size in sizes]
    return round(float(np.polyfit(rows, seconds, 1)[0]), 3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
