"""How the heuristics are trained: their odds and chances from what came, and the half-life of `ewma` by replay."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand, windows
from features.demand_tally import HALF_LIVES, Tally
from models.warmers.playing import middle, proven
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import HEURISTICS, Warmer, calibrated, odds_line

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

USUAL = 3
"""Place of the half-life of `ewma` that is used until another is proven better: 48 windows."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known at the beginning of a window, and what came."""

    start: float
    keys: Ints
    features: NDArray[np.float32] | None
    base: Floats
    """(keys,) The heuristic's score."""
    visited: NDArray[np.bool_]
    """(keys,) In the window."""
    came: NDArray[np.bool_]
    """(keys,) Within the time to live."""


def moments(demand: Demand, warmer: Warmer, settings: WarmerSettings, *, features: bool) -> list[Moment]:
    """Return at most `settings.moments` of the windows of demand, evenly spread, with the heuristic's best keys."""
    every = list(windows(demand, settings.window_seconds))
    tail = max(round(settings.ttl_seconds / settings.window_seconds), 1)
    # A young tally tells little; and of the last windows it is not known what came within the time to live.
    able = list(range(max(len(every) // 8, 1), len(every) - tail + 1))
    picked = (
        {able[i] for i in np.unique(np.linspace(0, len(able) - 1, settings.moments).astype(int))} if able else set()
    )
    tally = Tally(demand.tenant, settings.window_seconds)
    found = []
    for number, window in enumerate(every):
        if number in picked:
            keys = tally.seen
            base = HEURISTICS[warmer.heuristic](tally, keys, warmer.half_life)
            if len(keys) > settings.candidates:
                best = np.argpartition(-base, settings.candidates - 1)[: settings.candidates]
                keys, base = keys[best], base[best]
            until = np.searchsorted(demand.at, window.start + settings.ttl_seconds)
            found.append(Moment(
                window.start, keys, tally.features(keys) if features else None, base,
                np.isin(keys, demand.key[window.begin : window.end]), np.isin(keys, demand.key[window.begin : until]),
            ))  # fmt: skip
        tally.add(demand, window)
    return found


def fit(demand: Demand, name: str, half_life: int, settings: WarmerSettings) -> Warmer:
    """Return a heuristic with the odds and the chances that its scores stand for."""
    plain = Warmer(name, name, half_life, candidates=settings.candidates)
    known = moments(demand, plain, settings, features=False)
    if not known:
        return plain
    base = np.concatenate([one.base for one in known])
    slope, offset = odds_line(base, np.concatenate([one.visited for one in known]))
    fitted = Warmer(name, name, half_life, slope, offset, candidates=settings.candidates)
    return calibrated(fitted, fitted.corrected(base, None), np.concatenate([one.came for one in known]))


def best_half_life(demand: Demand, settings: WarmerSettings, seed: int) -> int:
    """Return the place in HALF_LIVES for `ewma`: the usual one, unless another is proven better on the later part."""
    ways = [Warmer("ewma", "ewma", place) for place in range(len(HALF_LIVES))]
    rivals = [one for one in ways if one.half_life != USUAL]
    found = proven(demand, middle(demand, settings.later_share), settings, ways[USUAL], rivals, seed)
    assert isinstance(found, Warmer)
    return found.half_life


def best_heuristic(demand: Demand, settings: WarmerSettings, trained: Mapping[str, Warmer], seed: int) -> Warmer:
    """Return `ewma`, unless another heuristic is proven better on the later part of demand."""
    rivals = [one for name, one in trained.items() if name != "ewma"]
    found = proven(demand, middle(demand, settings.later_share), settings, trained["ewma"], rivals, seed)
    assert isinstance(found, Warmer)
    return found
