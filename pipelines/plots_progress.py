"""How each measured figure came along, run by run, against its target."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from models.attainment import Measured
from pipelines.plots import CHAMPION, GREY, INK, OURS

TICKS = 4


@dataclass(frozen=True, slots=True)
class Trend:
    """A measure's figures over the runs, the earliest first."""

    name: str
    unit: str
    """`%` for a share, which is drawn in per cent."""
    points: Sequence[tuple[datetime, Measured]]
    target: float | None


def trends(measures: Sequence[Trend]) -> Figure:
    """Draw a small chart for each measure: figures with their intervals, and the target as a dashed line."""
    figure = Figure(figsize=(8.4, 1.9 * ((len(measures) + 1) // 2)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, measure in enumerate(measures, start=1):
        axes = figure.add_subplot((len(measures) + 1) // 2, 2, place)
        axes.set_title(f"{measure.name}, {measure.unit}", loc="left", fontsize=9, color=INK, fontweight="bold")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
        scale = 100.0 if measure.unit == "%" else 1.0
        if not measure.points:
            axes.text(0.5, 0.5, "not known yet", transform=axes.transAxes, ha="center", color=GREY, fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
            continue
        at = [moment for moment, _ in measure.points]
        value, low, high = (
            scale * np.array([getattr(found, name) for _, found in measure.points]) for name in ("value", "low", "high")
        )
        spread = np.where(np.isfinite([value - low, high - value]), [value - low, high - value], 0.0)
        axes.errorbar(at, value, yerr=spread, fmt="o-", color=CHAMPION, lw=1.2, ms=4, elinewidth=1)  # type: ignore[arg-type]
        if measure.target is not None:
            axes.axhline(scale * measure.target, color=OURS, lw=1, ls="--")
        ticks = [at[place] for place in np.unique(np.linspace(0, len(at) - 1, TICKS).round().astype(int))]
        hours = "" if at[-1] - at[0] > timedelta(days=2) else " %H:%M"
        axes.set_xticks(date2num(ticks), [f"{tick:%m-%d{hours}}" for tick in ticks])  # type: ignore[no-untyped-call]
    return figure
