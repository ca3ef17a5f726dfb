"""The features of a pair see what turns a question, and little else."""

import re
import time

import numpy as np
import pytest

from beastmode.cache.pairs import FALLING, NAMES, RISING, features
from beastmode.cache.reading import _SIGN, BUCKETS, Rarity, read, stem

EVEN = Rarity.of(np.full(BUCKETS, 3, dtype=np.float32))


def told(a, b, cosine=0.9):
    return dict(zip(NAMES, features(a, b, cosine, EVEN), strict=True))


def test_names_are_the_columns_and_constraints_name_some_of_them():
    row = features("How do I bake bread?", "How to bake bread?", 0.7, EVEN)
    assert len(row) == len(NAMES) == len(set(NAMES))
    assert np.isfinite(row).all()
    assert set(NAMES) > RISING | FALLING
    assert not RISING & FALLING


@pytest.mark.parametrize(
    ("a", "b", "sign"),
    [
        ("How do I enable 2FA?", "How do I disable 2FA?", "opposites"),
        ("Is it possible to sleep well?", "Is it impossible to sleep well?", "opposites"),
        ("Can a woman love a man?", "Can a woman love a woman?", "opposites"),
        ("What to do in 3 days?", "What to do in 4 days?", "numbers_apart"),
        ("What to do in three days?", "What to do in 4 days?", "numbers_apart"),
        ("Should I eat at night?", "Should I not eat at night?", "negations_apart"),
        ("Can I fly?", "Can't I fly?", "negations_apart"),
        ("Is Paris larger than London?", "Is London larger than Paris?", "exchanged"),
        ("Where is the bank in Paris?", "Where is the bank in Berlin?", "names_apart"),
    ],
)
def test_a_change_of_meaning_is_seen(a, b, sign):
    for one, two in ((a, b), (b, a)):
        row = told(one, two)
        assert row[sign] > 0
        assert row["changes"] > 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What's the best way to learn Python?", "what is the best way to learn python"),
        ("How do I study for 1,000 exams?", "How do I study for 1000 exams?"),
        ("How do I stay in three cities?", "How do I stay in 3 cities?"),
        ("How do I improve my memory?", "How do I improve my memroy?"),
        ("How do I buy a phone?", "How can we purchase the smartphone?"),
        ("Which is better, tea or coffee?", "Which is better, coffee or tea?"),
        ("How do I earn money fast online?", "How do I earn money online fast?"),
        ("Don't you like it?", "Do you not like it?"),
    ],
)
def test_what_is_harmless_is_no_change(a, b):
    row = told(a, b)
    assert row["changes"] == 0
    assert row["left_words"] <= 1


def test_an_equal_pair_has_nothing_apart():
    row = told("Where can I park in Rome for 2 hours?", "Where can I park in Rome for 2 hours?", 1.0)
    assert row["word_overlap"] == row["rare_overlap"] == row["soft_overlap"] == row["begins_alike"] == 1
    assert not any(row[name] for name in FALLING)


def test_empty_and_odd_texts_have_features():
    for a, b in (("", ""), ("", "x"), ("?!", "..."), ("\ud800", "é" * 9999), ("a " * 5000, "a b")):
        assert np.isfinite(features(a, b, 0.5, EVEN)).all()


def test_a_rare_word_weighs_more_than_a_frequent_one():
    table = np.full(BUCKETS, 8, dtype=np.float32)
    rare = Rarity.of(table)
    from beastmode.cache.reading import bucket

    table[bucket("help")] = 0.1
    frequent = dict(zip(NAMES, features("Need help pasta", "Need pasta", 0.9, rare), strict=True))
    seldom = dict(zip(NAMES, features("Need truffle pasta", "Need pasta", 0.9, rare), strict=True))
    assert frequent["rare_overlap"] > seldom["rare_overlap"]
    assert frequent["left_rarest"] < seldom["left_rarest"]


def test_a_table_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="rarity"):
        Rarity.of(np.zeros(7, dtype=np.float32))


def test_reading_writes_contractions_out_and_remembers():
    assert read("Why can't I?").negations == 1
    assert read("Where's Anna's house").words == ("where", "is", "anna", "house")
    assert read("same text") is read("same text")
    assert (stem("cities"), stem("running"), stem("pass")) == ("city", "run", "pass")


def test_a_long_run_of_digits_is_read_once_and_signs_are_what_they_were():
    def seconds(pattern):
        began = time.perf_counter()
        pattern.findall("1" * 2_000)
        return time.perf_counter() - began

    # The same, begun at every digit, goes over the run 2,000 times.
    everywhere = re.compile(_SIGN.pattern.replace(r"(?<!\d)", ""))
    assert min(seconds(_SIGN) for _ in range(5)) < seconds(everywhere) / 20
    for text in ("1.5 and 2,50", "1,234 or 12,3.4", "1.2,34", "v1.2.3-4", "\u0663.\u0665"):
        assert _SIGN.findall(text) == everywhere.findall(text)
