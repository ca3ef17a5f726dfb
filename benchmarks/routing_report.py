"""The numbers of the selector benchmark: averaged over seeds for each prompt, then over prompts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.table import Table
from models.routing_metrics import auc, brier, ece, pair
from models.savings import Frontier, paired_ratio
from models.values import Gain, earned

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

ONE_SIDED = 1.645
"""Standard errors from a mean to its lower 95% bound."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training and what it did on its test prompts."""

    seed: int
    test: Table
    cost: Floats
    """(n, m) US dollars; NaN where unpriced."""
    expected: Floats
    """(n, m) predicted quality"""
    expected_cost: Floats
    choice: Indices
    """At no price of money."""
    neighbours: Indices
    """What tuned nearest neighbours over the raw training requests choose."""
    best_single: int
    points: Mapping[float, tuple[float, Indices]]
    """For each share of the best single's quality, the price of money and the choices under it."""
    about: Mapping[str, Any]

    @property
    def won(self) -> Floats:
        """The quality that routing earned, (n,)."""
        return earned(self.test.quality, self.choice)

    @property
    def single(self) -> Floats:
        """The quality of the candidate that was best on the training prompts, (n,)."""
        return np.asarray(self.test.quality[:, self.best_single])

    @property
    def near(self) -> Floats:
        """The quality that nearest neighbours earned, (n,)."""
        return earned(self.test.quality, self.neighbours)


def averaged(runs: Sequence[Run], of: Callable[[Run], Floats]) -> Floats:
    """Return what `of` says of each prompt, the mean over the runs that tested it, (prompts,), in the order of ids.

    One prompt's values under several seeds are no independent observations; their mean is one.
    """
    _, prompt = np.unique(np.concatenate([run.test.request_ids for run in runs]), return_inverse=True)
    total = np.bincount(prompt, weights=np.concatenate([of(run) for run in runs]))
    return np.asarray(total / np.bincount(prompt))


def prompts(runs: Sequence[Run]) -> NDArray[np.str_]:
    """Return the ids of the tested prompts in the order of `averaged`."""
    return np.unique(np.concatenate([run.test.request_ids for run in runs]))


def report(runs: Sequence[Run], ratios: Sequence[float]) -> dict[str, Any]:
    """Return the numbers of all runs, pooled over their test prompts; `_low` is a one-sided 95% bound."""
    names = runs[0].test.candidates
    gain = Gain.of(averaged(runs, lambda r: r.won - r.single))
    knn = Gain.of(averaged(runs, lambda r: r.near - r.single))
    versus = Gain.of(averaged(runs, lambda r: r.won - r.near))
    frontiers = [Frontier.of(r.test.quality, r.cost, r.expected, r.expected_cost, r.best_single) for r in runs]
    quality, expected = np.concatenate([r.test.quality for r in runs]), np.concatenate([r.expected for r in runs])
    result: dict[str, Any] = {
        "n_train": int(np.mean([r.about["n_train"] for r in runs])),
        "n_test": gain.n,
        "candidates": list(names),
        "best_single": [names[r.best_single] for r in runs] if len(runs) > 1 else names[runs[0].best_single],
        "best_single_value": float(averaged(runs, lambda r: r.single).mean()),
        "value": float(averaged(runs, lambda r: r.won).mean()),
        "gain": gain.mean,
        "gain_se": gain.se,
        "gain_low": gain.lower(ONE_SIDED),
        "knn_gain": knn.mean,
        "knn_gain_se": knn.se,
        "versus_knn": versus.mean,
        "versus_knn_se": versus.se,
        "versus_knn_low": versus.lower(ONE_SIDED),
        "oracle_value": float(averaged(runs, lambda r: r.test.quality.max(axis=1)).mean()),
        "save_at": {f"{ratio:.2f}": _saved(runs, frontiers, ratio) for ratio in ratios},
        "zero_router_save_at": {f"{r:.2f}": _mean([f.zero_router(r) for f in frontiers]) for r in ratios},
        "auc": _mean([auc(r.test.quality, r.expected) for r in runs]),
        "brier": brier(quality, expected),
        "ece": ece(quality, expected),
    }
    for key in ("train_seconds", "bundle_bytes", "route_p50_ms"):
        result[key] = _mean([r.about[key] for r in runs])
    for key in ("bundle_sha256", "encoder", "margin", "fit", "cv"):
        result[key] = [r.about[key] for r in runs] if len(runs) > 1 else runs[0].about[key]
    if len(names) == 2:
        pairs = [_pair(r) for r in runs]
        result |= {key: _mean([getattr(p, key) for p in pairs]) for key in ("apgr", "cpt50", "cpt80")}
    seeds = sorted({r.seed for r in runs})
    if len(seeds) > 1:
        result["by_seed"] = {str(seed): _brief([r for r in runs if r.seed == seed], ratios) for seed in seeds}
    return result


def _brief(runs: Sequence[Run], ratios: Sequence[float]) -> dict[str, Any]:
    """Return what is wanted of each seed alone."""
    whole = report(runs, ratios)
    kept = {
        ratio: {key: point[key] for key in ("achieved_ratio", "achieved_ratio_se", "saving")} if point else None
        for ratio, point in whole["save_at"].items()
    }
    return {key: whole[key] for key in ("gain", "knn_gain", "versus_knn", "ece")} | {"save_at": kept}


def _pair(one: Run) -> Any:
    strong, weak = one.best_single, 1 - one.best_single
    quality, lead = one.test.quality, one.expected[:, strong] - one.expected[:, weak]
    return pair(quality[:, weak], quality[:, strong], lead)


def _saved(runs: Sequence[Run], frontiers: Sequence[Frontier], ratio: float) -> dict[str, Any] | None:
    """Return what the operating point for a ratio kept and saved; None where nothing is priced."""
    if any(ratio not in r.points or np.isnan(r.cost).any() for r in runs):
        return None
    won = averaged(runs, lambda r: earned(r.test.quality, r.points[ratio][1]))
    paid = averaged(runs, lambda r: earned(r.cost, r.points[ratio][1]))
    due = averaged(runs, lambda r: np.asarray(r.cost[:, r.best_single]))
    kept, spent = paired_ratio(won, averaged(runs, lambda r: r.single)), paired_ratio(paid, due)
    prices = [r.points[ratio][0] for r in runs]
    return {
        "lambda": prices if len(prices) > 1 else prices[0],
        "achieved_ratio": kept.mean,
        "achieved_ratio_se": kept.se,
        "saving": 1 - spent.mean,
        "saving_ci": [1 - spent.mean - 1.96 * spent.se, 1 - spent.mean + 1.96 * spent.se],
        "hindsight_saving": _mean([f.hindsight(ratio) for f in frontiers]),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
