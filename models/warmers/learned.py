"""A learned warmer: LightGBM corrects the best heuristic, and follow-ups are fetched, where the past proves it."""

from collections.abc import Sequence
from dataclasses import replace

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.demand import Demand
from models.warmers import ewma, following_fit, last_window, lfu
from models.warmers.heuristics import Moment, best_heuristic, moments
from models.warmers.playing import middle, proven
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import Warmer, calibrated

WEIGHTS = (0.5, 1.0)
"""By how much of its correction, if by any: the one that is proven better on the later part of the past."""
FEWEST = 100
"""Visits of keys that were due below which nothing is learned."""


def train(demand: Demand, settings: WarmerSettings, seed: int) -> Warmer:
    """Learn what the best heuristic gets wrong about the next window.

    The trees begin at the heuristic's log odds, so that with weight zero, or nothing to learn, its order is kept: the
    learner differs from it only by what helped on the later part of the past, with trees from the earlier. So it is
    with follow-ups: they are fetched where that led on the later part, at equal budgets.
    """
    rivals = {
        module.__name__.split(".")[-1]: module.train(demand, settings, seed) for module in (ewma, last_window, lfu)
    }
    split = middle(demand, settings.later_share)
    base = replace(best_heuristic(demand, settings, rivals, seed), name="lightgbm")
    known = moments(demand, base, settings, features=True)
    then, now = _weighed(demand, base, known, split, settings, seed)
    follower = following_fit.fit(demand.until(split), then, settings, seed) if settings.follow else None
    if follower is None:
        return now
    followed = replace(then, follower=follower)
    found = proven(demand, split, settings, then, [followed], seed)
    return replace(now, follower=following_fit.fit(demand, now, settings, seed)) if found is followed else now


def _weighed(
    demand: Demand, base: Warmer, known: Sequence[Moment], split: float, settings: WarmerSettings, seed: int
) -> tuple[Warmer, Warmer]:
    """Return the heuristic with as much of a correction as is proven to help: of the earlier part, and of all."""
    earlier = [one for one in known if one.start + settings.window_seconds <= split]
    tried = _corrected(base, earlier, settings, seed)
    if tried is None:
        return base, base
    weighed = [replace(tried, weight=weight) for weight in WEIGHTS]
    found = proven(demand, split, settings, base, weighed, seed)
    weight = found.weight if isinstance(found, Warmer) and found.model is not None else 0.0
    made = _corrected(base, known, settings, seed) if weight > 0 else None
    if made is None:
        return base, base
    made, tried = replace(made, weight=weight), replace(tried, weight=weight)
    # The trees have seen `known`, so that chances come from trees that have not: those of the earlier part.
    later = [one for one in known if one.start >= split] or known
    scores = np.concatenate([_odds(tried, one) for one in later])
    return tried, calibrated(made, scores, np.concatenate([one.came for one in later]))


def _corrected(base: Warmer, known: Sequence[Moment], settings: WarmerSettings, seed: int) -> Warmer | None:
    """Return the heuristic with trees that correct its odds, None where too little came."""
    if not known or sum(int(one.visited.sum()) for one in known) < FEWEST:
        return None
    seen = np.concatenate([one.features for one in known if one.features is not None])
    visited = np.concatenate([one.visited for one in known]).astype(np.float64)
    begin = np.concatenate([_odds(replace(base, model=None), one) for one in known])
    parameters = {
        "objective": "binary", "learning_rate": settings.rate, "num_leaves": settings.leaves, "min_data_in_leaf": 20,
        "lambda_l2": 5.0, "feature_fraction": 0.5, "bagging_fraction": 0.7, "bagging_freq": 1, "seed": seed,
        "boost_from_average": False, "num_threads": 1, "deterministic": True, "verbose": -1,
    }  # fmt: skip
    booster = lgb.train(parameters, lgb.Dataset(seen, visited, init_score=begin), settings.rounds)
    return replace(base, model=str(booster.model_to_string()))


def _odds(warmer: Warmer, one: Moment) -> NDArray[np.float64]:
    return warmer.corrected(one.base, one.features)
