"""Pictures of warming and eviction: they draw the numbers that they are given."""

import numpy as np
import pytest

from models.warmers.contest import Played
from pipelines.plots import png
from pipelines.plots_cache import eviction, warming


def played(hits, prefills):
    return Played(np.array([hits]), np.array([100]), np.array([prefills]), 0, 0.0, 0.0)


ROWS = {
    "none": played(40, 0), "ewma@0.1": played(50, 10), "ewma@0.2": played(55, 20), "lightgbm@0.1": played(52, 10),
    "lightgbm@0.2": played(58, 20),
}  # fmt: skip


def test_each_line_begins_at_no_warming_and_goes_through_what_was_spent():
    axes = warming(ROWS, (0.1, 0.2), 0.9, "ewma").axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["lightgbm"].get_xydata().tolist() == [[0, 0.4], [0.1, 0.52], [0.2, 0.58]]
    assert lines["ewma"].get_xydata().tolist() == [[0, 0.4], [0.1, 0.5], [0.2, 0.55]]
    assert lines["ceiling: asked before"].get_ydata()[0] == 0.9
    assert "oracle" not in lines


def test_the_oracle_is_drawn_where_it_was_replayed_and_a_missing_warmer_is_an_error():
    with_oracle = {**ROWS, "oracle@0.1": played(60, 10), "oracle@0.2": played(70, 20)}
    assert "oracle" in {line.get_label() for line in warming(with_oracle, (0.1, 0.2), 0.9, "ewma").axes[0].lines}
    with pytest.raises(KeyError):
        warming(ROWS, (0.1, 0.2), 0.9, "lfu")


def test_evictors_are_ranked_and_the_chosen_one_stands_out():
    figure = eviction({"lru": 0.5, "sieve": 0.6, "gdsf": 0.55}, 0.7, "sieve")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lru", "gdsf", "sieve"]
    colours = [patch.get_facecolor() for patch in axes.patches]
    assert colours[2] != colours[0] == colours[1]
    assert png(figure).startswith(b"\x89PNG")
