"""The benchmarks print each row once a rung, of the bundle that was timed, and what the dearer one buys."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.rungs import teachers
from models.encoders import EncoderSettings
from tests.benchmarks.test_selector import frame
from tests.graphs import remember

pytest.importorskip("onnx", reason="install the extra 'embeddings'")
pytest.importorskip("onnxruntime", reason="install the extra 'onnx'")


def test_each_row_is_printed_once_a_rung(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(0, 240).to_parquet(tmp_path / "a.parquet")
    out = tmp_path / "out.json"
    command = ["selector", "--train", str(tmp_path / "a.parquet"), "--folds", "2", "--small", "--encoder", "terms",
               "--rungs", "static", "onnx", "--embeddings", str(remember(tmp_path / "kept")),
               "--json", str(out)]  # fmt: skip
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    found = json.loads(out.read_text())
    static, onnx = found["rungs"]["static"], found["rungs"]["onnx"]
    assert [row["kind"] for row in onnx["encoder"]] == ["onnx", "onnx"]
    assert [row["kind"] for row in static["encoder"]] == ["static", "static"]
    assert min(static["route_p50_ms"], onnx["route_p50_ms"]) > 0
    assert static["bundle_bytes"] > 0
    gain = found["bought"]["onnx - static"]
    assert gain["mean"] == pytest.approx(onnx["value"] - static["value"])
    assert gain["low"] < gain["mean"] < gain["high"]
    assert gain["n"] == static["n_test"]


def test_each_rung_has_its_own_teacher(tmp_path: Path) -> None:
    known = teachers(["static", "onnx"], remember(tmp_path), EncoderSettings(), terms=True)
    assert known["static"] is None
    assert known["onnx"].vectors(["what is"]).dtype == np.float32  # type: ignore[union-attr]
