"""The figures of a usage benchmark: predicted lengths, latencies and costs beside what came true, as data and lines."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.table import Table
from models.usage_metrics import Ratio, by_request, covered, pinball, r2_log, typical, usual

Floats = NDArray[np.float64]
MICRO = 0.51e-6


@dataclass(frozen=True, slots=True)
class Foretold:
    """What decisions said of the cost, the latency and the length of every candidate's answer, each (n, m)."""

    output_tokens: Floats
    output_tokens_quantiles: Floats
    """(quantiles, n, m)"""
    latency_ms: Floats
    latency_ms_quantiles: Floats
    cost_usd: Floats
    cost_usd_ends: Floats
    """(2, n, m) Of the 90% interval."""


def amount(
    observed: Floats, said: Floats, quantiles: Floats, fold: NDArray[np.int64], table: Table
) -> dict[str, Any] | None:
    """Return the figures of an amount (n, m) that was foretold; None where it was never observed.

    R² of the logarithm is that of the mean logarithm which the quantiles speak of, around the grand mean (beside each
    model's own mean, the median and the predicted mean) and around each model's own mean. Standard errors are over
    prompts.
    """
    usually, mean = usual(observed, fold)
    loss, beside = pinball(observed, quantiles), pinball(observed, usually)
    known = np.isfinite(loss).all(axis=0) & np.isfinite(beside).all(axis=0)
    if not known.any():
        return None
    loss, beside = (np.where(known, values, np.nan) for values in (loss, beside))
    ratio = Ratio.of(by_request(loss), by_request(beside))
    inside = covered(observed, quantiles)
    each = np.array([np.nanmean(column) if np.isfinite(column).any() else np.nan for column in inside.T])
    worst = int(np.nanargmax(np.abs(each - 0.9)))
    grand = np.full(observed.shape, float(np.log(np.maximum(observed[known], 1e-3)).mean()))
    cells = int(np.isfinite(inside).sum())
    return {
        "pinball": float(np.nanmean(loss)),
        "pinball_per_model": float(np.nanmean(beside)),
        "pinball_ratio": ratio.value,
        "pinball_ratio_se": ratio.se,
        "pinball_ratio_by_quantile": [
            Ratio.of(by_request(mine), by_request(theirs)).value for mine, theirs in zip(loss, beside, strict=True)
        ],
        "coverage": float(np.nanmean(inside)),
        "coverage_interval": wilson(float(np.nansum(inside)), cells),
        "coverage_per_model": float(np.nanmean(covered(observed, usually))),
        "worst_coverage": {"model": table.candidates[worst], "coverage": float(each[worst])},
        "coverage_by_model": dict(zip(table.candidates, each.tolist(), strict=True)),
        "mean_width": float(np.mean((quantiles[-1] - quantiles[0])[known])),
        "mean_width_per_model": float(np.mean((usually[-1] - usually[0])[known])),
        "r2_log": r2_log(observed, typical(quantiles), grand),
        "r2_log_of_median": r2_log(observed, quantiles[1], grand),
        "r2_log_of_mean": r2_log(observed, said, grand),
        "r2_log_per_model_mean": r2_log(observed, np.exp(mean), grand),
        "r2_log_against_per_model_mean": r2_log(observed, typical(quantiles), mean),
        "total_ratio": float(said[known].sum() / observed[known].sum()),
    }


def costs(table: Table, said: Foretold) -> dict[str, Any] | None:
    """Return predicted by actual cost, in total and for each model, and how often the 90% interval holds it."""
    known = np.isfinite(table.cost_usd) & np.isfinite(said.cost_usd)
    if not known.any():
        return None
    mine, true = (np.where(known, values, 0.0) for values in (said.cost_usd, table.cost_usd))
    ratio = Ratio.of(by_request(mine), by_request(true))
    # Outcome tables round a cost to the microdollar, which is no miss.
    ends = said.cost_usd_ends + np.array([-MICRO, MICRO])[:, None, None]
    return {
        "total_ratio": ratio.value,
        "total_ratio_se": ratio.se,
        "total_ratio_by_model": dict(
            zip(table.candidates, (mine.sum(axis=0) / np.where(known.any(axis=0), true.sum(axis=0), np.nan)).tolist(),
                strict=True)
        ),
        "coverage": float(np.nanmean(covered(table.cost_usd, ends))),
        # A router has the text alone, and takes a token for four characters.
        "input_tokens_ratio": float(sum(map(len, table.texts)) / 4 / np.nansum(table.input_tokens)),
    }  # fmt: skip


def wilson(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95% interval of a share (Wilson 1927).

    >>> [round(end, 3) for end in wilson(90, 100)]
    [0.826, 0.945]
    """
    share = hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures as lines that a person wants to read."""
    yield (
        f"{result['train']}: {result['n']:,} prompts, {len(result['candidates'])} models, {result['folds']} folds; "
        f"latencies from {result['latency_source']}"
    )
    for name, unit in (("output_tokens", "tokens"), ("latency_ms", "ms")):
        known = result[name]
        if known is None:
            yield f"{unit}: never observed"
            continue
        low, high = known["coverage_interval"]
        by = ", ".join(f"{ratio:.3f}" for ratio in known["pinball_ratio_by_quantile"])
        yield (
            f"{unit}: pinball {known['pinball']:.2f}, {known['pinball_ratio']:.4f} ± {known['pinball_ratio_se']:.4f} "
            f"of the models' own quantiles' {known['pinball_per_model']:.2f} (at 5%, 50%, 95%: {by})"
        )
        yield (
            f"    90% interval: covers {known['coverage']:.4f} [{low:.4f}, {high:.4f}], worst "
            f"{known['worst_coverage']['coverage']:.3f} ({known['worst_coverage']['model']}); mean width "
            f"{known['mean_width']:.0f}, of the models' own quantiles {known['mean_width_per_model']:.0f}"
        )
        yield (
            f"    R² of the logarithm: {known['r2_log']:.4f}, per-model mean {known['r2_log_per_model_mean']:.4f}; "
            f"against the per-model mean {known['r2_log_against_per_model_mean']:.4f}; "
            f"predicted / observed total {known['total_ratio']:.4f}"
        )
    cost = result["cost_usd"]
    if cost is None:
        yield "cost: no model is priced"
    else:
        yield (
            f"cost: predicted / actual total {cost['total_ratio']:.4f} ± {cost['total_ratio_se']:.4f}; "
            f"the 90% interval covers {cost['coverage']:.4f}; "
            f"input tokens, taken for characters / 4: {cost['input_tokens_ratio']:.4f} of those counted"
        )
