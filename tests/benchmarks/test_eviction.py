"""The eviction benchmark on a small trace: what it chooses, what it compares with, and what it refuses."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import eviction, traces


@pytest.fixture
def trace(tmp_path):
    rng = np.random.default_rng(0)
    keys = np.where(np.arange(4000) % 3 == 0, np.arange(4000) + 100, rng.zipf(1.4, 4000) % 100)
    pq.write_table(pa.table({"seq": np.arange(4000), "key": keys}), tmp_path / "cache_small.parquet")
    return tmp_path


def test_what_serves_is_judged_on_the_future_beside_what_the_past_prefers(trace, capsys):
    out = trace / "out.json"
    assert eviction.main(["--trace", "small", "--data", str(trace), "--share", "0.02", "--json", str(out)]) == 0
    found = json.loads(out.read_text())["cache_small"]
    assert json.loads(capsys.readouterr().out)["cache_small"] == found
    rates = found["hit_rates"]
    assert found["chosen"] == rates["adaptive"]
    assert max(rates.values()) <= found["belady"] <= found["infinite_cache"]
    best = max(rates[name] for name in ("lru", "ghost_lfu", "s3_fifo", "sieve", "gdsf"))
    assert found["regret_points"] == pytest.approx(100 * (best - found["chosen"]), abs=0.02)
    preferred = found["best_of_the_past"]
    rest = {name: rate for name, rate in found["past_hit_rates"].items() if name != "adaptive"}
    assert rest[preferred] == max(rest.values())
    assert found["regret_points_of_the_past"] == pytest.approx(100 * (best - rates[preferred]), abs=0.02)
    assert found["chosen"] > rates["lru"]
    # Keys of this trace come by lot, each at a rate of its own: to know the rates is to know what can be known.
    assert max(rates.values()) < found["true_rates"] + 0.01 < found["belady"]
    assert found["gap_closed"] == pytest.approx(
        (found["chosen"] - rates["lru"]) / (found["belady"] - rates["lru"]), abs=0.01
    )


def test_a_trace_that_is_nowhere_is_refused_with_the_places_that_were_tried(tmp_path, capsys):
    assert eviction.main(["--trace", "nothing", "--data", str(tmp_path)]) == 2
    assert "cache_nothing.parquet" in capsys.readouterr().err


def test_traces_are_read_by_what_columns_they_have(tmp_path):
    table = pa.table({
        "timestamp": pa.array([2_000, 0, 1_000]), "tenant": ["b", "a", "a"], "hash_ids": [[1, 2], [1, 2], [3]],
        "input_length": [1_000_000, 0, 0], "output_length": [0, 0, 500_000],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet")
    known = traces.read(tmp_path / "t.parquet")
    assert known.at.tolist() == [0.0, 1.0, 2.0]
    # The same question of two tenants is two keys.
    assert known.key.tolist() == [0, 1, 2]
    assert known.tenant[known.key].tolist() == [1, 1, 0] or known.tenant[known.key].tolist() == [0, 0, 1]
    assert known.miss_usd.tolist() == pytest.approx([0.0, 2.0, 1.0])
    assert len(traces.read(tmp_path / "t.parquet", 2)) == 2
    pq.write_table(pa.table({"other": [1]}), tmp_path / "no.parquet")
    with pytest.raises(ValueError, match="it has other"):
        traces.read(tmp_path / "no.parquet")
