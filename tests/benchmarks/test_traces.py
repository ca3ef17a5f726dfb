"""Traces as the cache benchmarks read them: whatever the columns are made of, the same demand or one clear refusal."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import traces

NOON = 1_700_000_000
SECONDS = np.array([0.25, 3600.5, 3600.5, 90_000.75])
KEYS = ["a", "b", "a", "c"]


@pytest.fixture
def written(tmp_path):
    def write(**columns):
        pq.write_table(pa.table(columns), tmp_path / "t.parquet")
        return tmp_path / "t.parquet"

    return write


def zoned(hours):
    zone = timezone(timedelta(hours=hours))
    return [datetime.fromtimestamp(NOON + second, zone).isoformat() for second in SECONDS]


def counted(a_second):
    return ((NOON + SECONDS) * a_second).astype(np.int64)


@pytest.mark.parametrize(
    "moments",
    [
        pa.array(counted(1e6), pa.timestamp("us")),
        pa.array(counted(1e9), pa.timestamp("ns")),
        pa.array(counted(1e6), pa.timestamp("us", "America/New_York")),
        pa.array(zoned(0)),
        pa.array(zoned(5)),
        pa.array(zoned(-3)).dictionary_encode(),
        counted(1e3),
        counted(1e6),
        counted(1e9),
        NOON + SECONDS,
        pa.array(counted(1e3)).cast(pa.decimal128(22, 3)),
    ],
    ids=str,
)
def test_the_same_moments_are_the_same_whatever_they_are_written_as(written, moments):
    known = traces.read(written(timestamp=moments, key=KEYS))
    assert known.at == pytest.approx(NOON + SECONDS, abs=1e-3)
    assert known.key.tolist() == [0, 1, 0, 2]


def test_numbers_that_are_no_date_count_milliseconds_where_they_are_whole_and_seconds_where_they_are_not(written):
    whole = traces.read(written(timestamp=(SECONDS * 1e3).astype(np.int64), key=KEYS))
    assert whole.at == pytest.approx(SECONDS)
    assert traces.read(written(timestamp=SECONDS, key=KEYS)).at == pytest.approx(SECONDS)
    with pytest.raises(ValueError, match=r"timestamp would span 2\.9 years, read as milliseconds; give moments"):
        traces.read(written(timestamp=(SECONDS * 1e6).astype(np.int64), key=KEYS))


@pytest.mark.parametrize(
    ("moments", "why"),
    [
        (["17.03.2026 09:00"] * 4, "'17.03.2026 09:00', which is no moment; write it in ISO 8601"),
        (["1700000000"] * 4, "'1700000000'; make it a number, or a moment"),
        ([True] * 4, "of the kind bool"),
        ([1.5, float("inf"), 2, 3], "has inf"),
        (pa.nulls(4), "none of 4 rows has key and timestamp"),
    ],
)
def test_what_is_no_time_is_refused_with_the_file_the_column_and_the_remedy(written, moments, why):
    path = written(timestamp=moments, key=KEYS)
    with pytest.raises(ValueError, match=f"{path}: .*timestamp") as refused:
        traces.read(path)
    assert why in str(refused.value)


def test_rows_are_sorted_and_those_without_key_or_time_are_passed_over_and_told_of(written, capsys):
    path = written(timestamp=[3000, None, 1000, 2000, 0], key=["x", "y", None, "x", "z"])
    known = traces.read(path)
    assert (known.at.tolist(), known.key.tolist()) == ([0.0, 2.0, 3.0], [0, 1, 1])
    assert f"{path}: 2 rows without key or timestamp are passed over" in capsys.readouterr().err
    assert traces.read(path, 2).at.tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    "keys",
    [
        [[1, 2], [1], [1, 2], [1, 2, 3]],
        [{"a": 1}, {"a": 2}, {"a": 1}, {"a": 3}],
        [3, 1, 3, 2],
        [0.5, 0.25, 0.5, 1.0],
        [b"a", b"b", b"a", b"c"],
        pa.array(KEYS).dictionary_encode(),
    ],
    ids=str,
)
def test_keys_may_be_of_any_kind(written, keys):
    assert traces.read(written(seq=range(4), key=keys)).key.tolist() == [0, 1, 0, 2]
    assert traces.read(written(seq=range(4), hash_ids=keys)).key.tolist() == [0, 1, 0, 2]


def test_a_key_belongs_to_its_tenant_and_no_tenant_is_one_too(written):
    known = traces.read(written(seq=range(6), key=["a", "a", "a", "b", "b", "b"], tenant=["s", "t", None] * 2))
    assert known.key.tolist() == [0, 1, 2, 3, 4, 5]
    assert known.tenant.tolist() == [0, 1, 2] * 2


def test_calls_cost_by_their_tokens_and_those_of_unknown_tokens_what_others_do(written):
    told = {"seq": range(3), "key": KEYS[1:], "input_length": [1_000_000, None, 3_000_000], "output_length": [0, 5, 0]}
    assert traces.read(written(**told)).miss_usd.tolist() == pytest.approx([1.0, 2.0, 3.0])
    unknown = traces.read(written(seq=range(3), key=KEYS[1:], input_tokens=pa.nulls(3), output_tokens=[1, 1, 1]))
    assert unknown.miss_usd.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"tokens must be numbers; it has input_tokens \(string\)"):
        traces.read(written(seq=[0], key=["a"], input_tokens=["many"], output_tokens=[1]))


def test_what_is_no_trace_is_refused(written, tmp_path):
    with pytest.raises(ValueError, match=r"needs one of key, .*; it has other: rename those that say"):
        traces.read(written(other=[1]))
    with pytest.raises(ValueError, match="seq is of the kind string"):
        traces.read(written(seq=["0"], key=["a"]))
    (tmp_path / "t.parquet").write_text("timestamp,key")
    with pytest.raises(ValueError, match=r"t.parquet: no parquet file that can be read"):
        traces.read(tmp_path / "t.parquet")
    whole = written(seq=range(5000), key=[f"key {i}" for i in range(5000)]).read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[:50] + bytes(9000) + whole[9050:])
    with pytest.raises(ValueError, match=r"t.parquet: no parquet file that can be read"):
        traces.read(tmp_path / "t.parquet")


def test_two_traces_of_one_name_are_refused(written, tmp_path):
    path = written(seq=range(2), key=["a", "a"])
    (tmp_path / "more").mkdir()
    other = tmp_path / "more" / "t.parquet"
    other.write_bytes(path.read_bytes())
    assert list(traces.load([str(path)], None)) == ["t"]
    with pytest.raises(ValueError, match="t was named before; give it a run of its own"):
        traces.load([str(path), str(other)], None)
