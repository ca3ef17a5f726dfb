"""The encoding is the same alone and among others, before and after a bundle, on this processor and the next."""

import inspect
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastmode.encoding import GRID, Encoder
from beastmode.lexical import NAMES, lexical
from beastmode.tfidf import Terms, terms
from beastmode.vectors import Vectors, packed
from beastmode.wordpiece import TokenVectors, WordPiece

TEXTS = [text for _, member in inspect.getmembers(str) if (text := inspect.getdoc(member)) is not None]


def encoder(with_terms: bool = True, with_tokens: bool = True, with_surface: bool = True) -> Encoder:
    rng = np.random.default_rng(0)
    raw = np.array([lexical(text) for text in TEXTS])
    deviation = raw.std(axis=0)
    mean, scale = raw.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
    words = {"the": 0, "string": 1, "if": 2, "the string": 3, "return": 4}
    pieces = {"[UNK]": 0, "the": 1, "st": 2, "##ring": 3, ".": 4, "a": 5, "##s": 6, "return": 7}
    known = Terms(words, Vectors.rounded(rng.normal(size=(len(words), 3))))
    cut = TokenVectors(WordPiece.of(pieces), Vectors.rounded(rng.normal(size=(len(pieces), 4))))
    surface = rng.normal(size=(len(NAMES), 2)) if with_surface else None
    return Encoder(mean, scale, known if with_terms else None, cut if with_tokens else None, 0.5, surface, 0.25)


@pytest.mark.parametrize("with_surface", [True, False])
@pytest.mark.parametrize(("with_terms", "with_tokens"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_stored_encoder_gives_every_bit_again(with_terms: bool, with_tokens: bool, with_surface: bool) -> None:
    first = encoder(with_terms, with_tokens, with_surface)
    known, arrays = first.parts()
    again = Encoder.from_parts(known, arrays)
    assert again.names == first.names
    assert again.embedding == first.embedding
    assert (again.encode(TEXTS) == first.encode(TEXTS)).all()
    more_known, more_arrays = again.parts()
    assert more_known == known
    assert {name: a.tobytes() for name, a in more_arrays.items()} == {n: a.tobytes() for n, a in arrays.items()}


def test_a_text_alone_is_encoded_as_among_others() -> None:
    fitted = encoder()
    together = fitted.encode([*TEXTS, ""])
    alone = np.vstack([fitted.encode([text]) for text in [*TEXTS, ""]])
    assert (alone == together).all()


def test_columns_are_named_and_on_the_grid() -> None:
    fitted = encoder()
    rows = fitted.encode(TEXTS)
    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), len(fitted.names))
    assert len(set(fitted.names)) == len(fitted.names)
    assert (rows.astype(np.float64) * GRID % 1 == 0).all()
    assert fitted.encode([]).shape == (0, len(fitted.names))


def test_the_embedding_is_of_unit_length_and_alike_texts_are_near() -> None:
    fitted = encoder(with_surface=False)
    rows = fitted.encode(["the string", "The  STRING", "return if a", "the string a"])[:, fitted.embedding]
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=4 / GRID)
    near = rows @ rows.T
    assert near[0, 1] == pytest.approx(1, abs=4 / GRID)
    assert near[0, 3] > near[0, 2]


def test_the_weight_of_a_part_is_its_share_of_the_embedding() -> None:
    fitted = encoder()
    row = fitted.encode(["the string return a"])[0, fitted.embedding]
    lengths = [float(np.linalg.norm(row[part])) for part in (slice(2), slice(2, 5), slice(5, 9))]
    assert np.linalg.norm(lengths) == pytest.approx(1, abs=4 / GRID)
    assert [length / lengths[2] for length in lengths[:2]] == pytest.approx([0.25, 0.5], abs=8 / GRID)


def test_an_absent_prompt_is_average_but_for_the_flag_that_says_so() -> None:
    fitted = encoder()
    row = fitted.encode([""])[0]
    assert row[NAMES.index("has_text")] == pytest.approx(-1)
    assert np.count_nonzero(row) == 1
    assert np.count_nonzero(fitted.encode(["zz"])[0, : len(NAMES)]) > 1


def test_a_text_of_unknown_words_lies_near_nothing_when_terms_are_all_there_is() -> None:
    fitted = encoder(with_tokens=False, with_surface=False)
    assert not fitted.encode(["zz yy"])[0, fitted.embedding].any()


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_can_be_encoded(text: str) -> None:
    assert np.isfinite(FITTED.encode([text])).all()


FITTED = encoder()


def test_terms_are_words_and_pairs() -> None:
    assert terms([]) == []
    assert terms(["a"]) == ["a"]
    said = ["the", "string", "the", "string"]
    counts = FITTED.terms.counts(said, Counter(said)) if FITTED.terms else {}
    assert counts == {0: 2, 1: 2, 3: 2}


def test_vectors_keep_values_to_half_a_step() -> None:
    values = np.random.default_rng(1).normal(size=(50, 8)) * np.geomspace(1e-6, 1e6, 50)[:, None]
    values[3] = 0
    kept = Vectors.rounded(values)
    step = np.abs(values).max(axis=1, keepdims=True) / 127
    assert (np.abs(kept.table * kept.scale[:, None].astype(float) - values) <= 0.501 * step).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean", np.zeros(3)),
        ("mean", np.full(len(NAMES), np.nan)),
        ("mean", np.zeros(len(NAMES), dtype=np.float32)),
        ("scale", np.zeros(len(NAMES))),
        ("surface", np.zeros((3, 2))),
        ("surface", np.full((len(NAMES), 2), np.inf)),
        ("terms", packed(["only", "two"])),
        ("terms", packed(["a", "a", "b", "c", "d"])),
        ("terms", np.frombuffer(b"\xff\xfe\n\n\n\n", dtype=np.uint8)),
        ("terms", np.zeros(3)),
        ("pieces", packed([f"p{i}" for i in range(8)])),
        ("term_table", np.zeros((5, 3))),
        ("term_table", np.zeros(5, dtype=np.int8)),
        ("term_scale", np.full(5, np.inf, dtype=np.float32)),
        ("token_table", None),
        ("token_scale", np.ones(8)),
    ],
)
def test_damaged_arrays_are_refused(name: str, value: Any) -> None:
    known, arrays = encoder().parts()
    arrays[name] = value
    with pytest.raises(ValueError):
        Encoder.from_parts(known, {key: array for key, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "torch", "unknown kind 'torch'"),
        ("lexical", ["log_chars"], "retrain"),
        ("term_weight", -1, "term_weight"),
        ("surface_weight", "1", "surface_weight"),
        ("term_weight", None, "term_weight"),
        ("term_weight", float("nan"), "term_weight"),
    ],
)
def test_another_encoder_is_refused(key: str, value: Any, message: str) -> None:
    known, arrays = encoder().parts()
    with pytest.raises(ValueError, match=message):
        Encoder.from_parts({**known, key: value}, arrays)
