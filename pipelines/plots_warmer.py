"""Pictures of a warmers' tournament."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from models.warm_tournament import NONE, ORACLE, Played
from pipelines.plots import CHAMPION, GOOD, GREY, INK, OURS, _figure


def hit_rates(played: Mapping[float, Mapping[str, Played]], ceiling: float, learned: str, heuristic: str) -> Figure:
    """Draw the hit rate against the prefills that were spent: none, heuristic, learned, oracle, and the ceiling."""
    figure, axes = _figure(7.2, 4.4, "Hit rate against budget: what warming adds, and what it could")
    shown = {learned: OURS, heuristic: CHAMPION, ORACLE: GOOD}
    none = next(iter(played.values()))[NONE].hit_rate
    for name, colour in shown.items():
        points = sorted((each[name].spent, each[name].hit_rate) for each in played.values())
        axes.plot([0.0, *(x for x, _ in points)], [none, *(y for _, y in points)], marker="o", color=colour, label=name)
    axes.axhline(none, color=GREY, lw=1, ls=":", label="no warming")
    axes.axhline(ceiling, color=INK, lw=1, ls="--", label="ceiling: asked before")
    axes.set_xlabel("prefills a request", color=INK)
    axes.set_ylabel("hits a request", color=INK)
    axes.legend(frameon=False, fontsize=8)
    return figure
