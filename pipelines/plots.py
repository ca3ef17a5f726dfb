"""Pictures that explain a run: what it gains and where, whether its predictions hold, what it looks at."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from models.comparison import Comparison
from pipelines.wording import TOLD

Floats = NDArray[np.float64]

INK, GREY, OURS, CHAMPION, GOOD, BAD = "#1f2430", "#9aa3b2", "#d1495b", "#2e6f95", "#3a7d44", "#b23a48"
MARKS = {"candidate": ("o", GREY, 34), "reference": ("D", CHAMPION, 52), "ours": ("*", OURS, 190)}


@dataclass(frozen=True, slots=True)
class Point:
    """A policy's place in the plane of cost and quality."""

    label: str
    kind: str
    """candidate, reference, ours, or operating (ours at another exchange rate)."""
    cost_usd: float
    """Per request."""
    quality: float
    quality_se: float = 0.0


def _figure(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: nothing global is kept, and threads may draw
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def frontier(points: Sequence[Point]) -> Figure:
    """Draw quality against cost: every candidate, the references, ours, and ours at its operating points."""
    figure, axes = _figure(8.4, 4.9, "Cost and quality: up and to the left is better")
    operating = sorted((p for p in points if p.kind == "operating"), key=lambda p: p.cost_usd)
    if operating:
        line = [*operating, *(p for p in points if p.kind == "ours")]
        line.sort(key=lambda p: p.cost_usd)
        axes.plot([1000 * p.cost_usd for p in line], [p.quality for p in line], color=OURS, lw=1.2, alpha=0.6,
                  marker=".", zorder=2, label="this router at other operating points")  # fmt: skip
    for kind, name in (("candidate", "one candidate for all"), ("reference", "reference"), ("ours", "this router")):
        chosen = [p for p in points if p.kind == kind]
        if not chosen:
            continue
        mark, colour, size = MARKS[kind]
        x = [1000 * p.cost_usd for p in chosen]
        axes.errorbar(x, [p.quality for p in chosen], yerr=[1.96 * p.quality_se for p in chosen], fmt="none",
                      ecolor=colour, elinewidth=1, alpha=0.55, zorder=2)  # fmt: skip
        axes.scatter(x, [p.quality for p in chosen], marker=mark, s=size, c=colour, label=name, zorder=3)
    costs = [p.cost_usd for p in points if p.cost_usd > 0]
    if costs and max(costs) > 20 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.1)
    _label(axes, [p for p in points if p.kind != "operating"])
    axes.set_xlabel("US dollars per 1,000 requests", color=INK)
    axes.set_ylabel("quality", color=INK)
    # Below the axes: inside, it hides a candidate sooner or later.
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4)
    return figure


def _label(axes: Axes, points: Sequence[Point]) -> None:
    """Write names beside points: one label for points that lie on each other, none over another."""
    axes.autoscale_view()
    if not points:
        return
    places: Floats = axes.transData.transform([(1000 * p.cost_usd, p.quality) for p in points])
    groups: list[list[int]] = []
    for number, place in enumerate(places):
        home = next((g for g in groups if np.hypot(*(place - places[g[0]])) < 9), None)
        if home is None:
            groups.append([number])
        else:
            home.append(number)
    taken: list[tuple[float, float]] = []
    for group in sorted(groups, key=lambda g: -places[g[0]][1]):
        x, y = places[group[0]]
        height = y + 6
        while any(abs(height - other) < 13 and abs(x - at) < 150 for at, other in taken):
            height -= 13
        taken.append((x, height))
        name = " = ".join(points[number].label for number in group)
        right = x > axes.bbox.x0 + 0.72 * axes.bbox.width
        axes.annotate(name, (1000 * points[group[0]].cost_usd, points[group[0]].quality), fontsize=8, color=INK,
                      ha="right" if right else "left", va="center", xytext=(-10 if right else 10, height - y),
                      textcoords="offset pixels")  # fmt: skip


def differences(comparisons: Sequence[Comparison]) -> Figure:
    """Draw the paired differences in utility and quality with their intervals: right of zero is better."""
    rows = [c for c in comparisons if c.metric != "cost_usd"]
    figure, axes = _figure(8.4, 1.2 + 0.42 * len(rows), "This router less each reference, on the same requests")
    axes.axvline(0, color=INK, lw=1)
    for place, row in enumerate(reversed(rows)):
        colour = GOOD if row.low > 0 else BAD if row.high < 0 else GREY
        axes.plot([row.low, row.high], [place, place], color=colour, lw=3, solid_capstyle="round")
        axes.plot(row.difference, place, "o", color=colour, ms=7)
        word = TOLD.get(row.verdict, row.verdict)
        axes.annotate(f"{row.difference:+.4f}  {word}", (row.high, place), fontsize=8, color=INK, va="center",
                      xytext=(8, 0), textcoords="offset points")  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{row.metric} vs {row.reference}" for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.45 * (high - low))
    axes.set_xlabel("difference, with its interval", color=INK)
    return figure


