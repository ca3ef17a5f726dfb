"""Ingest: every record accounted for, once in the lake, whatever happens on the way."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastmode.candidates import Candidate, Price
from features.costs import prices
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from features.worlds.world import World
from pipelines.ingest import IngestError, IngestSettings, LossReport, SourceSettings, check, ingest
from pipelines.lake import Lake, LakeBusyError
from pipelines.storage import Storage
from tests.pipelines.lakes import content, secretive, write

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
AT = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic(SyntheticSettings(prompts=200), WorldSettings(probe_share=0.2, failures=0.05), 1)


def run(path: Path | str, lake: Path, **known: Any) -> LossReport:
    kept = ("chunk_rows", "wait_seconds", "reread", "store_prompts", "hash_key_env")
    options = {name: known.pop(name) for name in kept if name in known}
    at = known.pop("at", AT)
    source = {name: known.pop(name) for name in ("format", "deployment", "columns", "start") if name in known}
    report = ingest(IngestSettings(sources=(SourceSettings(path=str(path), **source),), **options), lake, at, **known)
    assert report.adds_up, report
    return report


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
    assert (again.read, again.feedback_read, again.unchanged) == (0, 0, 2)
    again = run(tmp_path / "logs" / "*", tmp_path / "lake", at=AT + timedelta(days=1), chunk_rows=33, reread=True)
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
    again = run(path, tmp_path / "lake", reread=True)
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
    frame = Lake(tmp_path / "lake").interactions()
    assert frame["format"].value_counts().to_dict() == {"journal": n, "litellm": n}
    # The gateway's rows stay, for feedback that knows their ids, without a second copy of the prompts.
    assert frame.groupby("format")["messages"].count().to_dict() == {"journal": n, "litellm": 0}
    again = run(tmp_path / "logs" / "*", tmp_path / "lake", reread=True)
    assert (again.written, again.duplicate, again.merged) == (0, 2 * n, 0)
    # Where the gateway's rows are in the lake already both stay, and the join prefers the journal's.
    late = tmp_path / "late"
    assert run(tmp_path / "logs" / "litellm.jsonl", late).written == n
    assert run(tmp_path / "logs" / "journal.jsonl", late).written == n
    assert run(tmp_path / "logs" / "*", late, reread=True).written == 0


def test_prices_of_the_catalogue_are_used(tmp_path: Path) -> None:
    catalogue = [Candidate("fast", model="vendor/fast-1", price=Price(input_per_mtok=1.0, output_per_mtok=1.0))]
    run(DATA / "litellm_spend_logs.jsonl", tmp_path / "lake", prices=prices(catalogue))
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
    assert not (lake / ".staging").exists()


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


def grown(path: Path, lines: list[bytes]) -> None:
    with path.open("ab") as stream:
        stream.write(b"".join(lines))


def test_a_growing_log_is_read_from_where_it_was_left(world: World, tmp_path: Path) -> None:
    whole = write(world, tmp_path / "whole").read_bytes().splitlines(keepends=True)
    path = tmp_path / "litellm.jsonl"
    path.write_bytes(b"".join(whole[:50]) + whole[50][:30])
    first = run(path, tmp_path / "lake")
    assert (first.read, first.written, first.waiting) == (51, 50, 1)
    path.write_bytes(b"".join(whole[:50]))
    grown(path, [*whole[50:60], b"nonsense\n"])
    second = run(path, tmp_path / "lake")
    assert (second.read, second.written, second.quarantined) == (11, 10, 1)
    # The line is counted from the beginning of the file, whatever was read before.
    assert Lake(tmp_path / "lake").quarantine()["line"].tolist() == [61]
    assert run(path, tmp_path / "lake").unchanged == 1
    # Rotation: the old file under a new name, packed, and a new file under the old name.
    (tmp_path / "litellm.jsonl.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.write_bytes(b"".join(whole[60:70]))
    third = run(tmp_path / "litellm*", tmp_path / "lake")
    assert (third.files, third.unchanged, third.read, third.written) == (2, 1, 10, 10)
    # A file that was rewritten below its mark is another file.
    path.write_bytes(b"".join([*whole[60:69], *whole[70:75]]))
    fourth = run(path, tmp_path / "lake")
    assert (fourth.read, fourth.written, fourth.duplicate) == (14, 5, 9)
    # So is the same file when it is read in another way.
    assert run(path, tmp_path / "lake", deployment="other").written == 14


def test_a_broken_line_first_after_the_mark_takes_nothing_along(world: World, tmp_path: Path) -> None:
    whole = write(world, tmp_path / "whole").read_bytes().splitlines(keepends=True)
    path = tmp_path / "litellm.jsonl"
    for broken in (b"garbage, with a comma\n", b"[\n", b"\x80\x04\x95\n"):
        path.write_bytes(b"".join(whole[:3]))
        run(path, tmp_path / "lake")
        grown(path, [broken, *whole[3:5]])
        report = run(path, tmp_path / "lake")
        assert (report.read, report.written, report.quarantined) == (3, 2, 1), broken
        shutil.rmtree(tmp_path / "lake")


def test_calls_of_a_journal_that_overlap_are_read_over_several_readings(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    begin = {"kind": "begin", "v": 1, "at": "2026-03-01T12:00:00Z", "model_requested": "m", "plan": "m"}
    end = {"kind": "end", "v": 1, "status": "success", "latency_ms": 5.0}
    lines = [
        json.dumps(record).encode() + b"\n"
        for number in range(6)
        for record in ({**begin, "decision_id": f"d{number}", "request_id": f"r{number}"},)
    ]
    ends = [json.dumps({**end, "decision_id": f"d{number}"}).encode() + b"\n" for number in range(6)]
    path = tmp_path / "journal.jsonl"
    # d0 begins, d1 begins, d0 ends, d2 begins, d1 ends, ...
    steps = [lines[0], *(part for k in range(1, 6) for part in (lines[k], ends[k - 1])), ends[5]]
    written = 0
    for step in steps:
        grown(path, [step])
        report = run(path, tmp_path / "lake", at=now)
        written += report.written
        assert report.quarantined == 0
    assert written == 6
    assert run(path, tmp_path / "lake", at=now).unchanged == 1


def test_a_table_that_grows_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("timestamp,request_id,model,status\n2026-03-01T00:00:00Z,a,m,200\n")
    more = "2026-03-01T00:00:01Z,b,m,200\n"

    def grow(_: int) -> None:
        with path.open("a") as stream:
            stream.write(more)

    assert run(path, tmp_path / "lake", progress=grow, chunk_rows=1).written == 1
    assert run(path, tmp_path / "lake").written == 1


def test_a_table_that_was_corrected_without_growing_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "feedback.csv"
    rows = "".join(f"r{i:05d},1,2026-03-01T00:00:00Z\n" for i in range(5000))
    path.write_text("request_id,value,at\n" + rows)
    run(path, tmp_path / "lake")
    path.write_text("request_id,value,at\n" + rows.replace("r02500,1", "r02500,0"))
    assert run(path, tmp_path / "lake").feedback_written == 1


def test_what_is_refused_again_on_another_day_is_quarantined_once(world: World, tmp_path: Path) -> None:
    path, _ = hostile(world, tmp_path / "logs")
    run(path, tmp_path / "lake")
    kept = len(Lake(tmp_path / "lake").quarantine())
    run(path, tmp_path / "lake", reread=True, at=AT + timedelta(days=3))
    assert len(Lake(tmp_path / "lake").quarantine()) == kept


def test_a_log_that_breaks_off_in_its_packing_is_said_and_stops_no_other(world: World, tmp_path: Path) -> None:
    path = write(world, tmp_path / "logs")
    packed = gzip.compress(path.read_bytes())
    (tmp_path / "logs" / "a.jsonl.gz").write_bytes(packed[: len(packed) * 3 // 4])
    report = run(tmp_path / "logs" / "*", tmp_path / "lake")
    assert any("a.jsonl.gz cannot be read to its end" in note for note in report.notes)
    assert set(Lake(tmp_path / "lake").interactions()["request_id"]) == {row.request_id for row in world.interactions}


@cache
def sixty() -> World:
    whole = synthetic(SyntheticSettings(prompts=60), WorldSettings(failures=0.1, span_days=0.5), 4)
    return replace(whole, interactions=whole.interactions[:60])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["litellm", "otel"]),
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_a_log_read_in_pieces_leaves_the_lake_of_one_reading(name: str, cuts: list[float], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pieces, once = (in_pieces(Path(folder), name, [*cuts, 1.0], seed), in_pieces(Path(folder), name, [1.0], seed))
    assert pieces == once


def in_pieces(root: Path, name: str, cuts: list[float], seed: int) -> list[str]:
    """Return the rows of a lake that read a log each time it had grown to some share of itself."""
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp(dir=root))
    lines = write(sixty(), folder, name).read_bytes().splitlines(keepends=True)
    lines = [line for line in lines for _ in range(rng.choice((1, 1, 1, 2)))]
    lines.insert(rng.randrange(len(lines)), b"no record at all\n")
    log = b"".join(lines)
    path = folder / "growing.jsonl"
    for step, cut in enumerate(sorted(cuts)):
        path.write_bytes(log[: max(round(cut * len(log)), len(lines[0]))])
        run(path, folder / "lake", at=AT + timedelta(days=step), format=name)
    told = [{k: v for k, v in row.items() if k not in ("quarantined_at", "line")} for row in content(folder / "lake")]
    return sorted(map(str, told))


def test_a_dry_run_tells_all_and_writes_nothing(world: World, tmp_path: Path) -> None:
    path, told = hostile(world, tmp_path / "logs")
    dry = run(path, tmp_path / "lake", dry_run=True)
    assert not (tmp_path / "lake").exists()
    wet = run(path, tmp_path / "lake")
    assert replace(dry, dry_run=False) == wet
    assert (dry.written, dry.duplicate, dry.quarantined) == (told["good"], told["duplicate"], told["bad"])
    assert dry.lines()[0].startswith("dry run: nothing was written")
    assert any(line.startswith("1 file read as litellm, 97% sure: ") for line in dry.lines())


def test_a_lake_and_its_logs_may_lie_in_any_store(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "logs")
    run(tmp_path / "logs" / "*", tmp_path / "lake")
    store = fsspec.filesystem("memory")
    bucket = f"memory://bucket-{tmp_path.name}"
    for path in (tmp_path / "logs").iterdir():
        store.pipe_file(f"{bucket}/logs/{path.name}", path.read_bytes())
    sources = (SourceSettings(path=f"{bucket}/logs/*.jsonl"),)
    report = ingest(IngestSettings(sources=sources, chunk_rows=64), f"{bucket}/lake", AT)
    assert report.adds_up
    assert content(f"{bucket}/lake") == content(tmp_path / "lake")
    assert ingest(IngestSettings(sources=sources), f"{bucket}/lake", AT).unchanged == 2
    assert Storage.of(f"{bucket}/lake").get(".lease") is None
    with pytest.raises(IngestError, match=r"source 'default': nowhere://x/\*: .*install the fsspec package"):
        run("nowhere://x/*", tmp_path / "lake")


def everything(lake: Path) -> bytes:
    """All that a lake holds, unpacked: Parquet compresses what grep would look for."""
    rows = json.dumps(content(lake), default=str, ensure_ascii=False).encode()
    return rows + b"".join(path.read_bytes() for path in lake.rglob("*") if path.is_file())


@pytest.mark.parametrize("mode", ["full", "redacted", "hashed"])
def test_secrets_and_prompts_are_kept_as_the_settings_say(
    world: World, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, canary = secretive(world, tmp_path / "logs")
    monkeypatch.setenv("PROMPT_KEY", "correct horse battery staple")
    report = run(path.parent / "*", tmp_path / "lake", store_prompts=mode, hash_key_env="PROMPT_KEY")
    kept = everything(tmp_path / "lake")
    frame = Lake(tmp_path / "lake").interactions()
    assert (canary.encode() in kept) == (mode == "full")
    assert report.redacted == {"full": 0, "redacted": 4, "hashed": 1}[mode]
    if mode == "redacted":
        assert b"my key is [redacted:" in kept
        assert any(line.startswith("redacted: 4 ") for line in report.lines())
    if mode == "hashed":
        assert frame["messages"].isna().all()
        assert frame["prompt_chars"].notna().any()
        plain = run(path, tmp_path / "plain", store_prompts="hashed")
        assert plain.written == report.written
        assert not set(frame["prompt_sha256"]) & set(Lake(tmp_path / "plain").interactions()["prompt_sha256"])


def test_the_key_of_the_hashes_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    shutil.copy(DATA / "journal.jsonl", tmp_path / "a.jsonl")
    with pytest.raises(IngestError, match="hash_key_env = 'NO_SUCH_KEY': no such variable"):
        run(tmp_path / "a.jsonl", tmp_path / "lake", store_prompts="hashed", hash_key_env="NO_SUCH_KEY")
    assert not (tmp_path / "lake").exists()


def test_a_tracking_server_that_is_down_keeps_no_log_from_the_lake(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import flows
    from pipelines.context import Context
    from pipelines.settings import Paths, Settings
    from pipelines.tracking import TrackingError

    path = write(world, tmp_path / "logs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    sources = IngestSettings(sources=(SourceSettings(path=str(path)),))
    paths = Paths(root=tmp_path / "workspace")
    context = Context.open(Settings(paths=paths, ingest=sources))
    monkeypatch.setattr(flows, "_open", lambda config, overrides: (context, AT))
    monkeypatch.setattr(flows, "step", lambda name, call: call())
    monkeypatch.setattr(flows, "create_markdown_artifact", lambda markdown, key: None)
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9"):
        flows.ingest_flow.fn()
    assert len(context.lake.interactions()) == len(world.interactions)


def test_a_log_whose_fields_were_renamed_ends_a_flow_as_failed(world: World, tmp_path: Path) -> None:
    path = write(world, tmp_path / "logs")
    known = IngestSettings()
    check(run(path, tmp_path / "lake"), known)
    renamed = (
        path.read_text().replace('"startTime"', '"start_time"').replace('"request_id": "', '"request_id": "later-')
    )
    with path.open("a") as stream:
        stream.write(renamed)
    report = run(path, tmp_path / "lake")
    assert (report.written, report.quarantined) == (0, report.read)
    with pytest.raises(IngestError, match=r"new records were refused, .* startTime: every record needs its moment"):
        check(report, known)
    check(report, replace(known, most_refused=1.0))
    check(run(path, tmp_path / "lake"), known)
