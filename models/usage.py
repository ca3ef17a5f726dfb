"""How long answers are and how long they take: robust fits, a candidate at a time."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from beastmode.scoring import QUANTILES, Usage
from features.table import Table
from models.spread import Groups

Floats = NDArray[np.float64]
Amounts = tuple[Floats, Floats, Floats, Floats]
"""Mean output tokens and latency, (n, m), and the quantiles of both, (quantiles, n, m)."""

FEW = 20
"""Observations under which a candidate's latency is not fitted to its tokens."""
HELD = 50.0
"""Observations that the loadings of the shared factors count for."""
HAIR = 1e-9
SHARED = 200
"""Requests whose answers were counted for every candidate, under which lengths share no factor but the level."""


def fit_usage(table: Table, spoken: Floats | None = None, loadings: Floats | None = None) -> Usage:
    """Fit output tokens and latency of each candidate, and the quantiles of both.

    `spoken` (n, factors) are out-of-fold predictions of the factors that lengths share, `loadings` (m, factors) what a
    unit of each adds to log(output tokens) as long as few answers say otherwise; without them every request is
    expected to be answered at the candidate's usual length. A candidate whose tokens or latency were never observed is
    predicted as NaN.
    """
    n, m = table.quality.shape
    if spoken is None or loadings is None:
        spoken, loadings = np.zeros((n, 0)), np.zeros((m, 0))
    log = np.log(np.maximum(table.output_tokens, 1.0))
    offset, slope = _lines(log, spoken, loadings)
    place = offset + spoken @ slope.T
    groups = Groups.of(place, int(np.isfinite(log).sum()))
    # First as they lie, which keeps the whole numbers of terse candidates whole; then carried along as they rise.
    lengths = groups.knots[:, :, None] + groups.quantiles(log - place, np.zeros((*groups.knots.shape, len(QUANTILES))))
    lengths = groups.knots[:, :, None] + groups.quantiles(log - place, groups.rise(lengths))
    knots, told = _reaching(groups, place, _means(table.output_tokens, place, groups), lengths)
    latency = np.array([_latency(table, column) for column in range(m)]).reshape(m, 3).T
    late = np.zeros((*knots.shape, len(QUANTILES)))

    def usage() -> Usage:
        return Usage(offset, slope, latency[0], latency[1], latency[2], knots, np.concatenate([told, late], axis=2))

    # Predicted and observed totals agree: an invoice is a sum.
    told[:, :, 0] += _shortfall(table.output_tokens, usage().predict(spoken, table.expected_tokens)[0])[:, None]
    expected = np.maximum(usage().predict(spoken, table.expected_tokens)[1], 1e-3)
    ratio = np.log(np.maximum(table.latency_ms, 1e-3) / expected)
    late[:, 1:-1] = groups.quantiles(ratio, np.ones_like(lengths))
    late[:, [0, -1]] = late[:, [1, -2]]
    return usage()


def usual_amounts(table: Table) -> Amounts:
    """Return what is told of every request alike: (m,), (m,), (quantiles, m), (quantiles, m)."""
    typical = np.nan_to_num(np.array([table.expected_tokens.mean()]))
    told = fit_usage(table).predict(np.zeros((1, 0)), typical)
    return told[0][0], told[1][0], told[2][:, 0], told[3][:, 0]


def crossed_usage(
    table: Table, fold: NDArray[np.int64], spoken: Floats | None = None, loadings: Floats | None = None
) -> Amounts:
    """Return what is told of each request by a fit without its fold; what only its own fold knows, by a fit of all."""
    nothing = np.zeros((len(table), 0))
    words = nothing if spoken is None else spoken
    found = fit_usage(table, spoken, loadings).predict(words, table.expected_tokens)
    for held in range(int(fold.max()) + 1):
        inside = fold == held
        if inside.all():
            continue
        usage = fit_usage(table.take(~inside), None if spoken is None else spoken[~inside], loadings)
        others = usage.predict(words[inside], table.expected_tokens[inside])
        for whole, part in zip(found, others, strict=True):
            whole[..., inside, :] = np.where(np.isfinite(part), part, whole[..., inside, :])
    return found


def length_factors(tokens: Floats, rank: int) -> tuple[Floats, Floats]:
    """Return the factors that the lengths of answers share, (n, factors), NaN where unknown, and loadings (m, factors).

    The first is a request's mean deviation of log(output tokens) from its candidates' means, which may be known of
    requests that few candidates answered. The others, at most `rank`, are the directions in which the deviations from
    it differ most between candidates, on the requests that every candidate with known lengths answered.
    """
    seen = np.isfinite(tokens)
    log = np.where(seen, np.log(np.maximum(np.nan_to_num(tokens, nan=1.0), 1.0)), 0.0)
    deviation = np.where(seen, log - log.sum(axis=0) / np.maximum(seen.sum(axis=0), 1), 0.0)
    known = seen.any(axis=1)
    level = np.where(known, deviation.sum(axis=1) / np.maximum(seen.sum(axis=1), 1), np.nan)
    several = seen.sum(axis=1) > 1
    common = seen[several].mean(axis=0) >= 0.5 if several.any() else np.zeros(tokens.shape[1], dtype=bool)
    whole = several & seen[:, common].all(axis=1)
    ones = np.ones((tokens.shape[1], 1))
    if whole.sum() < SHARED or common.sum() < 2:
        return level[:, None], ones
    apart = deviation[np.ix_(whole, common)]
    _, size, right = np.linalg.svd(apart - apart.mean(axis=1, keepdims=True), full_matrices=False)
    rank = min(rank, int(common.sum()) - 1, int((size > 1e-6 * np.sqrt(apart.size)).sum()))
    loadings = np.zeros((tokens.shape[1], rank))
    loadings[common] = right[:rank].T
    factors = np.where(whole[:, None], deviation @ loadings, np.nan)
    return np.concatenate([level[:, None], factors], axis=1), np.concatenate([ones, loadings], axis=1)


