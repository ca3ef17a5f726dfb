"""The report of a day of traffic: what happened, in what order, and how well requests were answered meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipelines.context import Context
from pipelines.plots import BAD, CHAMPION, GOOD, GREY, INK, OURS, _figure
from pipelines.report import Section, tell

COLOURS = (CHAMPION, OURS, GREY, GOOD, "#8a6412", "#6c5b9e")


WORLD = ("a bug", "an outage")
"""What happens to the router, beside what it does."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, after so many requests."""

    after: int
    what: str
    said: str


@dataclass(frozen=True, slots=True)
class Served:
    """A request as it was answered."""

    candidate: str
    arm: str
    quality: float
    cost_usd: float
    failed: bool


def write(context: Context, events: Sequence[Event], served: Sequence[Served], batch: int) -> Path:
    """Write the report of a day below the workspace's reports, and return its path."""
    figures = {"day": quality(events, served, batch), "day/candidates": candidates(served, batch)}
    failed = sum(one.failed for one in served)
    usd = 1000 * float(np.mean([one.cost_usd for one in served]))
    pointer = context.store.champion()
    rows = [(f"{event.after:,}", event.what, event.said) for event in events]
    facts = {
        "requests": f"{len(served):,}, {failed:,} of them failed",
        "quality": f"{np.mean([one.quality for one in served]):.3f} over the day, at ${usd:.2f} per 1,000 requests",
        "in service at its end": f"{pointer.bundle}: {pointer.reason}" if pointer is not None else "nothing",
    }
    note = "Every line is what a flow or the guard did; the bug and the outage are what the world did to them."
    section = Section("What happened", ("after requests", "what", ""), rows, note)
    ends = ("champion now", "is stopped", "rolled back")
    ended = [event for event in events if any(end in event.said for end in ends)]
    sentence = "A day in the life: a better router promoted, a worse one stopped, an outage rolled back."
    reason = f"{len(ended)} times a challenger was decided upon, and nobody had a hand on the wheel."
    report = tell(sentence, reason, "promote", [section], figures, facts, context.config)
    path = context.workspace.reports / "day.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.html, encoding="utf-8")
    return path


def quality(events: Sequence[Event], served: Sequence[Served], batch: int) -> Figure:
    """Draw mean quality and cost of each batch of requests, with the moments at which something was done."""
    figure, axes = _figure(8.4, 3.6, "How well requests were answered")
    starts = range(0, len(served), batch // 3)
    parts = [served[start : start + batch // 3] for start in starts]
    axes.plot([start + batch / 6 for start in starts], [np.mean([one.quality for one in part]) for part in parts],
              color=OURS, lw=1.6, marker=".")  # fmt: skip
    for event in events:
        shown = event.what in (*WORLD, "guard")
        if shown or "champion now" in event.said or "is stopped" in event.said:
            colour = GOOD if "champion now" in event.said else BAD
            done = {GOOD: "promoted", BAD: "stopped" if "is stopped" in event.said else event.what}
            side = "left" if event.what in WORLD else "right"
            axes.axvline(event.after, color=colour, lw=1, ls="--")
            axes.annotate(done[colour], (event.after, 0.02), xycoords=("data", "axes fraction"), fontsize=8,
                          color=colour, rotation=90, va="bottom", ha=side)  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_xlabel("requests", color=INK)
    axes.set_ylabel("quality", color=INK)
    return figure


def candidates(served: Sequence[Served], batch: int) -> Figure:
    """Draw which candidate answered which share of each batch."""
    figure, axes = _figure(8.4, 3.0, "Who answered")
    names = sorted({one.candidate for one in served})
    starts = list(range(0, len(served), batch))
    shares = [[float(np.mean([one.candidate == name for one in served[start : start + batch]])) for start in starts]
              for name in names]  # fmt: skip
    axes.stackplot(starts, shares, labels=names, colors=COLOURS[: len(names)], step="post")
    axes.set_ylim(0, 1)
    axes.set_xlabel("requests", color=INK)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4)
    return figure
