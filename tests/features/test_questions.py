"""Pairs become distinct questions with classes and groups."""

import numpy as np
import pytest

from features.questions import components, questions
from features.worlds.questions import pairs


def test_classes_are_what_equal_pairs_join():
    known = questions([
        {"text_a": "a", "text_b": "b", "label": 1},
        {"text_a": "b", "text_b": "c", "label": 1},
        {"text_a": "c", "text_b": "d", "label": 0},
        {"text_a": "e", "text_b": "f", "label": 0},
    ])  # fmt: skip
    assert known.texts == ("a", "b", "c", "d", "e", "f")
    assert known.classes[0] == known.classes[1] == known.classes[2] != known.classes[3]
    assert len(set(known.groups[:4])) == 1
    assert known.groups[4] == known.groups[5] != known.groups[0]


def test_named_classes_win_and_join_groups():
    row = {"text_a": "a", "text_b": "b", "label": 0, "answer_class_a": 7, "answer_class_b": 9}
    known = questions([row, {"text_a": "c", "text_b": "d", "label": 0, "answer_class_a": 7, "answer_class_b": 8}])
    assert known.classes[0] == known.classes[2]
    assert len(set(known.groups)) == 1


def test_splits_keep_groups_and_their_pairs():
    known = questions(pairs(600, 0))
    kept = np.isin(known.groups, known.drawn_groups(0.3, 1))
    assert 0.2 < kept.mean() < 0.45
    part = known.take(kept)
    assert len(part) == kept.sum()
    assert part.pairs.max() < len(part)
    assert len(part.same) == len(part.pairs)
    a, b = part.pairs[0]
    assert part.groups[a] == part.groups[b]
    folds = known.folds(4, 0)
    assert all(len(set(folds[known.groups == group])) == 1 for group in set(known.groups))
    assert len(known.limited(100, 0)) < len(known)
    assert known.limited(10**6, 0) is known


def test_what_is_missing_or_wrong_is_named():
    with pytest.raises(ValueError, match="row 0 lacks text_b"):
        questions([{"text_a": "a", "label": 1}])
    with pytest.raises(ValueError, match="label 2"):
        questions([{"text_a": "a", "text_b": "b", "label": 2}])
    with pytest.raises(ValueError, match="no pair"):
        questions([{"text_a": "", "text_b": None, "label": 1}])
    with pytest.raises(ValueError, match="groups cannot make"):
        questions([{"text_a": "a", "text_b": "b", "label": 1}]).folds(5, 0)


def test_components_of_nothing_are_single():
    assert components(3, []).tolist() == [0, 1, 2]
