import contextlib

import numpy as np

from pipelines.teaching import CHUNK, Remembered


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
