"""The surface features say what their names say, in bounded time, for any text."""

import timeit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastmode.lexical import NAMES, WINDOW, lexical, window, words


def features(text: str) -> dict[str, float]:
    return dict(zip(NAMES, lexical(text), strict=True))


def test_names_are_distinct() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_an_absent_prompt_is_all_zero_and_a_blank_one_is_a_text() -> None:
    assert set(lexical("")) == {0.0}
    assert features(" ")["has_text"] == 1


def test_counts_and_shares_of_a_known_prompt() -> None:
    text = "What is 12 + 34?\n(A) 46\n(B) 47\n```py\ndef f(): pass```"
    seen = features(text)
    assert seen["log_chars"] == pytest.approx(np.log1p(len(text)))
    assert seen["log_lines"] == pytest.approx(np.log(5))
    assert seen["log_numbers"] == pytest.approx(np.log1p(4))
    assert seen["log_options"] == pytest.approx(np.log1p(2))
    assert seen["log_questions"] == pytest.approx(np.log(2))
    assert seen["digit_share"] == pytest.approx(8 / len(text))
    assert (seen["question_first"], seen["question_words"], seen["fenced"], seen["code_words"]) == (1, 1, 1, 1)
    assert (seen["ends_with_question"], seen["yes_no_first"], seen["command_first"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("Is it?  ", "ends_with_question", 1),
        ("is it", "yes_no_first", 1),
        ("Write a poem.", "command_first", 1),
        ("Which is NOT so?", "negation_words", 1),
        ("how many and how much per day", "quantity_words", 3),
        ("my car", "person_words", 1),
        ("if so then thus", "reason_words", 3),
        ("naïve 日本", "non_ascii_share", 3 / 8),
        ("ABcd", "upper_share", 0.5),
        ("a a a b", "distinct_word_share", 0.5),
        ("abcdefghij ab", "long_word_share", 0.5),
        ("abcd ab", "word_chars", 3),
        ("a+b=c", "maths_share", 0.4),
        ("{};x", "code_share", 0.75),
        ("(a)", "bracket_share", 2 / 3),
        ("'a'", "quote_share", 2 / 3),
        ("a.b", "stop_share", 1 / 3),
        ("a b", "space_share", 1 / 3),
        ("1 2 3", "log_numbers", np.log(4)),
        ("x", "log_numbers", 0),
    ],
)
def test_each_feature(text: str, name: str, value: float) -> None:
    assert features(text)[name] == pytest.approx(value)


def test_a_long_prompt_is_read_at_both_ends_and_measured_whole() -> None:
    text = "what " + "x" * 1_000_000 + " end?"
    assert len(window(text)) == WINDOW + 1
    seen = features(text)
    assert seen["log_chars"] == pytest.approx(np.log1p(len(text)))
    assert (seen["question_first"], seen["ends_with_question"]) == (1, 1)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_has_finite_features_and_words_may_be_given(text: str) -> None:
    row = lexical(text)
    assert len(row) == len(NAMES)
    assert np.isfinite(row).all()
    assert row == lexical(text, words(window(text)))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(max_codepoint=127), max_size=100))
def test_words_within_ascii_are_those_beyond_it(text: str) -> None:
    assert [*words(text), "é"] == words(text + " é")


def test_a_lone_surrogate_is_no_error() -> None:
    assert features("a\ud800b")["non_ascii_share"] == pytest.approx(1 / 3)


def test_empty_lines_cost_no_more_than_others() -> None:
    """Steps that grow with their square took .3 s, and every request waits for them."""
    took = min(timeit.repeat(lambda: lexical("\n" * 4096), number=1, repeat=3))
    assert took < 0.05


def test_options_are_counted_wherever_their_line_begins() -> None:
    named = features("Which?\n\n \n\t A. one\n\n(B) two\nC) three \n \x0b\nD] four")
    assert named["log_options"] == pytest.approx(np.log1p(4))