def calibration(expected: Floats, observed: Floats, bins: int = 10) -> Figure:
    """Draw observed quality against expected quality in bins of equally many observations."""
    figure, axes = _figure(5.2, 4.6, "Expected and observed quality, held-out requests")
    known = ~np.isnan(observed) & ~np.isnan(expected)
    expected, observed = expected[known], observed[known]
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="exact")
    if len(expected):
        order = np.argsort(expected, kind="stable")
        parts = [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
        x = [float(expected[part].mean()) for part in parts]
        y = [float(observed[part].mean()) for part in parts]
        se = [float(observed[part].std() / np.sqrt(len(part))) for part in parts]
        axes.errorbar(x, y, yerr=[1.96 * value for value in se], fmt="o-", color=OURS, lw=1.4, ms=5,
                      label=f"this router, {len(expected):,} outcomes")  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("expected quality", color=INK)
    axes.set_ylabel("observed quality", color=INK)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def savings(points: Sequence[Point], against: str) -> Figure:
    """Draw what 1,000 requests cost under each policy, and what that saves against one of them."""
    reference = next((p for p in points if p.label == against), None)
    shown = [p for p in points if p.kind in ("reference", "ours", "operating")]
    figure, axes = _figure(8.4, 1.2 + 0.42 * len(shown), f"What 1,000 requests cost, and the saving against {against}")
    for place, point in enumerate(reversed(shown)):
        colour = {"reference": CHAMPION, "ours": OURS}.get(point.kind, GREY)
        axes.barh(place, 1000 * point.cost_usd, color=colour, height=0.62)
        note = f"quality {point.quality:.3f}"
        if reference and reference.cost_usd > 0 and point is not reference:
            saved = 1 - point.cost_usd / reference.cost_usd
            note = f"{_saved(saved)}, {note}"
        axes.annotate(note, (1000 * point.cost_usd, place), fontsize=8, color=INK, va="center",
                      xytext=(6, 0), textcoords="offset points")  # fmt: skip
    names = [f"this router {p.label}" if p.kind == "operating" else p.label for p in reversed(shown)]
    axes.set_yticks(range(len(shown)), names)
    axes.set_xlim(0, 1.45 * max((1000 * p.cost_usd for p in shown), default=1) or 1)
    axes.set_xlabel("US dollars per 1,000 requests", color=INK)
    return figure


def _saved(share: float) -> str:
    if abs(share) < 0.005:
        return "as dear"
    return f"{abs(share):.0%} {'cheaper' if share > 0 else 'dearer'}"


def importance(gains: Sequence[tuple[str, float]], most: int = 15) -> Figure:
    """Draw the features by their share of the gain of all splits."""
    total = sum(gain for _, gain in gains) or 1.0
    shown = sorted(gains, key=lambda item: -item[1])[:most]
    figure, axes = _figure(6.6, 1.2 + 0.26 * max(len(shown), 3), "What the trees look at: share of the gain")
    axes.barh(range(len(shown)), [gain / total for _, gain in reversed(shown)], color=CHAMPION, height=0.7)
    axes.set_yticks(range(len(shown)), [name for name, _ in reversed(shown)])
    axes.xaxis.set_major_formatter("{x:.0%}")
    return figure


def traffic(shares: Mapping[str, Floats], candidates: Sequence[str]) -> Figure:
    """Draw the share of requests that each candidate receives under each policy; `shares` are (m,) by policy."""
    figure, axes = _figure(8.4, 1.4 + 0.36 * len(candidates), "Who answers: share of the held-out requests")
    height = 0.8 / max(len(shares), 1)
    colours = (OURS, CHAMPION, GREY, INK)
    for number, (policy, share) in enumerate(shares.items()):
        places = np.arange(len(candidates))[::-1] + 0.4 - height * (number + 0.5)
        axes.barh(places, share, height=height, color=colours[number % len(colours)], label=policy)
    axes.set_yticks(range(len(candidates)), list(reversed(candidates)))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def daily_spend(
    days: Sequence[str], usd: Floats, ahead: Sequence[str], middle: Floats, low: Floats, high: Floats
) -> Figure:
    """Draw what each day cost, (n,) US dollars, and the forecast of the days after, (h,) with its interval."""
    figure, axes = _figure(8.4, 3.4, "What a day costs, and what the next ones may")
    axes.bar(range(len(days)), usd, color=CHAMPION, width=0.8)
    places = np.arange(len(days), len(days) + len(ahead))
    axes.fill_between(places, low, high, color=OURS, alpha=0.2, lw=0)
    axes.plot(places, middle, color=OURS, lw=1.4)
    names = [*days, *ahead]
    ticks = range(0, len(names), max(1, len(names) // 8))
    axes.set_xticks(list(ticks), [names[place] for place in ticks])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("US dollars", color=INK)
    return figure
