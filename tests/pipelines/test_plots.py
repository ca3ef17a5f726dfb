import numpy as np
import pytest

from models.comparison import Comparison
from pipelines import plots
from pipelines.plots import Point

POINTS = [
    Point("large", "candidate", 0.02, 0.8, 0.01),
    Point("small", "candidate", 0.0005, 0.6, 0.01),
    Point("best single", "reference", 0.02, 0.8, 0.01),
    Point("challenger", "ours", 0.004, 0.81, 0.01),
    Point("at 99% quality", "operating", 0.002, 0.79, 0.01),
]


def texts(figure) -> str:
    (axes,) = figure.axes
    found = [text.get_text() for text in axes.texts]
    found += [label.get_text() for label in (*axes.get_yticklabels(), *axes.get_xticklabels())]
    legend = axes.get_legend()
    found += [text.get_text() for text in legend.get_texts()] if legend else []
    return "\n".join(found)


def test_png_is_a_png() -> None:
    assert plots.png(plots.frontier(POINTS)).startswith(b"\x89PNG")


def test_the_frontier_names_every_policy_and_spreads_cheap_and_dear_apart() -> None:
    figure = plots.frontier(POINTS)
    said = texts(figure)
    assert all(point.label in said for point in POINTS if point.kind != "operating")
    assert "large = best single" in said
    assert figure.axes[0].get_xscale() == "log"


def test_a_saving_is_measured_against_the_named_policy() -> None:
    said = texts(plots.savings(POINTS, "best single"))
    assert "80% cheaper, quality 0.810" in said
    assert "90% cheaper" in said


def test_an_interval_that_clears_zero_is_coloured() -> None:
    rows = [
        Comparison("champion", "utility", 0.02, 0.01, 0.03, 0.005, 100, "better"),
        Comparison("champion", "quality", 0.0, -0.01, 0.01, 0.005, 100, "undecided"),
        Comparison("champion", "cost_usd", -0.1, -0.2, -0.05, 0.005, 100, "better"),
    ]
    axes = plots.differences(rows).axes[0]
    colours = {line.get_color() for line in axes.lines}
    assert {plots.GOOD, plots.GREY} <= colours
    assert len(axes.get_yticks()) == 2


def test_calibration_bins_what_was_observed_only() -> None:
    rng = np.random.default_rng(0)
    expected = rng.random(1000)
    observed = (rng.random(1000) < expected).astype(float)
    observed[500:] = np.nan
    axes = plots.calibration(expected, observed).axes[0]
    x, y = axes.lines[1].get_data()
    assert "500 outcomes" in texts(plots.calibration(expected, observed))
    assert np.abs(np.array(x) - np.array(y)).max() < 0.25


@pytest.mark.parametrize("gains", [[], [("log_chars", 3.0), ("term_1", 1.0)]])
def test_importance_shows_shares(gains) -> None:
    axes = plots.importance(gains).axes[0]
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(1.0 if gains else 0.0)


def test_traffic_has_a_bar_for_each_policy_and_candidate() -> None:
    shares = {"challenger": np.array([0.2, 0.8]), "champion": np.array([1.0, 0.0])}
    assert len(plots.traffic(shares, ("a", "b")).axes[0].patches) == 4


def test_nothing_is_kept_in_pyplot() -> None:
    import matplotlib.pyplot as plt

    plots.frontier(POINTS)
    assert plt.get_fignums() == []
