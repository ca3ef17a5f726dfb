"""The report of a day of traffic: what happened, in what order, and how well requests were answered meanwhile."""

import re
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
WHAT = {
    "first": "the day begins",
    "improve": "a new router is trained, and judged on the log",
    "advance, candidate": "may it be tried?",
    "advance, shadow": "in the shadow: it decides, but nothing of it is served",
    "advance, canary": "it serves a share of the requests",
    "monitor": "what serves is checked",
    "guard": "the guard steps in",
    "the next run": "the records follow",
}
"""What happened, in words that need no glossary."""
SO = {"promote": "goes on", "hold": "not proven", "reject": "stopped", "roll back": "stopped"}
BUNDLE = re.compile(r"router-\d{8}-\d{6}(?:-best-single)?")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, after so many requests."""

    after: int
    what: str
    why: str
    verdict: str = ""
    done: str = ""

    @property
    def said(self) -> str:
        """All of it, in words."""
        return " ".join(part for part in (self.verdict and f"{self.verdict}.", self.why, self.done) if part)


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
    figures = {"day": quality(events, served, batch), "answered": candidates(served, batch)}
    failed = sum(one.failed for one in served)
    usd = 1000 * float(np.mean([one.cost_usd for one in served]))
    pointer = context.store.champion()
    ends = f"{pointer.bundle}: {pointer.reason}" if pointer is not None else "nothing"
    names = letters([*(event.said for event in events), ends])

    def short(text: str) -> str:
        return BUNDLE.sub(lambda found: names[found[0]], text)

    rows = [(f"{event.after:,}", WHAT.get(event.what, event.what), short(_told(event)), SO.get(event.verdict, ""))
            for event in events]  # fmt: skip
    facts = {
        "requests": f"{len(served):,}, {failed:,} of them failed",
        "quality": f"{100 * np.mean([one.quality for one in served]):.0f} of 100 over the day, at ${usd:.2f} per 1,000 "
        "requests",
        "in service at its end": short(ends),
        **{letter: name for name, letter in names.items()},
    }
    note = "Every line is what a flow or the guard did; the bug and the outage are what the world did to them."
    section = Section("What happened", ("after requests", "what", "and why", "so it"), rows, note)
    report = tell(_sentence(events), _reason(events, served), "promote", [section], figures, facts, context.config)
    path = context.workspace.reports / "day.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.html, encoding="utf-8")
    return path


def letters(texts: Sequence[str]) -> dict[str, str]:
    """Return a short name for each bundle that texts speak of, in the order in which they come.

    >>> letters(["router-20260101-101010 decides in the shadow of router-20260101-101010-best-single"])
    {'router-20260101-101010': 'router A', 'router-20260101-101010-best-single': 'router B'}
    """
    found = dict.fromkeys(name for text in texts for name in BUNDLE.findall(text))
    return {name: f"router {chr(ord('A') + place)}" for place, name in enumerate(found)}


def _told(event: Event) -> str:
    """Return what was done, then why; a candidate's reason is that of the line above it."""
    done = "" if event.done.startswith("Everything stays") else event.done
    return done if event.what == "advance, candidate" and done else f"{done} {event.why}".strip()


def _sentence(events: Sequence[Event]) -> str:
    """Return what the day came to, counted."""
    ways = {"promoted": "champion now", "stopped": "is stopped", "rolled back": "rolled back from"}
    counts = {way: sum(text in event.said for event in events) for way, text in ways.items()}
    told = [f"{n} {'router was' if n == 1 else 'routers were'} {way}" for way, n in counts.items() if n]
    return f"A day in the life: {', '.join(told) or 'nothing changed'}, with no hand on the wheel."


def _reason(events: Sequence[Event], served: Sequence[Served]) -> str:
    """Return how well requests were answered before a promotion and after it, until the world struck again."""
    promoted = next((event.after for event in events if "champion now" in event.said), None)
    if not promoted:
        return "Every step was taken by the flows and the guard."
    struck = next((event.after for event in events if event.what == "an outage"), len(served))
    parts = [
        [one.quality for one in part if one.arm == "champion"] for part in (served[:promoted], served[promoted:struck])
    ]
    before, after = (100 * float(np.mean(part)) for part in parts)
    return (
        f"On a scale from 0 to 100 the champion's answers scored {before:.0f}, and {after:.0f} from the promotion to "
        "the outage. Every step was taken by the flows and the guard."
    )


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
    # The last batch's share is drawn to its end.
    starts, shares = [*starts, len(served)], [[*share, share[-1]] for share in shares]
    axes.stackplot(starts, shares, labels=names, colors=COLOURS[: len(names)], step="post")
    axes.set_ylim(0, 1)
    axes.set_xlabel("requests", color=INK)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4)
    return figure
