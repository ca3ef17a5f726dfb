"""The tournament: warmers compared on the later part of the past, and the learned one used only where it is proven."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from features.demand import Demand
from models.warmers import WARMERS
from models.warmers.contest import Contestant, Played, Scoring
from models.warmers.heuristics import best_heuristic
from models.warmers.playing import Oracle, ceiling, lead, middle, play
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import Warmer

LEARNED = "lightgbm"
NONE, ORACLE = "none", "oracle"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The warmer for a budget, and why."""

    name: str
    heuristic: str
    """`ewma`, unless another was proven to foretell better."""
    difference: float
    """The learned warmer less that one, in hits a request."""
    low: float
    """Its lower bound: the learned warmer is chosen where this is above zero."""
    high: float


@dataclass(frozen=True, slots=True)
class Tournament:
    """What each warmer did, and what is chosen."""

    chosen: Mapping[float, Chosen]
    """By budget."""
    played: Mapping[str, Played]
    """`none`, and each warmer and the `oracle` at each budget as `name@budget`."""
    ceiling: float
    """The hit rate of an infinite cache whose answers never die."""
    trained: Mapping[str, Warmer]
    """By name, on the earlier part."""


def hold(demand: Demand, settings: WarmerSettings, seed: int) -> Tournament:
    """Train every warmer on the earlier part of demand, replay the later, and choose for each budget."""
    split = middle(demand, settings.later_share)
    trained = {name: train(demand.until(split), settings, seed) for name, train in WARMERS.items()}
    everyone: dict[str, Scoring] = {**trained, ORACLE: Oracle(demand, settings)}
    contestants = {NONE: Contestant()} | {
        f"{name}@{budget:g}": Contestant(one, budget) for name, one in everyone.items() for budget in settings.budgets
    }
    played = play(demand, split, settings, contestants)
    # By how well it foretold: the highest hit rate at each budget is a choice by luck.
    known = {name: one for name, one in trained.items() if name != LEARNED}
    usual = best_heuristic(demand, settings, known, seed).name
    chosen = {}
    for budget in settings.budgets:
        difference, low, high = lead(
            played[f"{LEARNED}@{budget:g}"], played[f"{usual}@{budget:g}"], settings.alpha, seed
        )  # fmt: skip
        chosen[budget] = Chosen(LEARNED if low > 0 else usual, usual, difference, low, high)
    return Tournament(chosen, played, ceiling(demand, split, settings.window_seconds), trained)


def train(demand: Demand, settings: WarmerSettings, seed: int) -> tuple[Tournament, dict[float, Warmer]]:
    """Hold a tournament, and return the chosen warmer for each budget, trained on all of demand."""
    held = hold(demand, settings, seed)
    return held, winners(held, demand, settings, seed)


def winners(held: Tournament, demand: Demand, settings: WarmerSettings, seed: int) -> dict[float, Warmer]:
    """Return the chosen warmer for each budget, trained on all of demand."""
    made = {name: WARMERS[name](demand, settings, seed) for name in {one.name for one in held.chosen.values()}}
    return {budget: replace(made[one.name]) for budget, one in held.chosen.items()}
