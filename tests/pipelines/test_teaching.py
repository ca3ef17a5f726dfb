import contextlib

import numpy as np
import pytest

from pipelines.teaching import CHUNK, Remembered, exported, graph_file
from tests.graphs import graph, remember


class Counting:
    """A teacher of three numbers a text, which says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts):
        self.asked += texts
        return np.array([[len(text), text.count("a"), 1] for text in texts], dtype=np.float32)

    def vocabulary(self) -> list[str]:
        self.asked.append("vocabulary")
        return ["[PAD]", "##ing"]

    def piece_vectors(self):
        return np.eye(2, dtype=np.float32)


def test_a_text_is_embedded_once_whatever_the_order(tmp_path) -> None:
    teacher = Counting()
    first = Remembered("a/teacher", tmp_path, lambda: teacher)
    assert first.embed(["ab", "b", "ab"]).tolist() == [[2, 1, 1], [1, 0, 1], [2, 1, 1]]
    again = Remembered("a/teacher", tmp_path, lambda: teacher)
    assert again.embed(["c", "ab"]).tolist() == [[1, 0, 1], [2, 1, 1]]
    assert teacher.asked == ["ab", "b", "c"]


def test_what_is_remembered_needs_no_model(tmp_path) -> None:
    Remembered("t", tmp_path, Counting).vocabulary()

    def never():
        raise AssertionError("loaded without need")

    assert Remembered("t", tmp_path, never).vocabulary() == ["[PAD]", "##ing"]
    Remembered("t", tmp_path, Counting).piece_vectors()
    assert Remembered("t", tmp_path, never).piece_vectors().tolist() == [[1, 0], [0, 1]]


def test_an_interruption_keeps_what_was_done(tmp_path) -> None:
    teacher = Counting()

    class Dies(Counting):
        def embed(self, texts):
            if len(self.asked) >= CHUNK:
                raise KeyboardInterrupt
            return super().embed(texts)

    dies = Dies()
    texts = [f"text {i}" for i in range(CHUNK + 10)]
    with contextlib.suppress(KeyboardInterrupt):
        Remembered("t", tmp_path, lambda: dies).embed(texts)
    assert len(Remembered("t", tmp_path, lambda: teacher).embed(texts)) == CHUNK + 10
    assert len(teacher.asked) == 10


def test_no_text_gives_no_rows(tmp_path) -> None:
    assert Remembered("t", tmp_path, Counting).embed([]).shape == (0, 0)


def test_the_memory_holds_no_prompt(tmp_path) -> None:
    Remembered("t", tmp_path, Counting).embed(["a secret canary 7731"])
    assert all(b"canary" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_graph_exported_before_is_taken_as_it_is_and_its_words_are_remembered(tmp_path) -> None:
    pytest.importorskip("onnx", reason="install the extra 'embeddings'")
    pytest.importorskip("onnxruntime", reason="install the extra 'onnx'")
    known = exported(remember(tmp_path, seed=1), 16)
    texts = ["what is the list", "prove 2"]
    first = known.vectors(texts)
    assert (first == known.embed(texts)).all()
    again = exported(tmp_path, 16)
    assert (again.vectors(texts) == first).all()
    assert again._session == [], "what is remembered needs no onnxruntime"
    assert exported(tmp_path, 12).vectors(["a b c d e f g h i j k l m n o"]).shape == (1, 12)
    assert len(list(tmp_path.glob("*.db"))) == 2, "another limit is another memory"
    graph_file(tmp_path).write_bytes(graph(2))
    assert (exported(tmp_path, 16).vectors(texts) != first).any(), "and so is another graph"
