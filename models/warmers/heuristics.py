"""How the heuristics are trained: odds and chances from what came, and the best of them by how well it foretold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand, Window, windows
from features.demand_tally import HALF_LIVES, Tally
from models.warmers.held import Held
from models.warmers.playing import WHOLE, middle, proven
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import FLOOR, HEURISTICS, Warmer, calibrated, odds_line

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

USUAL = 3
"""Place of the half-life of `ewma` that is used until another is proven to foretell better: 48 windows."""


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
    """Return what was known and what came in some windows of demand, of the heuristic's best keys that were due."""
    found = []
    for tally, window, keys in _looks(demand, settings):
        base = HEURISTICS[warmer.heuristic](tally, keys, warmer.half_life)
        if len(keys) > settings.candidates:
            best = np.argpartition(-base, settings.candidates - 1)[: settings.candidates]
            keys, base = keys[best], base[best]
        until = np.searchsorted(demand.at, window.start + settings.ttl_seconds)
        found.append(Moment(
            window.start, keys, tally.features(keys) if features else None, base,
            np.isin(keys, demand.key[window.begin : window.end]), np.isin(keys, demand.key[window.begin : until]),
        ))  # fmt: skip
    return found


def fit(demand: Demand, name: str, half_life: int, settings: WarmerSettings) -> Warmer:
    """Return a heuristic with the odds and the chances that its scores stand for."""
    plain = Warmer(name, name, half_life, candidates=settings.candidates)
    known = moments(demand, plain, settings, features=False)
    if not any(len(one.keys) for one in known):
        return plain
    base = np.concatenate([one.base for one in known])
    slope, offset = odds_line(base, np.concatenate([one.visited for one in known]))
    fitted = Warmer(name, name, half_life, slope, offset, candidates=settings.candidates)
    return calibrated(fitted, fitted.corrected(base, None), np.concatenate([one.came for one in known]))


def best_half_life(demand: Demand, settings: WarmerSettings) -> int:
    """Return the place in HALF_LIVES for `ewma`: the usual one, unless another is proven to foretell better."""
    ways = [Warmer("ewma", "ewma", place) for place in range(len(HALF_LIVES))]
    return foretells(demand, settings, ways[USUAL], [one for one in ways if one.half_life != USUAL]).half_life


def best_heuristic(demand: Demand, settings: WarmerSettings, trained: Mapping[str, Warmer], seed: int) -> Warmer:
    """Return the heuristic that is proven to have the most hits; where none is, the one that foretells best.

    That is `ewma`, unless another is proven to. Who foretells all due keys well need not order those well at which the
    budgets end: on catalogues with many keys that come seldom `lfu` has more hits, though its log loss is higher.
    """
    usual = foretells(demand, settings, trained["ewma"], [one for name, one in trained.items() if name != "ewma"])
    rivals = [one for one in trained.values() if one.heuristic != usual.heuristic]
    found = proven(demand, middle(demand, settings.later_share), settings, usual, rivals, seed)
    return next(one for one in (usual, *rivals) if one is found)


def foretells(demand: Demand, settings: WarmerSettings, usual: Warmer, rivals: Sequence[Warmer]) -> Warmer:
    """Return the rival that foretold best which keys are asked for, if it is proven to, else the usual warmer.

    By the log loss of visits in the next window, each heuristic with odds of its own. Proven is what has a lower loss
    than the usual one with a one-sided bound above zero, paired over windows. Every key that is due speaks here (of
    very many, those that were asked for last), whereas of a hit rate only those do at which the budget ends: on short
    logs a choice by that is a choice by luck.
    """
    ways = [usual, *rivals]
    scores: list[list[Floats]] = [[] for _ in ways]
    visited = []
    for tally, window, due in _looks(demand, settings):
        keys = tally.latest(settings.candidates, due)
        visited.append(np.isin(keys, demand.key[window.begin : window.end]))
        for row, way in zip(scores, ways, strict=True):
            row.append(HEURISTICS[way.heuristic](tally, keys, way.half_life))
    n = len(visited)
    if n < 2 or not any(one.any() for one in visited):
        return usual
    came, window_of = np.concatenate(visited), np.repeat(np.arange(n), [len(one) for one in visited])
    losses = np.array([_losses(np.concatenate(row), came, window_of, n) for row in scores])
    gain = losses[0] - losses
    bound = gain.mean(axis=1) - NormalDist().inv_cdf(1 - settings.alpha) * gain.std(axis=1, ddof=1) / np.sqrt(n)
    bound[0] = 0.0
    return ways[min((place for place in range(len(ways)) if bound[place] >= 0), key=lambda place: losses[place].sum())]


def _losses(scores: Floats, came: NDArray[np.bool_], window_of: Ints, n: int) -> Floats:
    """Return the log loss of each of `n` windows, with the odds that suit all of them best."""
    slope, offset = odds_line(scores, came)
    odds = offset + slope * np.log(scores + FLOOR)
    return np.asarray(np.bincount(window_of, np.logaddexp(0.0, odds) - came * odds, n), dtype=np.float64)


def _looks(demand: Demand, settings: WarmerSettings) -> Iterator[tuple[Tally, Window, Ints]]:
    """Yield at most `settings.moments` windows, evenly spread, with the tally at the beginning of each and what is due.

    Due are the keys that a prefill may be for, in a cache that is not warmed: those that it holds are asked for most,
    and to foretell them is easy and of no use.
    """
    every = list(windows(demand, settings.window_seconds))
    # A young tally tells little; and where the log ends it is not known what came within the time to live.
    known = (demand.at[-1] if len(demand) else 0.0) - settings.ttl_seconds + (1 - WHOLE) * settings.window_seconds
    able = [place for place in range(max(len(every) // 8, 1), len(every)) if every[place].start <= known]
    picked = (
        {able[i] for i in np.unique(np.linspace(0, len(able) - 1, settings.moments).astype(int))} if able else set()
    )
    tally, held = Tally(demand.tenant, settings.window_seconds), Held(demand, settings)
    for number, window in enumerate(every):
        held.begin(window)
        if number in picked:
            yield tally, window, held.due(tally, window)
        held.serve(window)
        tally.add(demand, window)
