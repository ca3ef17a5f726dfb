"""Exact keys or clusters: which of both a warmer should count, in a cache whose semantic tier serves clusters."""

from collections.abc import Mapping
from dataclasses import dataclass

from features.demand import Demand
from models.warmers.clusters import Clusters
from models.warmers.contest import Contestant, Played
from models.warmers.playing import lead, middle, play
from models.warmers.settings import WarmerSettings
from models.warmers.tournament import Tournament


@dataclass(frozen=True, slots=True)
class Compared:
    """What both did with one budget, over the same requests and the same cache."""

    exact: Played
    clusters: Played
    difference: float
    """Clusters less exact keys, in hits a request."""
    low: float
    """Its lower bound: clusters are proven better where this is above zero."""
    high: float


def compare(
    demand: Demand, found: Clusters, held: Mapping[str, Tournament], settings: WarmerSettings, seed: int
) -> dict[float, Compared]:
    """Return the comparison at each budget; `held` has the tournaments of `exact` keys (`demand`) and of `clusters`.

    Each side has the warmer that its own tournament chose, trained on the earlier part. Whoever plans, an answer
    serves its whole cluster. Exact keys know nothing of that: they ask a wording ahead where its own answer is due.
    """
    exact, clusters = held["exact"], held["clusters"]
    contestants = {
        f"{budget:g}": Contestant(exact.trained[one.name], budget) for budget, one in exact.chosen.items()
    }  # fmt: skip
    played = play(demand, middle(demand, settings.later_share), settings, contestants, found.of)
    told = {}
    for budget, one in clusters.chosen.items():
        ours, theirs = clusters.played[f"{one.name}@{budget:g}"], played[f"{budget:g}"]
        told[budget] = Compared(theirs, ours, *lead(ours, theirs, settings.alpha, seed))
    return told
