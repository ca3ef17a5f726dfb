"""How follow-ups are learned: what became of those that could have been fetched in a cache that was not warmed."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.demand import Demand, windows
from features.demand_tally import Tally
from features.followups import FollowUps
from models.warmers.coming import Coming
from models.warmers.following import LATELY, Brought, Follower, Triggers, columns, rates, triggers
from models.warmers.held import Held
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import Warmer

Floats = NDArray[np.float64]

FEWEST = 100
"""Follow-ups, by their worth, below which nothing is learned."""
ROWS = 100_000
"""Follow-ups that are learned from at most."""


def fit(demand: Demand, warmer: Warmer, settings: WarmerSettings, seed: int) -> Follower | None:
    """Return what follow-ups are worth beside the warmer's plans, or None where too few were seen.

    In each window the table knows what came before it, as in service.
    """
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    table = FollowUps(settings.follow_after, settings.follow_within)
    tally, held, coming = Tally(demand.tenant, settings.window_seconds), Held(demand, settings), Coming(demand)
    every = list(windows(demand, settings.window_seconds))
    known = demand.at[-1] - settings.ttl_seconds if len(demand) else 0.0
    rng = np.random.default_rng(seed)
    scores, lefts, weights, found, own, requests = [], [], [], [], [], []
    for number, window in enumerate(every):
        held.begin(window)
        if number >= len(every) // 8 and window.start <= known:
            due = held.due(tally, window)
            score = warmer.score(tally, due)
            # Plans end among the best; of the many others a part stands for all.
            order = np.argsort(-score, kind="stable")
            best, others = order[: settings.candidates], order[settings.candidates :]
            some = rng.permutation(others)[: settings.candidates]
            told = np.concatenate([best, some])
            scores.append(score[told])
            lefts.append(coming.left(due[told], np.full(len(told), window.start), settings))
            weights.append(np.repeat([1.0, len(others) / max(len(some), 1)], [len(best), len(some)]))
            these = triggers(table, held, tally.total > 0, demand, window)
            of_key = np.full(demand.keys, -np.inf)
            of_key[due] = score
            found.append(these)
            own.append(of_key[these.key])
            requests.append(window.end - window.begin)
        held.serve(window)
        tally.add(demand, window)
        table.add(demand.key[window.begin : window.end], demand.at[window.begin : window.end])
    if not sum(len(one) for one in scores) or not sum(len(one.key) for one in found):
        return None
    line = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
        np.concatenate(scores), np.concatenate(lefts), np.concatenate(weights)
    )  # fmt: skip
    levels, worths = line.X_thresholds_, line.y_thresholds_
    pooled = Triggers(*(np.concatenate([getattr(one, name) for one in found]) for name in Triggers.__slots__))
    left = coming.left(pooled.key, pooled.at, settings)
    seen = columns(pooled.share, pooled.support, np.interp(np.concatenate(own), levels, worths))
    drawn = rng.permutation(len(left))[:ROWS]
    if left[drawn].sum() < FEWEST or (1 - left[drawn]).sum() < FEWEST:
        return None
    # A share of a life is as much of a success: each row is both, weighted.
    both = LogisticRegression(C=1.0).fit(
        np.concatenate([seen[drawn], seen[drawn]]), np.repeat([1, 0], len(drawn)),
        np.concatenate([left[drawn], 1 - left[drawn]]),
    )  # fmt: skip
    if both.coef_[0, 0] <= 0:
        return None
    follower = Follower(
        settings.follow_after, settings.follow_within, tuple(levels.tolist()), tuple(worths.tolist()),
        (*both.coef_[0].tolist(), float(both.intercept_[0])), (),
    )  # fmt: skip
    return replace(follower, expected=rates([
        Brought.of(n, one.key, follower.worth(one.share, one.support, p), p)
        for n, one, p in zip(requests[-LATELY:], found[-LATELY:], map(follower.planned, own[-LATELY:]), strict=True)
    ]))  # fmt: skip
