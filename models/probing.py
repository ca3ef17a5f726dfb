"""Choose which requests to ask of which candidates: the most expected gain in policy value for each dollar.

Two kinds of requests leave a plan. *Random* ones are drawn by lot and asked of every candidate: they alone are evidence
for the gate, for nothing about them was looked at. *Planned* ones come up by traffic, the better half of them by gain a
dollar is asked, and each is asked of those candidates alone that may be the best for it.
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from scipy.special import ndtr

from models.probing_beliefs import Beliefs, Features, fit, noise, quadratic

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Kind = Literal["random", "planned"]

FEW = 30
"""Requests that several candidates answered, under which nothing is planned: all candidates are asked, by lot."""
SAMPLE = 400
"""Requests that stand for the traffic, drawn by its weights."""
BATCH = 10
"""Planned requests between two looks at what is still uncertain."""
CHANCE = 0.05
"""The chance of being better than a request's leader under which a candidate is not asked."""
CHOICE = 2
"""Requests that are drawn for each that is asked, the best by gain a dollar."""


@dataclass(frozen=True, slots=True)
class Planning:
    """How much a plan may ask."""

    budget_usd: Annotated[float, Ge(0)]
    """Of expected cost."""
    requests: Annotated[int, Ge(1)]
    random_share: Annotated[float, Interval(ge=0, le=1)] = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """`n` requests that may be asked of `m` candidates, and what is known so far."""

    request_ids: NDArray[np.str_]
    embedding: NDArray[np.float32]
    """(n, d)"""
    quality: Floats
    """(n, m) NaN where nobody asked."""
    price: Floats
    """(n, m) Expected US dollars of a call."""
    charge: Floats
    """(n, m) What the objective takes from quality for a call's cost."""
    traffic: Floats
    """(n,) How often each request is asked."""
    askable: Flags
    """(n, m) Cells that can be asked: within limits, priced, scorable, and not answered yet."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A request to ask, and of whom."""

    row: int
    candidates: tuple[int, ...]
    kind: Kind
    inclusion: float
    """The chance that a random request had of being drawn; of a planned one the share of its kind among those left."""
    gain: float
    """Expected rise of the policy's mean value; NaN where it was not looked at."""
    usd: float
    reason: str


def plan(known: Situation, planning: Planning, names: Sequence[str], seed: int) -> tuple[Pick, ...]:
    """Return what to ask, the random requests first, within the budget of expected cost.

    The lot of a request depends on its id and the seed alone, so that the random requests of several plans are one
    sample of all requests, whatever was planned in between.
    """
    lots = np.array([lot(seed, "random", name) for name in known.request_ids.tolist()])
    purse = planning.budget_usd
    by_lot = round(planning.random_share * planning.requests)
    drawn = _drawn(known, lots, by_lot, planning.random_share * purse)
    purse -= sum(pick.usd for pick in drawn)
    taken = {pick.row for pick in drawn}
    left = planning.requests - by_lot
    open_rows = np.flatnonzero(known.askable.any(axis=1) & (known.traffic > 0))
    open_rows = open_rows[~np.isin(open_rows, list(taken))]
    order = _by_traffic(known, open_rows, seed)
    if (np.isfinite(known.quality).sum(axis=1) > 1).sum() < FEW:
        picks = _cold(known, order, left, purse, len(open_rows))
    else:
        picks = _planned(known, order, left, purse, names, seed)
    return (*drawn, *picks)


