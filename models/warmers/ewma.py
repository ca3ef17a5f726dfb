"""The heuristic `ewma` as a warmer."""

from features.demand import Demand
from models.warmers.heuristics import best_half_life, fit
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import Warmer


def train(demand: Demand, settings: WarmerSettings, seed: int) -> Warmer:
    """Choose the half-life by how well it foretold, and learn what its scores stand for."""
    return fit(demand, "ewma", best_half_life(demand, settings), settings)
