"""A warmer: the order in which keys should be fetched ahead, and the chance that each returns in time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from beastmode.logistic import sigmoid
from features.demand import Demand, windows
from features.demand_tally import Tally
from models.warmers.following import Follower

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FLOOR = 1e-4
"""So that a score of zero has a logarithm."""
Score = Callable[[Tally, Ints, int], Floats]


def last_window(tally: Tally, keys: Ints, half_life: int) -> Floats:
    """Score by requests in the last window, the more lately used of equals first."""
    return tally.last_window[keys] + 1e-3 * tally.count(0, keys)


def ewma(tally: Tally, keys: Ints, half_life: int) -> Floats:
    """Score by requests that fade by half in `HALF_LIVES[half_life]` windows."""
    return tally.count(half_life, keys)


def lfu(tally: Tally, keys: Ints, half_life: int) -> Floats:
    """Score by all requests ever, a window, so that a score means the same in an old log as in a young one."""
    return np.asarray(tally.total[keys] / max(tally.windows, 1))


HEURISTICS: dict[str, Score] = {"last_window": last_window, "ewma": ewma, "lfu": lfu}


@dataclass(frozen=True)
class Warmer:
    """A heuristic, and what a learner adds to its word: data alone, so that a bundle can hold it."""

    name: str
    heuristic: str
    """Of HEURISTICS."""
    half_life: int
    slope: float = 1.0
    offset: float = 0.0
    """The heuristic's log odds of a visit in the next window: offset + slope x log(score + FLOOR)."""
    model: str | None = None
    """LightGBM's text: what is added to these log odds; None for a heuristic alone."""
    weight: float = 1.0
    """By how much of it."""
    candidates: int = 2000
    levels: tuple[float, ...] = (0.0,)
    chances: tuple[float, ...] = (0.0,)
    """P(asked for within the time to live) at rising scores; straight lines between them."""
    follower: Follower | None = None
    """Who fetches between plans; None where that is not proven to help."""

    def score(self, tally: Tally, keys: Ints) -> Floats:
        """Return log odds of a visit in the next window, (keys,); the highest are fetched first."""
        base = HEURISTICS[self.heuristic](tally, keys, self.half_life)
        odds = self.corrected(base, None)
        if self.model is None or not len(keys):
            return odds
        best = np.arange(len(keys))
        if len(keys) > self.candidates:
            best = np.argpartition(-odds, self.candidates - 1)[: self.candidates]
        odds[best] = self.corrected(base[best], tally.features(keys[best]))
        return odds

    def corrected(self, base: Floats, features: NDArray[np.float32] | None) -> Floats:
        """Return the log odds that the heuristic's scores stand for, (keys,), corrected where there are features."""
        odds = np.asarray(self.offset + self.slope * np.log(base + FLOOR))
        if self.model is None or features is None or not len(base):
            return odds
        return odds + self.weight * np.asarray(self._booster.predict(features, raw_score=True, num_threads=1))

    def chance(self, tally: Tally, keys: Ints) -> Floats:
        """Return P(asked for within the time to live), (keys,), of keys whose answers are due: see `Held.due`."""
        return np.interp(self.score(tally, keys), self.levels, self.chances)

    @property
    def follows(self) -> bool:
        """Whether it fetches between plans."""
        return self.follower is not None

    def following(self, tally: Tally) -> Follower | None:
        """Return who fetches between plans."""
        return self.follower

    @cached_property
    def _booster(self) -> lgb.Booster:
        return lgb.Booster(model_str=self.model)


def tallied(demand: Demand, now: float, seconds: float) -> Tally:
    """Return the tally of all requests before `now`, where its last window ends."""
    tally = Tally(demand.tenant, seconds)
    for window in windows(demand, seconds, until=now):
        tally.add(demand, window)
    return tally


def chances(warmer: Warmer, demand: Demand, now: float, window_seconds: float) -> Floats:
    """Return P(asked for within the time to live from `now`) of every key, (k,); zero for keys never asked for.

    It is true of keys that no cache holds at `now`: of those that one does, which are asked for most, it is too low.

    `window_seconds`, and the time to live, are those of the settings that the warmer was trained for.
    """
    tally = tallied(demand, now, window_seconds)
    result = np.zeros(demand.keys)
    result[tally.seen] = warmer.chance(tally, tally.seen)
    return result


def calibrated(warmer: Warmer, scores: Floats, came: NDArray[np.bool_]) -> Warmer:
    """Return the warmer with P(came | score) by isotonic regression, which keeps its order."""
    from sklearn.isotonic import IsotonicRegression

    if not came.any():
        return replace(warmer, levels=(0.0,), chances=(0.0,))
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, came.astype(np.float64))
    return replace(
        warmer, levels=tuple(fitted.X_thresholds_.tolist()), chances=tuple(fitted.y_thresholds_.tolist())
    )  # fmt: skip


def odds_line(scores: Floats, visited: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and offset of the log odds of a visit on log(score + FLOOR), by ridged Newton steps.

    A step that would raise the loss is halved until it does not. The slope is never negative: a heuristic's order is
    its own.
    """
    x = np.stack([np.log(scores + FLOOR), np.ones(len(scores))], axis=1)
    ridge, prior = np.array([1e-3, 1e-6]), np.array([1.0, 0.0])

    def loss(line: Floats) -> float:
        odds = x @ line
        return float((np.logaddexp(0.0, odds) - visited * odds).sum() + ridge @ (line - prior) ** 2 / 2)

    # No slope, and the odds of all: convex from there, however far the scores are from odds.
    share = (visited.sum() + 0.5) / (len(visited) + 1.0)
    found = np.array([0.0, np.log(share / (1 - share))])
    for _ in range(50):
        p = sigmoid(x @ found)
        gradient = x.T @ (p - visited) + ridge * (found - prior)
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge), gradient)
        while loss(found - step) > loss(found) and np.abs(step).max() > 1e-8:
            step = step / 2
        found = found - step
        if np.abs(step).max() < 1e-8:
            break
    if found[0] > 0:
        return float(found[0]), float(found[1])
    return 1e-3, float(np.log(share / (1 - share)))