def lot(seed: int, draw: str, name: str) -> float:
    """Return a request's lot in [0, 1): uniform, and the same whenever it is drawn."""
    digest = hashlib.sha256(f"{seed}\0{draw}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _drawn(known: Situation, lots: Floats, count: int, purse: float) -> list[Pick]:
    """Return the requests of the smallest lots that can be asked of everyone and were not, up to a count and a cost."""
    answered = np.isfinite(known.quality)
    # A candidate that cannot be called at all must not keep every request from being drawn.
    there = known.askable.any(axis=0) | answered.any(axis=0)
    whole = (known.askable | answered)[:, there].all(axis=1) & known.askable.any()
    order = np.flatnonzero(whole)[np.argsort(lots[whole], kind="stable")]
    picks: list[tuple[int, int]] = []
    for rank, row in enumerate(order.tolist(), 1):
        if len(picks) >= count:
            break
        if not known.askable[row].any():
            continue
        purse -= float(known.price[row, known.askable[row]].sum())
        if purse < 0:
            break
        picks.append((rank, row))
    if not picks:
        return []
    inclusion = picks[-1][0] / len(order)
    return [
        _pick(known, row, np.flatnonzero(known.askable[row]), "random", inclusion, np.nan, "drawn by lot, asked of all")
        for _, row in picks
    ]


def _by_traffic(known: Situation, rows: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Return rows drawn one after the other with chances by their traffic (Efraimidis and Spirakis 2006)."""
    lots = np.array([lot(seed, "planned", known.request_ids[row]) for row in rows.tolist()])
    keys = np.log(np.maximum(lots, 1e-300)) / known.traffic[rows]
    return np.asarray(rows[np.argsort(-keys, kind="stable")], dtype=np.intp)


def _cold(known: Situation, order: NDArray[np.intp], count: int, purse: float, there: int) -> list[Pick]:
    picks: list[Pick] = []
    share = min(1.0, count / max(there, 1))
    why = "too little is known to choose, so everyone is asked"
    for row in order[:count].tolist():
        pick = _pick(known, row, np.flatnonzero(known.askable[row]), "planned", share, np.nan, why)
        purse -= pick.usd
        if purse < 0:
            break
        picks.append(pick)
    return picks


def _planned(
    known: Situation, order: NDArray[np.intp], count: int, purse: float, names: Sequence[str], seed: int
) -> list[Pick]:
    features = Features.of(known.embedding)
    every = features(known.embedding)
    beliefs = fit(every, known.quality)
    rng = np.random.default_rng(seed)
    sample = rng.choice(len(every), min(SAMPLE, len(every)), p=known.traffic / known.traffic.sum())
    at_stake = stakes(beliefs, every[sample], known.charge[sample])
    share = min(1.0, count / max(len(order), 1))
    picks: list[Pick] = []
    queue = deque(order.tolist())
    while len(picks) < count:
        reach = beliefs.covariance @ at_stake @ beliefs.covariance
        found: list[tuple[float, int, NDArray[np.intp], float]] = []
        while queue and len(found) < BATCH * CHOICE:
            row = queue.popleft()
            whom = _whom(known, beliefs, reach, every[row], row)
            if whom is not None:
                found.append((whom[1] / max(float(known.price[row, whom[0]].sum()), 1e-12), row, *whom))
        if not found:
            break
        found.sort(key=lambda one: -one[0])
        # Who was passed over may be drawn again, once everyone else was.
        queue.extend(row for _, row, _, _ in found[BATCH:])
        for _, row, asked, gain in found[: min(BATCH, count - len(picks))]:
            pick = _pick(known, row, asked, "planned", share, gain, _why(known, beliefs, every[row], row, names))
            purse -= pick.usd
            if purse < 0:
                return picks
            picks.append(pick)
            beliefs = beliefs.given(every[row], asked)
    return picks


def stakes(beliefs: Beliefs, features: Floats, charge: Floats) -> Floats:
    """Return what uncertainty about the weights costs: trace(stakes @ covariance) is the loss in policy value, nearly.

    Where a candidate trails the leader of a request by d with standard deviation s, a little more certainty (less
    variance) of the difference is worth half the density of its changing sign, phi(d / s) / (2 s). `features` (n, p)
    and `charge` (n, m) are of requests that stand for the traffic.
    """
    utility = beliefs.quality(features) - charge
    n, m = utility.shape
    rows, leader = np.arange(n), utility.argmax(axis=1)
    shared = beliefs.covariances(features)
    own = np.einsum("njj->nj", shared)
    variance = own + own[rows, leader][:, None] - 2 * shared[rows, leader]
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    gap = utility - utility[rows, leader][:, None]
    density = np.exp(-0.5 * (gap / deviation) ** 2) / (2 * np.sqrt(2 * np.pi) * deviation)
    density[rows, leader] = 0.0
    weights = np.zeros((n, m, m))
    weights[:, np.arange(m), np.arange(m)] = density
    weights[rows, leader, leader] = density.sum(axis=1)
    weights[rows, leader, :] -= density
    weights[rows, :, leader] -= density
    p = features.shape[1]
    found = np.zeros((m, p, m, p))
    for j in range(m):
        for other in range(m):
            found[j, :, other, :] = (features * weights[:, j, other, None]).T @ features / n
    return found.reshape(m * p, m * p)


def _whom(
    known: Situation, beliefs: Beliefs, reach: Floats, features: Floats, row: int
) -> tuple[NDArray[np.intp], float] | None:
    """Return whom to ask of a request, the leader and everyone who may overtake it, and the expected gain.

    None where nobody may, so that no answer would change who serves requests like it.
    """
    _, chance = _rivalry(known, beliefs, features, row)
    asked = np.flatnonzero(known.askable[row] & (chance >= CHANCE))
    if not (chance[asked] < 1.0).any():
        return None
    inner = beliefs.covariances(features[None])[0] + noise(len(chance))
    earned = quadratic(reach, features[None])[0]
    pair = np.ix_(asked, asked)
    return asked, float(np.trace(np.linalg.solve(inner[pair], earned[pair])))


def _rivalry(known: Situation, beliefs: Beliefs, features: Floats, row: int) -> tuple[Floats, Floats]:
    """Return how far each candidate trails the leader of a request, and the chance that it is the better, both (m,).

    The leader's chance is one.
    """
    utility = beliefs.quality(features[None])[0] - known.charge[row]
    leader = int(np.argmax(utility))
    shared = beliefs.covariances(features[None])[0]
    variance = np.diag(shared) + shared[leader, leader] - 2 * shared[leader]
    behind = utility[leader] - utility
    chance = ndtr(-behind / np.sqrt(np.maximum(variance, 1e-12)))
    chance[leader] = 1.0
    return behind, chance


def _pick(
    known: Situation, row: int, asked: NDArray[np.intp], kind: Kind, inclusion: float, gain: float, reason: str
) -> Pick:
    usd = float(known.price[row, asked].sum())
    return Pick(row, tuple(int(j) for j in asked), kind, float(inclusion), float(gain), usd, reason)


def _why(known: Situation, beliefs: Beliefs, features: Floats, row: int, names: Sequence[str]) -> str:
    """Return a sentence on who leads, who may overtake, and how likely that is."""
    behind, chance = _rivalry(known, beliefs, features, row)
    leader = int(np.argmin(behind))
    rival = int(np.argmax(np.where(np.arange(len(chance)) == leader, -1.0, chance)))
    return (
        f"{names[leader]} leads, {names[rival]} is {behind[rival]:.3f} behind and better with a chance of "
        f"{chance[rival]:.0%}; asked {known.traffic[row]:g} times"
    )
