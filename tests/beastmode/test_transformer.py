"""The transformer's rung: the same alone and among others, verified like all else, refused where a byte is another."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beastmode import golden
from beastmode.bundle import Bundle
from beastmode.encoding import NEAR, SAME, Encoder
from beastmode.errors import BundleError
from beastmode.folder import MANIFEST, seal
from beastmode.lexical import NAMES
from beastmode.router import Router
from beastmode.transformer import MODEL, SentenceVectors, Transformer
from beastmode.wordpiece import WordPiece
from tests.beastmode.conftest import MakeBundle
from tests.graphs import PIECES, graph

pytest.importorskip("onnx", reason="install the extra 'embeddings'")
pytest.importorskip("onnxruntime", reason="install the extra 'onnx'")

TEXTS = ("what is the list", "prove 2", "", "zzz", "translate the function")


def transformer(seed: int = 1, limit: int = 16, **known: object) -> Transformer:
    return Transformer(WordPiece.of({piece: i for i, piece in enumerate(PIECES)}), graph(seed), limit, **known)  # type: ignore[arg-type]


def encoder(seed: int = 1, limit: int = 16) -> Encoder:
    directions = np.linalg.qr(np.random.default_rng(5).normal(size=(12, 6)))[0].astype(np.float32)
    surface = np.random.default_rng(2).normal(size=(len(NAMES), 2))
    return Encoder(
        np.zeros(len(NAMES)), np.ones(len(NAMES)), surface=surface,
        sentences=SentenceVectors(transformer(seed, limit), directions),
    )  # fmt: skip


@pytest.fixture
def folder(make_bundle: MakeBundle, tmp_path: Path) -> Path:
    make_bundle(encoder=encoder()).write(tmp_path / "b")
    return tmp_path / "b"


def resealed(folder: Path, change: Callable[[dict[str, bytes], dict[str, object]], None]) -> None:
    """Change a folder as an attacker without the pointer's hash would: every checksum agrees again."""
    manifest = json.loads((folder / MANIFEST).read_text())
    files = {name: (folder / name).read_bytes() for name in manifest.pop("files")}
    change(files, manifest)
    for path in folder.iterdir():
        path.unlink()
    for name, data in seal(manifest, files).items():
        (folder / name).write_bytes(data)


def test_vectors_are_of_unit_length_and_the_same_alone() -> None:
    known = transformer()
    together = known.vectors(TEXTS[:2])
    assert together.shape == (2, 12)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-6)
    assert (np.vstack([known.vectors([text]) for text in TEXTS[:2]]) == together).all()
    assert known.embed([]).shape == (0, 12)


def test_an_encoding_is_the_same_alone_and_its_columns_are_named() -> None:
    fitted = encoder()
    rows = fitted.encode(TEXTS)
    assert rows.shape == (5, fitted.width) == (5, len(fitted.names)) == (5, len(fitted.tolerance))
    assert (np.vstack([fitted.encode([text]) for text in TEXTS]) == rows).all()
    assert fitted.names[-1] == "sentence_5"
    assert set(fitted.tolerance[: len(NAMES) + 2]) == {SAME}
    assert set(fitted.tolerance[-6:]) == {NEAR}
    assert (rows[2, len(NAMES) :] == 0).all()
    assert fitted.encode([]).shape == (0, fitted.width)


def test_what_comes_after_the_limit_is_not_read() -> None:
    long, longer = "the " * 6 + "zzz", "the " * 6 + "what is"
    assert (transformer(limit=8).vectors([long]) == transformer(limit=8).vectors([longer])).all()
    assert (transformer(limit=9).vectors([long]) != transformer(limit=9).vectors([longer])).any()


def test_a_bundle_carries_the_graph_and_routes_as_before(folder: Path, make_bundle: MakeBundle) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["encoder"]["kind"] == "onnx"
    assert (folder / MODEL).read_bytes() == graph(1)
    again = Bundle.read(folder)
    assert (again.encoder.encode(TEXTS) == encoder().encode(TEXTS)).all()
    assert Router(again, seed=0).route("what is the list").candidate in {"small", "large", "seer"}


def test_a_memory_answers_in_training_and_stays_there(make_bundle: MakeBundle, tmp_path: Path) -> None:
    asked: list[str] = []
    plain = transformer()

    def memory(texts: object) -> np.ndarray:  # type: ignore[type-arg]
        asked.extend(texts)  # type: ignore[arg-type]
        return plain.embed(texts)  # type: ignore[arg-type]

    whole = encoder()
    sentences = replace(whole.sentences, transformer=transformer(memory=memory))  # type: ignore[type-var]
    made = make_bundle(encoder=replace(whole, sentences=sentences))
    assert (made.encoder.encode(TEXTS) == whole.encode(TEXTS)).all()
    assert asked == list(TEXTS)
    made.write(tmp_path / "b")
    read = Bundle.read(tmp_path / "b").encoder.sentences
    assert read is not None
    assert read.transformer.memory is None
    assert asked == list(TEXTS), "the golden requests are the model's own word"


def test_a_changed_byte_of_the_graph_is_refused(folder: Path) -> None:
    data = bytearray((folder / MODEL).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / MODEL).write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"encoder\.onnx does not match its hash"):
        Bundle.read(folder)


def test_another_graph_is_refused_by_the_golden_requests_though_every_hash_agrees(folder: Path) -> None:
    resealed(folder, lambda files, _: files.update({MODEL: graph(2)}))
    with pytest.raises(BundleError, match=r"golden\.npz: row \d+ differs in 'sentence_\d'"):
        Bundle.read(folder)


def test_a_graph_a_little_off_passes_as_another_processor_would(folder: Path) -> None:
    stored = golden.record(encoder(), Bundle.read(folder).scorer)
    stored["encoding"] = stored["encoding"] + np.float32(0.9) * encoder().tolerance.astype(np.float32)
    golden.check(encoder(), Bundle.read(folder).scorer, stored, 3)
    stored["encoding"][:, -1] += np.float32(0.2 * NEAR)
    with pytest.raises(ValueError, match="differs in 'sentence_5'"):
        golden.check(encoder(), Bundle.read(folder).scorer, stored, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files, m: files.pop(MODEL), "are not those that its manifest speaks of"),
        (lambda files, m: files.update({MODEL: b"no graph"}), "INVALID_PROTOBUF"),
        (lambda files, m: files.update({MODEL: graph(1, inputs=("ids", "heed"))}), "its inputs are heed, ids"),
        (lambda files, m: m["encoder"].update(sentence_limit=2), "sentence_limit = 2"),
        (lambda files, m: m["encoder"].update(sentence_limit="all"), "sentence_limit = 'all'"),
        (lambda files, m: m["encoder"].update(kind="static"), "are not those that its manifest speaks of"),
        (lambda files, m: files.update({MODEL: graph(1, width=11)}), "matmul.*11"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_together_is_refused(folder: Path, change: object, message: str) -> None:
    resealed(folder, change)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=message):
        Bundle.read(folder)


def test_without_onnxruntime_the_error_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BundleError, match=r"onnxruntime is not installed: pip install 'beastmode\[onnx\]'"):
        Bundle.read(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_encodes_as_its_parent(folder: Path) -> None:
    fitted = Bundle.read(folder).encoder
    rows = fitted.encode(TEXTS)
    child = os.fork()
    if child == 0:
        os._exit(0 if (fitted.encode(TEXTS) == rows).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
