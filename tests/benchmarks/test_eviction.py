"""The eviction benchmark on a small trace: what it chooses, what it compares with, and what it refuses."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import eviction


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


def test_what_cannot_be_measured_is_refused_before_it_is_tried(trace, capsys):
    pq.write_table(pa.table({"seq": [0, 1, 2], "key": [1, 1, 1]}), trace / "short.parquet")
    assert eviction.main(["--trace", str(trace / "short.parquet")]) == 2
    assert "short: 3 requests have no past and future; give at least 4" in capsys.readouterr().err
    for option, value in (("--share", "0"), ("--share", "2"), ("--share", "nan"), ("--rows", "-5"), ("--rows", "1.5")):
        with pytest.raises(SystemExit) as left:
            eviction.main(["--trace", "small", "--data", str(trace), option, value])
        assert left.value.code == 2
        assert f"argument {option}: {value!r}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        eviction.main(["--trace", "small", "--data", str(trace), "--json", str(trace / "nowhere" / "out.json")])
    assert "name a file in a folder that exists" in capsys.readouterr().err


@pytest.mark.parametrize("keys", [[7] * 60, list(range(60)), [1, 2, 1, 3]])
def test_one_key_or_none_that_comes_back_is_judged_without_a_gap_of_nothing(tmp_path, keys, capsys):
    pq.write_table(pa.table({"seq": range(len(keys)), "key": keys}), tmp_path / "t.parquet")
    assert eviction.main(["--trace", str(tmp_path / "t.parquet")]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["t"]
    assert found["chosen"] <= found["belady"] <= found["infinite_cache"]
