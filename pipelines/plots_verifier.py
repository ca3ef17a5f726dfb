"""The picture of a verifier: what it serves right against what it serves wrong, at every threshold."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.verifiers_gate import Contestant
from models.verifiers_stream import Served
from pipelines.plots import BAD, CHAMPION, GREY, INK, OURS, _figure


def good_and_wrong(
    new: Contestant, serving: Contestant | None, cosine: Served, training: Served, budget: float
) -> Figure:
    """Draw good hits against wrong ones of the new verifier and of what serves on questions kept back.

    Beside them the new one and the cosine on the questions of training, out of fold; budget and ceiling are lines,
    the thresholds in force are marks.
    """
    figure, axes = _figure(7.2, 4.4, "Right and wrong answers a request: up and to the left is better")
    _curve(axes, new.stream, OURS, "new, kept back")
    _curve(axes, training, OURS, "new, in training", ":")
    _curve(axes, cosine, GREY, "cosine, in training", ":")
    if serving is not None:
        _curve(axes, serving.stream, CHAMPION, "serving, kept back")
    for one, colour in ((new, OURS), (serving, CHAMPION)):
        if one is not None and np.isfinite(one.threshold):
            told = one.stream.at(one.threshold)
            axes.plot(told["wrong"], told["good"], marker="o", color=colour, ms=8)
    axes.axvline(budget, color=BAD, lw=1, ls="--", label="budget")
    axes.axhline(new.stream.ceiling, color=INK, lw=1, ls="--", label="ceiling: asked before")
    axes.set_xlim(0, 5 * budget)
    axes.set_xlabel("wrong answers a request", color=INK)
    axes.set_ylabel("good hits a request", color=INK)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _curve(axes: Axes, stream: Served, colour: str, label: str, style: str = "-") -> None:
    order = np.argsort(-stream.score, kind="stable")
    order = order[np.isfinite(stream.score[order])]
    right = stream.right[order]
    axes.plot(np.cumsum(~right) / len(stream), np.cumsum(right) / len(stream), color=colour, ls=style, label=label)
