"""Pictures of a trial on traffic: its interval over time, its gain by kind of request, and the weights behind it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.experiments import Judged
from pipelines.plots import BAD, CHAMPION, GOOD, GREY, INK, OURS, _figure

Floats = NDArray[np.float64]
Bar = tuple[str, float, float, float, int]
"""Name, value, low, high, requests."""


def interval(judged: Judged, metric: str, margin: float = 0.0) -> Figure:
    """Draw challenger less champion in one metric at every look, with its always-valid interval."""
    figure, axes = _figure(8.4, 3.4, f"Challenger less champion: {metric}, at every look")
    b = judged.intervals[metric].bounds
    shown = np.isfinite(b.low) & np.isfinite(b.high)
    units = judged.units[shown]
    axes.axhline(0, color=INK, lw=1)
    if margin:
        axes.axhline(-margin, color=BAD, lw=1, ls="--")
        axes.annotate(f"margin {margin:g}", (0.01, -margin), xycoords=("axes fraction", "data"), fontsize=8, color=BAD,
                      va="bottom")  # fmt: skip
    axes.fill_between(units, b.low[shown], b.high[shown], color=OURS, alpha=0.18, lw=0)
    axes.plot(units, b.value[shown], color=OURS, lw=1.6, marker=".")
    if len(units):
        # The first looks are so wide that they would flatten all the others.
        half = float(np.median((b.high - b.low)[shown])) * 1.2
        middle = float(b.value[shown][-1])
        axes.set_ylim(min(middle - half, -margin - half / 6, -half / 6), max(middle + half, half / 6))
    axes.set_xlabel("units dealt", color=INK)
    axes.set_ylabel(f"difference in {metric}", color=INK)
    return figure


def segments(bars: Sequence[Bar], what: str = "utility") -> Figure:
    """Draw the difference by kind of request, each bar with its interval."""
    figure, axes = _figure(8.4, 1.4 + 0.42 * len(bars), f"Challenger less champion in {what}, by kind of request")
    axes.axvline(0, color=INK, lw=1)
    for place, (_, value, low, high, n) in enumerate(reversed(bars)):
        colour = GOOD if low > 0 else BAD if high < 0 else GREY
        axes.plot([low, high], [place, place], color=colour, lw=3, solid_capstyle="round")
        axes.plot(value, place, "o", color=colour, ms=7)
        axes.annotate(f"{value:+.3f}, {n:,} requests", (high, place), fontsize=8, color=INK, va="center",
                      xytext=(8, 0), textcoords="offset points")  # fmt: skip
    axes.set_yticks(range(len(bars)), [name for name, *_ in reversed(bars)])
    axes.set_ylim(-0.6, len(bars) - 0.4)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right + 0.4 * (right - left))
    return figure


def weights(values: Floats, what: str) -> Figure:
    """Draw how much each request counts, (n,)."""
    figure, axes = _figure(6.6, 3.0, f"Weights: {what}")
    axes.hist(values, bins=30, color=CHAMPION)
    effective = float(values.sum() ** 2 / max(float(np.square(values).sum()), 1e-12))
    axes.set_xlabel(f"weight; {len(values):,} requests count as {effective:,.0f} of equal weight", color=INK)
    axes.set_ylabel("requests", color=INK)
    return figure


def checks(surprise: Mapping[str, float], limit: float) -> Figure:
    """Draw each check's p-value as its surprise, and the line that an alarm passes."""
    figure, axes = _figure(8.4, 1.4 + 0.42 * len(surprise), "How surprising, if nothing had changed")
    names = list(surprise)
    values = [-np.log10(max(surprise[name], 1e-12)) for name in reversed(names)]
    line = -np.log10(limit)
    axes.barh(range(len(names)), values, color=[BAD if value > line else CHAMPION for value in values], height=0.6)
    axes.axvline(line, color=BAD, lw=1, ls="--")
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_xlabel("one in ten to the power of", color=INK)
    return figure
