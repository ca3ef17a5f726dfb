"""Pictures of what warming and eviction win, each beside what could be won."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from models.warmers.contest import Played
from pipelines.plots import CHAMPION, GOOD, GREY, INK, OURS, _figure


def warming(
    played: Mapping[str, Played], budgets: Sequence[float], ceiling: float, heuristic: str, learned: str = "lightgbm"
) -> Figure:
    """Draw the hit rate against the prefills that were spent, from a replay that has `none` and `name@budget`.

    The rows of `oracle` are drawn where there are any. Raises KeyError where a row of the two warmers is missing.
    """
    figure, axes = _figure(7.2, 4.4, "Hit rate against budget: what warming adds, and what it could")
    none = played["none"].hit_rate
    for name, colour in ((learned, OURS), (heuristic, CHAMPION), ("oracle", GOOD)):
        rows = [played.get(f"{name}@{budget:g}") for budget in budgets]
        if name == "oracle" and not any(rows):
            continue
        points = sorted((row.spent, row.hit_rate) for row in (played[f"{name}@{budget:g}"] for budget in budgets))
        axes.plot([0.0, *(x for x, _ in points)], [none, *(y for _, y in points)], marker="o", color=colour, label=name)
    axes.axhline(none, color=GREY, lw=1, ls=":", label="no warming")
    axes.axhline(ceiling, color=INK, lw=1, ls="--", label="ceiling: asked before")
    axes.set_xlabel("prefills a request", color=INK)
    axes.set_ylabel("hits a request", color=INK)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=5)
    return figure


def eviction(hit_rates: Mapping[str, float], belady: float, chosen: str) -> Figure:
    """Draw the hit rate of each evictor, the best at the top, up to the rule that knows the future."""
    figure, axes = _figure(7.2, 1.4 + 0.34 * len(hit_rates), "Hit rate by what a full cache lets go of")
    ranked = sorted(hit_rates, key=lambda name: hit_rates[name])
    axes.barh(
        range(len(ranked)), [hit_rates[name] for name in ranked],
        color=[OURS if name == chosen else GREY for name in ranked], height=0.62,
    )  # fmt: skip
    for place, name in enumerate(ranked):
        axes.annotate(f"{hit_rates[name]:.3f}", (hit_rates[name], place), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=8, color=INK)  # fmt: skip
    axes.axvline(belady, color=INK, lw=1, ls="--", label="Belady: knows the future")
    axes.set_yticks(range(len(ranked)), ranked)
    low = min(hit_rates.values())
    axes.set_xlim(max(0.0, low - 0.5 * (belady - low) - 0.02), belady + 0.25 * (belady - low) + 0.01)
    axes.set_xlabel("hits a request", color=INK)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
