"""Edits do what their family says."""

import pytest

from beastmode.cache.reading import read
from features.edits import HARMFUL, HARMLESS, edits

TEXTS = (
    "What is the best way to travel from Paris to Rome in 3 days?",
    "How do I not gain weight after the winter?",
    "Should I start a company in India or Canada with 20 people?",
)


@pytest.mark.parametrize("family", [*HARMFUL, *HARMLESS])
def test_every_family_changes_the_text_and_says_what_it_did(family):
    made = [edit for seed in range(20) for edit in edits(TEXTS, [family], seed)]
    assert made
    for edit in made:
        assert edit.edited != edit.text == TEXTS[edit.place]
        assert (edit.family, edit.same) == (family, family in HARMLESS)


def test_number_edits_change_numbers_alone():
    for edit in edits(TEXTS, ["number"], 1):
        assert read(edit.edited).numbers != read(edit.text).numbers
        assert read(edit.edited).negations == read(edit.text).negations


def test_negation_edits_add_or_take_one():
    for edit in edits(TEXTS, ["negation"], 2):
        assert abs(read(edit.edited).negations - read(edit.text).negations) == 1


def test_swaps_keep_the_words():
    for edit in edits(TEXTS, ["swap", "reorder"], 3):
        assert read(edit.edited).bag == read(edit.text).bag


def test_the_same_seed_makes_the_same_edits():
    assert list(edits(TEXTS, HARMFUL, 4)) == list(edits(TEXTS, HARMFUL, 4))


def test_each_limits_the_edits_of_a_text():
    assert len(list(edits(TEXTS, HARMFUL, 5))) == 3
    assert len(list(edits(TEXTS, HARMFUL, 5, each=2))) == 6


def test_an_unknown_family_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"unknown family 'rhyme'.*negation"):
        list(edits(TEXTS, ["rhyme"], 0))
