"""The heuristic `lfu` as a warmer."""

from features.demand import Demand
from models.warmers.heuristics import fit
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import Warmer


def train(demand: Demand, settings: WarmerSettings, seed: int) -> Warmer:
    """Learn what its scores stand for; its order needs no learning."""
    return fit(demand, "lfu", 0, settings)