def _lines(log: Floats, spoken: Floats, loadings: Floats) -> tuple[Floats, Floats]:
    """Return each candidate's offset (m,) and slopes (m, factors), these held to its loadings."""
    offset, slope = np.zeros(len(loadings)), loadings.copy()
    for column, values in enumerate(log.T):
        seen = np.isfinite(values)
        if not seen.any():
            continue
        words, y = spoken[seen], values[seen]
        centred = words - words.mean(axis=0)
        gram = centred.T @ centred
        held = HELD / len(y) * np.diag(np.diag(gram)) + 1e-9 * np.eye(len(gram))
        slope[column] = np.linalg.solve(gram + held, centred.T @ (y - y.mean()) + held @ loadings[column])
        offset[column] = y.mean() - words.mean(axis=0) @ slope[column]
    return offset, slope


def _means(tokens: Floats, place: Floats, groups: Groups) -> Floats:
    """Return log(mean output tokens) in every group, (m, k), held to what is usual for the candidate."""
    found = np.full(groups.knots.shape, np.nan)
    middle = np.exp(place)
    for column in np.flatnonzero(np.isfinite(tokens).any(axis=0)).tolist():
        seen = np.isfinite(tokens[:, column])
        # The ratio of sums smears (Duan 1983) and weighs by tokens at once.
        usual = max(tokens[seen, column].sum(), 1.0) / middle[seen, column].sum()
        for group, inside in enumerate(groups.each(column)):
            both = inside & seen
            lent = FEW * np.exp(groups.knots[column, group])
            ratio = (tokens[both, column].sum() + lent * usual) / (middle[both, column].sum() + lent)
            found[column, group] = groups.knots[column, group] + np.log(ratio)
    return found


def _reaching(groups: Groups, place: Floats, means: Floats, lengths: Floats) -> tuple[Floats, Floats]:
    """Return knots (m, k + 2) and what is told of lengths there, (m, k + 2, 1 + quantiles), out to all places seen.

    Beyond the outer groups' means each goes on as it went between the last two.
    """
    # A hair outwards: a quantile at a whole number of tokens includes it, whatever the last bit of an exponential is.
    told = np.concatenate([means[:, :, None], lengths + np.array([-HAIR, 0.0, HAIR])], axis=2)
    ends = np.stack([place.min(axis=0), place.max(axis=0)], axis=1)
    beyond = (ends - groups.knots[:, [0, -1]])[:, :, None]
    outer = told[:, [0, -1]] + groups.rise(told)[:, [0, -1]] * beyond
    return (
        np.concatenate([ends[:, :1], groups.knots, ends[:, 1:]], axis=1),
        np.concatenate([outer[:, :1], told, outer[:, 1:]], axis=1),
    )


def _shortfall(tokens: Floats, said: Floats) -> Floats:
    """Return the logarithm of observed over predicted totals, (m,); zero where nothing was observed."""
    seen = np.isfinite(tokens)
    there, told = np.where(seen, tokens, 0.0).sum(axis=0), np.where(seen, said, 0.0).sum(axis=0)
    return np.where(seen.any(axis=0), np.log(np.maximum(there, 1.0) / np.maximum(told, 1e-9)), 0.0)


def _latency(table: Table, column: int) -> tuple[float, float, float]:
    """Fit base, per output token and per input token, none negative, by relative errors without the worst tenth."""
    latency, tokens = table.latency_ms[:, column], table.output_tokens[:, column]
    seen = np.isfinite(latency)
    if not seen.any():
        return np.nan, 0.0, 0.0
    counted = seen & np.isfinite(tokens)
    if counted.sum() < FEW:
        return float(np.median(latency[seen])), 0.0, 0.0
    y = np.maximum(latency[counted], 1e-3)
    x = np.stack([np.ones_like(y), tokens[counted], table.expected_tokens[counted]], axis=1)
    x[:, 2] = np.nan_to_num(x[:, 2])
    keep, fitted = np.ones(len(y), dtype=bool), np.zeros(3)
    for _ in range(3):
        fitted, _residual = nnls(x[keep] / y[keep, None], np.ones(int(keep.sum())))
        error = np.abs(x @ fitted / y - 1)
        keep = error <= np.quantile(error, 0.9)
    # Relative least squares leans low; one factor puts the kept total right.
    fitted = fitted * (y[keep].sum() / max(float((x[keep] @ fitted).sum()), 1e-9))
    return float(fitted[0]), float(fitted[1]), float(fitted[2])
