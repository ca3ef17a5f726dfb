"""The numbers of the selector benchmark, pooled over its runs."""

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Run:
    """One training and what it did on its test prompts."""

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


def report(runs: Sequence[Run], ratios: Sequence[float]) -> dict[str, Any]:
    """Return the numbers of all runs, pooled over their test prompts."""
    names = runs[0].test.candidates

    def pooled(of: Any) -> Any:
        return np.concatenate([of(r) for r in runs])

    quality, expected = pooled(lambda r: r.test.quality), pooled(lambda r: r.expected)
    won = pooled(lambda r: earned(r.test.quality, r.choice))
    single = pooled(lambda r: r.test.quality[:, r.best_single])
    near = pooled(lambda r: earned(r.test.quality, r.neighbours))
    gain, knn, versus = Gain.of(won - single), Gain.of(near - single), Gain.of(won - near)
    frontiers = [Frontier.of(r.test.quality, r.cost, r.expected, r.expected_cost, r.best_single) for r in runs]
    result: dict[str, Any] = {
        "n_train": int(np.mean([r.about["n_train"] for r in runs])),
        "n_test": len(won),
        "candidates": list(names),
        "best_single": [names[r.best_single] for r in runs] if len(runs) > 1 else names[runs[0].best_single],
        "best_single_value": float(single.mean()),
        "value": float(won.mean()),
        "gain": gain.mean,
        "gain_se": gain.se,
        "knn_gain": knn.mean,
        "knn_gain_se": knn.se,
        "versus_knn": versus.mean,
        "versus_knn_se": versus.se,
        "oracle_value": float(quality.max(axis=1).mean()),
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
    return result


def _pair(one: Run) -> Any:
    strong, weak = one.best_single, 1 - one.best_single
    quality, lead = one.test.quality, one.expected[:, strong] - one.expected[:, weak]
    return pair(quality[:, weak], quality[:, strong], lead)


def _saved(runs: Sequence[Run], frontiers: Sequence[Frontier], ratio: float) -> dict[str, Any] | None:
    """Return what the operating point for a ratio kept and saved; None where nothing is priced."""
    if any(ratio not in r.points or np.isnan(r.cost).any() for r in runs):
        return None
    won = np.concatenate([earned(r.test.quality, r.points[ratio][1]) for r in runs])
    held = np.concatenate([r.test.quality[:, r.best_single] for r in runs])
    paid = np.concatenate([earned(r.cost, r.points[ratio][1]) for r in runs])
    due = np.concatenate([r.cost[:, r.best_single] for r in runs])
    kept, spent = paired_ratio(won, held), paired_ratio(paid, due)
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
