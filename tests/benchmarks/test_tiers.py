"""The tiers benchmark on small traces: real workers, hostile look-alikes, and a sensible exit status."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import tiers, tiers_hostile
from benchmarks.tiers_sharing import read, sharing


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    keys = [f"k{(number * number) % 40}" for number in range(400)]
    columns = {
        "tenant": [f"t{number % 2}" for number in range(400)], "key": keys, "input_tokens": [1000] * 400,
        "output_tokens": [500] * 400, "answer_version": [number // 200 for number in range(400)],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "trace.parquet")
    return tmp_path / "trace.parquet"


def test_a_trace_is_read_by_its_columns_and_one_without_is_refused(trace: Path, tmp_path: Path) -> None:
    call = read(trace)[3]
    assert (call.tenant, call.key, call.version, call.cost_usd) == ("t1", "k9", "0", pytest.approx(0.003))
    pq.write_table(pa.table({"other": [1]}), tmp_path / "no.parquet")
    with pytest.raises(ValueError, match=r"needs one of answer_class, key, text, hash_ids .*; it has other"):
        read(tmp_path / "no.parquet")


def test_workers_with_a_second_tier_keep_what_memories_alone_lose(trace: Path, tmp_path: Path) -> None:
    found = sharing("trace", read(trace), 3, None, tmp_path, seed=0)
    distinct = len({(call.tenant, call.key) for call in read(trace)})
    assert found["ceiling"] == round((400 - distinct) / 400, 4)
    alone, shared = found["runs"]["memory"], found["runs"]["memory+sqlite"]
    assert alone["hits_kept"] < 0.97
    assert (shared["hits_kept"], shared["upstream_calls_a_key"], shared["wrong"]) == (1.0, 1.0, 0)
    assert shared["saved_usd"] == pytest.approx(0.003 * (400 - distinct), abs=0.01)


def test_no_look_alike_gets_what_is_not_its_own_and_a_leak_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    assert tiers.main(["--parts", "hostile", "--tries", "800"]) == 0
    found = json.loads(capsys.readouterr().out)["hostile"]
    assert found["crossed"] == 0
    assert found["served_in_its_own_partition"] > 50
    real = tiers_hostile._question
    monkeypatch.setattr(tiers_hostile, "_question", lambda asked: real({**asked, "tenant": None, "parameters": {}}))
    assert tiers.main(["--parts", "hostile", "--tries", "800"]) == 1


def test_files_that_are_not_named_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("BEASTMODE_DATA", raising=False)
    assert tiers.main(["--parts", "sharing"]) == 2


def test_a_trace_by_its_lists_has_their_time_order_and_no_request_without_a_key(tmp_path: Path) -> None:
    told = {"timestamp": [2000, 0, 1000], "hash_ids": [[1, 2], None, [3]], "tenant": [None, "a", "b"]}
    pq.write_table(pa.table(told), tmp_path / "t.parquet")
    assert [(call.tenant, call.key) for call in read(tmp_path / "t.parquet")] == [("b", "[3]"), (None, "[1, 2]")]


def test_a_trace_of_which_nothing_comes_back_has_no_hits_to_keep(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": [1, 2, 3]}), tmp_path / "t.parquet")
    found = sharing("t", read(tmp_path / "t.parquet"), 2, None, tmp_path, seed=0)
    assert found["ceiling"] == 0
    assert found["runs"]["memory+sqlite"]["hits_kept"] is None


def test_files_that_cannot_be_used_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    pq.write_table(
        pa.table({"key": pa.array([], pa.string()), "text_a": pa.array([], pa.string())}), tmp_path / "t.parquet"
    )
    for options, why in (
        (["--parts", "sharing", "--trace", "t"], "t.parquet: none of 0 rows has key; give a trace with requests"),
        (["--parts", "lookups", "--questions", "t"], "t.parquet: 0 questions in its columns text_a; lookups are timed"),
        (["--parts", "sharing", "--trace", "nowhere"], "'nowhere': there is no file"),
    ):
        assert tiers.main([*options, "--data", str(tmp_path)]) == 2
        told = capsys.readouterr().err
        assert why in told
        assert told.count("\n") == 1
