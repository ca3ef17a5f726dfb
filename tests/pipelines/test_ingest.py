"""Ingest: every record accounted for, once in the lake, whatever happens on the way."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from beastmode.candidates import Candidate, Price
from features.formats import FORMATS, feedback
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from features.worlds.world import World
from pipelines.ingest import IngestError, IngestSettings, LossReport, SourceSettings, ingest
from pipelines.lake import SCHEMAS, Lake, LakeBusyError

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
AT = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic(SyntheticSettings(prompts=200), WorldSettings(probe_share=0.2, failures=0.05), 1)


def write(world: World, folder: Path, name: str = "litellm") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    with path.open("wb") as stream:
        writer = FORMATS[name].write
        assert writer is not None
        writer(stream, world.interactions)
    with (folder / "feedback.jsonl").open("wb") as stream:
        feedback.write(stream, world.feedback)
    return path


def run(path: Path | str, lake: Path, **known: Any) -> LossReport:
    settings = {name: known.pop(name) for name in ("chunk_rows", "wait_seconds") if name in known}
    at = known.pop("at", AT)
    source = {name: known.pop(name) for name in ("format", "deployment", "columns") if name in known}
    report = ingest(IngestSettings(sources=(SourceSettings(path=str(path), **source),), **settings), lake, at, **known)
    assert report.adds_up, report
    return report


def content(root: Path) -> list[dict[str, Any]]:
    """Everything that a lake holds, in an order of its own."""
    lake = Lake(root)
    told = [row for table in SCHEMAS for row in lake.read(table, lake.days(table)).to_pylist()]
    return sorted(told, key=lambda row: json.dumps(row, sort_keys=True, default=str))


def test_a_log_becomes_rows_and_a_report_that_adds_up(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "logs")
    counted: list[int] = []
    report = run(tmp_path / "logs" / "*.jsonl", tmp_path / "lake", progress=counted.append, chunk_rows=70)
    assert (report.files, report.read, report.written) == (2, len(world.interactions), len(world.interactions))
    assert report.feedback_read == report.feedback_written == len(world.feedback) == sum(counted) - report.read
    assert report.failures == report.unpriced == sum(row.status == "failure" for row in world.interactions)
    frame = Lake(tmp_path / "lake").interactions()
    assert set(frame["request_id"]) == {row.request_id for row in world.interactions}
    assert len(Lake(tmp_path / "lake").feedback()) == len(world.feedback)
    assert any("= 0 duplicate" in line or "+ 0 duplicate" in line for line in report.lines())


def test_reading_again_changes_nothing(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "logs")
    first = run(tmp_path / "logs" / "*", tmp_path / "lake")
    before = content(tmp_path / "lake")
    again = run(tmp_path / "logs" / "*", tmp_path / "lake", at=AT + timedelta(days=1), chunk_rows=33)
    assert (again.written, again.duplicate) == (0, first.written)
    assert (again.feedback_written, again.feedback_duplicate) == (0, first.feedback_written)
    assert content(tmp_path / "lake") == before


def test_copied_and_rotated_files_double_nothing(world: World, tmp_path: Path) -> None:
    path = write(world, tmp_path / "logs")
    lines = path.read_bytes().splitlines(keepends=True)
    (tmp_path / "logs" / "litellm.jsonl.1").write_bytes(b"".join(lines[:100]))
    (tmp_path / "logs" / "copy").mkdir()
    shutil.copy(path, tmp_path / "logs" / "copy" / "other-name.jsonl")
    report = run(tmp_path / "logs" / "**" / "*litellm*", tmp_path / "lake")
    assert (report.files, report.written, report.duplicate) == (2, len(lines), 100)
    assert run(tmp_path / "logs" / "copy" / "*", tmp_path / "lake").written == 0
    # The same log of another deployment is another log.
    assert run(path, tmp_path / "lake", deployment="other").written == len(lines)


def hostile(world: World, folder: Path) -> tuple[Path, dict[str, int]]:
    """A LiteLLM log with everything in it that goes wrong, and how often."""
    path = write(world, folder)
    rng = random.Random(5)
    lines = path.read_bytes().splitlines(keepends=True)
    out: list[bytes] = []
    told = {"good": 0, "bad": 0, "duplicate": 0}
    for line in lines:
        kind = rng.random()
        values = json.loads(line)
        if kind < 0.05:
            values["prompt_tokens"] = -7
        elif kind < 0.1:
            values["endTime"] = "2001-01-01T00:00:00Z"
        elif kind < 0.15:
            values["startTime"], values["endTime"] = "2031-01-01T00:00:00Z", "2031-01-01T00:00:01Z"
        if kind < 0.15:
            out.append(json.dumps(values).encode() + b"\n")
            told["bad"] += 1
        elif kind < 0.2:
            out.append(line[: len(line) // 2] + b"\n")
            told["bad"] += 1
        elif kind < 0.22:
            out.append(b"\xff\xfe\x00 nonsense\n\n  \n")
            told["bad"] += 1
        else:
            out.append(line)
            told["good"] += 1
            if kind < 0.3:
                out.append(line)
                told["duplicate"] += 1
    out.append(lines[0][:-10])
    path.write_bytes(b"".join(out))
    return path, told


def test_a_hostile_log_is_accounted_for_to_the_last_line(world: World, tmp_path: Path) -> None:
    path, told = hostile(world, tmp_path / "logs")
    report = run(path, tmp_path / "lake", chunk_rows=17)
    assert (report.written, report.duplicate) == (told["good"], told["duplicate"])
    assert (report.quarantined, report.waiting) == (told["bad"], 1)
    quarantine = Lake(tmp_path / "lake").quarantine()
    # Lines of pure nonsense are the same line.
    assert told["bad"] - 20 < len(quarantine) <= told["bad"]
    assert quarantine["reason"].str.contains("prompt_tokens = -7").any()
    assert quarantine["reason"].str.contains("lies before startTime").any()
    assert quarantine["reason"].str.contains("lies after the reading").any()
    assert any(line.startswith("refused ") for line in report.lines())
    assert any("is torn" in note for note in report.notes)
    again = run(path, tmp_path / "lake")
    assert (again.written, again.quarantined) == (0, told["bad"])
    assert len(Lake(tmp_path / "lake").quarantine()) == len(quarantine)


def test_a_torn_last_line_is_read_by_the_run_after_it_was_finished(world: World, tmp_path: Path) -> None:
    path = write(world, tmp_path / "logs")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    first = run(path, tmp_path / "lake")
    assert (first.written, first.waiting, first.quarantined) == (len(world.interactions) - 1, 1, 0)
    path.write_bytes(whole)
    assert run(path, tmp_path / "lake").written == 1


def test_an_empty_log_is_a_clear_error_and_an_empty_file_among_others_a_note(world: World, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(IngestError, match=r"nothing to read: .*empty.jsonl hold no record; check that the application"):
        run(tmp_path / "empty.jsonl", tmp_path / "lake")
    shutil.copy(DATA / "journal.jsonl", tmp_path / "full.jsonl")
    report = run(tmp_path / "*.jsonl", tmp_path / "lake")
    assert report.written == 3
    assert any("empty.jsonl is empty" in note for note in report.notes)


def test_what_cannot_be_ingested_is_said_before_anything_is_written(tmp_path: Path) -> None:
    shutil.copy(DATA / "litellm_spend_logs.jsonl", tmp_path / "a.jsonl")
    (tmp_path / "b.bin").write_bytes(b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00")
    cases = [
        (tmp_path / "none*.jsonl", "auto", r"source 'default': no file matches .*none\*.jsonl'; check the path"),
        (
            tmp_path / "a.jsonl",
            "journal",
            r"a.jsonl: this is no journal log: it looks like litellm .*format = 'litellm'",
        ),
        (tmp_path / "a.jsonl", "litelm", r"unknown format 'litelm'; known: journal, litellm"),
        (tmp_path / "b.bin", "auto", r"b.bin: .*of no known format"),
        (tmp_path / "b.bin", "table", r"b.bin: .*of no known format"),
    ]
    for path, name, said in cases:
        with pytest.raises(IngestError, match=said):
            run(path, tmp_path / "lake", format=name)
    with pytest.raises(IngestError, match="no sources; name at least one"):
        ingest(IngestSettings(), tmp_path / "lake", AT)
    with pytest.raises(IngestError, match="has no time zone"):
        run(tmp_path / "a.jsonl", tmp_path / "lake", at=datetime(2026, 6, 1))  # noqa: DTZ001
    assert not (tmp_path / "lake" / "interactions").exists()


def test_the_journal_wins_over_the_gateway_whichever_comes_first(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "logs", "litellm")
    write(world, tmp_path / "logs", "journal")
    n = len(world.interactions)
    report = run(tmp_path / "logs" / "*", tmp_path / "lake")
    assert (report.read, report.written, report.merged) == (2 * n, n, n)
    assert set(Lake(tmp_path / "lake").interactions()["format"]) == {"journal"}
    again = run(tmp_path / "logs" / "*", tmp_path / "lake")
    assert (again.written, again.duplicate, again.merged) == (0, n, n)
    # Where the gateway's rows are in the lake already both stay, and the join prefers the journal's.
    late = tmp_path / "late"
    assert run(tmp_path / "logs" / "litellm.jsonl", late).written == n
    assert run(tmp_path / "logs" / "journal.jsonl", late).written == n
    assert run(tmp_path / "logs" / "*", late).written == 0


def test_prices_of_the_catalogue_are_used(tmp_path: Path) -> None:
    catalogue = [Candidate("fast", model="vendor/fast-1", price=Price(input_per_mtok=1.0, output_per_mtok=1.0))]
    run(DATA / "litellm_spend_logs.jsonl", tmp_path / "lake", candidates=catalogue)
    frame = Lake(tmp_path / "lake").interactions().set_index("request_id")
    assert frame.loc["r9", "cost_usd"] == pytest.approx(16113e-6)
    assert frame.loc["r9", "cost_logged_usd"] == 0.000847
    assert frame.loc["r9", "cost_source"] == "catalogue"
    assert pd.isna(frame.loc["b35b9d2e", "cost_usd"])


def test_notes_of_the_readers_reach_the_report(tmp_path: Path) -> None:
    report = run(DATA / "table.jsonl", tmp_path / "lake")
    assert any("unit of 'elapsed' is guessed to be s" in note for note in report.notes)
    assert (report.without_propensity, report.without_prompt) == (2, 0)
    report = run(DATA / "table.csv", tmp_path / "lake", columns={"latency_s": "latency_ms"})
    assert report.feedback_written == 2
    assert Lake(tmp_path / "lake").interactions()["latency_ms"].max() == 60_000_000


INGEST = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from pipelines.ingest import IngestSettings, SourceSettings, ingest
settings = IngestSettings(sources=(SourceSettings(path=sys.argv[1]),), chunk_rows=25, wait_seconds=120)
print("start", flush=True)
report = ingest(settings, Path(sys.argv[2]), datetime(2026, 6, 1, tzinfo=UTC), progress=lambda n: print(n, flush=True))
print("written", report.written, flush=True)
"""


