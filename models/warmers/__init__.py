"""Ways to foresee which keys return: each takes demand, settings and a seed, and gives a warmer."""

from collections.abc import Callable

from features.demand import Demand
from models.warmers import ewma, last_window, learned, lfu
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import Warmer

WARMERS: dict[str, Callable[[Demand, WarmerSettings, int], Warmer]] = {
    "last_window": last_window.train,
    "ewma": ewma.train,
    "lfu": lfu.train,
    "lightgbm": learned.train,
}