def start(path: Path, lake: Path) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", INGEST, str(path), str(lake)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def test_a_kill_in_the_middle_loses_and_doubles_nothing(world: World, tmp_path: Path) -> None:
    hostile(world, tmp_path / "logs")
    run(tmp_path / "logs" / "*", tmp_path / "undisturbed")
    expected = content(tmp_path / "undisturbed")
    rng = random.Random(3)
    lake = tmp_path / "lake"
    for _ in range(5):
        process = start(tmp_path / "logs" / "*", lake)
        assert process.stdout is not None
        for _ in range(rng.randint(2, 30)):
            process.stdout.readline()
        time.sleep(rng.random() * 0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        held = Lake(lake).interactions()
        # What a reader sees between the kill and the next run is true, if not complete.
        assert held["event_id"].is_unique
    assert 0 < len(held) < len(Lake(tmp_path / "undisturbed").interactions())
    report = run(tmp_path / "logs" / "*", lake)
    assert report.written > 0
    assert content(lake) == expected
    assert not list((lake / ".staging").iterdir())


def test_two_ingests_at_once_write_every_row_once(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "logs")
    both = [start(tmp_path / "logs" / "*", tmp_path / "lake") for _ in range(2)]
    told = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(int(words[-1]) for words in told) == [0, len(world.interactions)]
    assert len(Lake(tmp_path / "lake").interactions()) == len(world.interactions)


def test_an_ingest_that_may_not_wait_says_who_writes(world: World, tmp_path: Path) -> None:
    path = write(world, tmp_path / "logs")
    busy = pytest.raises(LakeBusyError, match=rf"process {os.getpid()} still writes")
    with Lake(tmp_path / "lake").writing(), busy:
        run(path, tmp_path / "lake", wait_seconds=0.1)
