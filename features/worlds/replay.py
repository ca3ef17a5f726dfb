"""An outcome table asked again as traffic: arrivals, a logging policy with known propensities, late feedback."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from beastmode.candidates import Candidate
from beastmode.policies import EpsilonGreedy
from features.table import Floats, Table
from features.worlds.calls import Truth, log
from features.worlds.latency import Hosts, assumed, draw
from features.worlds.traffic import arrivals, drifting, moments, sessions
from features.worlds.world import World

Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSettings:
    """How a log is made of known outcomes."""

    requests: Annotated[int, Ge(1)] | None = None
    """Stop after so many; every prompt once, and its repeats, where it is None."""
    start: str = "2025-01-06T00:00:00+00:00"
    span_days: Annotated[float, Gt(0)] = 28.0
    policy: Literal["default", "length"] = "default"
    """Ask one candidate, or the dearest where the prompt is long and the cheapest where it is short."""
    default: str | None = None
    """The candidate to ask; where it is None, the dearest."""
    epsilon: Share = 0.2
    """Share of draws that are uniform over the candidates."""
    probe_share: Share = 0.0
    """Share of the requests that are asked of every candidate."""
    probes: Annotated[int, Ge(0)] | None = None
    """Their number, in place of a share."""
    repeats: Share = 0.0
    """Share of the requests that repeat an earlier prompt, popular ones more often."""
    shift: Annotated[float, Ge(0)] = 0.0
    """How much the mix of subjects changes over the span; 1 is a factor of e either way."""
    failures: Annotated[float, Ge(0), Le(0.9)] = 0.02
    """Share of the calls that fail; a probe that fails is asked again."""
    feedback_share: Share = 1.0
    """Share of the served requests that are rated; probes always are."""
    feedback_lag_hours: Annotated[float, Gt(0)] = 8.0
    """Median; the lag is lognormal, hours to days."""
    tenants: Annotated[int, Ge(1)] = 4
    stay: Annotated[float, Ge(0), Le(0.95)] = 0.6
    """Probability that a request belongs to a session that is open already."""
    shuffled: bool = False
    """Permute each candidate's scores over the prompts: a twin world in which no routing can help."""
    strip_decisions: bool = False
    """Leave out what the policy decided and with what probability, as logs of other routers do."""

    def __post_init__(self) -> None:
        begin(self)


def begin(settings: WorldSettings) -> datetime:
    """Return the moment at which a world starts; raises ValueError where it is no moment."""
    try:
        start = datetime.fromisoformat(settings.start)
    except ValueError as error:
        raise ValueError(f"world: start = {settings.start!r} is no moment in ISO 8601") from error
    return start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)


def replay(
    outcomes: Table,
    candidates: Sequence[Candidate],
    settings: WorldSettings,
    seed: int,
    *,
    subjects: Sequence[str] | None = None,
    gaps: NDArray[np.float64] | None = None,
    hosts: Hosts | None = None,
) -> World:
    """Return a log of an outcome table, and its truth.

    `outcomes` holds every candidate's outcome for every prompt, `candidates` its columns with their prices in the
    same order; `subjects` (a label a row, which no log ever shows) drives `shift`; `gaps` are a trace's times between
    arrivals; `hosts` draw latencies where the outcomes have none. Raises ValueError where they do not fit together.
    """
    names = tuple(candidate.name for candidate in candidates)
    if names != outcomes.candidates:
        raise ValueError(f"world: candidates {', '.join(names)} are not the outcomes' {', '.join(outcomes.candidates)}")
    if np.isnan(outcomes.quality).any():
        raise ValueError("world: the outcome of some candidate is missing; take the prompts that all have answered")
    rng = np.random.default_rng(seed)
    rows = _requests(outcomes, subjects, settings, rng)
    truth = outcomes.take(rows)
    if settings.shuffled:
        twin = np.stack([rng.permutation(outcomes.quality[:, j]) for j in range(len(names))], axis=1)
        truth = replace(truth, quality=twin[rows])
    days = arrivals(len(rows), settings.span_days, gaps, rng)
    at = moments(begin(settings), days)
    truth = _priced(truth, candidates)
    hours = np.array([moment.hour + moment.minute / 60 for moment in at])
    tokens = np.where(np.isnan(truth.output_tokens), 200.0, truth.output_tokens)
    drawn, first = draw(hosts or assumed(len(names), rng), tokens, hours, rng)
    latency = np.where(np.isnan(truth.latency_ms), drawn, truth.latency_ms)
    probabilities = _policy(truth, candidates, settings)
    u = rng.random(len(rows))[:, None]
    served = np.minimum((np.cumsum(probabilities, axis=1) < u).sum(axis=1), len(names) - 1)
    session = sessions(len(rows), settings.stay, rng)
    ids = [identity("request", seed, i) for i in range(len(rows))]
    probed = _probed(len(rows), settings, rng)
    truth = replace(
        truth,
        request_ids=np.array(ids, dtype=str),
        at=np.array([moment.replace(tzinfo=None) for moment in at], dtype="datetime64[us]"),
        sessions=np.array([f"session-{number:06d}" for number in session], dtype=str),
        latency_ms=latency,
        served=served,
        propensity=probabilities[np.arange(len(rows)), served],
        probed=probed,
    )
    tenant = [f"tenant-{number % settings.tenants}" for number in session.tolist()]
    known = Truth(table=truth, at=at, ttft_ms=np.minimum(first, latency), probabilities=probabilities, tenants=tenant)
    interactions, feedback = log(known, settings, seed, rng)
    return World(interactions=interactions, feedback=feedback, truth=truth, candidates=tuple(candidates))


def identity(kind: str, seed: int, number: int | str) -> str:
    """Return an id that depends on nothing but its arguments."""
    return hashlib.sha256(f"{kind}\0{seed}\0{number}".encode()).hexdigest()[:24]


def _requests(
    outcomes: Table, subjects: Sequence[str] | None, settings: WorldSettings, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return which prompt each request asks, in order of arrival."""
    if subjects is not None and len(subjects) != len(outcomes):
        raise ValueError(f"world: {len(subjects)} subjects for {len(outcomes)} prompts; give one each")
    order = drifting(subjects or [""] * len(outcomes), settings.shift, rng)
    if settings.repeats:
        # A request repeats an earlier prompt; the n-th most popular is asked in proportion to 1/n.
        total = round(len(order) / (1 - min(settings.repeats, 0.95)))
        fresh = np.zeros(total, dtype=bool)
        fresh[np.concatenate([[0], 1 + rng.permutation(total - 1)[: len(order) - 1]])] = True
        asked = np.cumsum(fresh)
        rank = np.floor(asked ** rng.random(total)).astype(np.int64)
        order = order[np.where(fresh, asked - 1, np.minimum(rank, asked) - 1)]
    return order[: settings.requests] if settings.requests is not None else order


def _priced(truth: Table, candidates: Sequence[Candidate]) -> Table:
    """Return the truth with what the catalogue charges where the outcomes hold no cost."""
    cost = truth.cost_usd.copy()
    for j, candidate in enumerate(candidates):
        for i in np.flatnonzero(np.isnan(cost[:, j])):
            tokens = truth.output_tokens[i, j]
            usd = candidate.price.cost_usd(float(truth.input_tokens[i]), 0.0 if np.isnan(tokens) else float(tokens))
            cost[i, j] = np.nan if usd is None else usd
    return replace(truth, cost_usd=cost)


def _policy(truth: Table, candidates: Sequence[Candidate], settings: WorldSettings) -> Floats:
    """Return P(candidate | request) of the logging policy, (n, m)."""
    names = truth.candidates
    mean = np.array([np.nanmean(c) if not np.isnan(c).all() else -1.0 for c in truth.cost_usd.T])
    if settings.default is not None and settings.default not in names:
        raise ValueError(f"world: default = {settings.default!r} is no candidate; there are {', '.join(names)}")
    dearest = names.index(settings.default) if settings.default is not None else int(np.argmax(mean))
    wish = np.zeros((len(truth), len(names)))
    if settings.policy == "length":
        chars = np.array([len(text) for text in truth.texts])
        wish[np.arange(len(truth)), np.where(chars > np.median(chars), dearest, int(np.argmin(mean)))] = 1
    else:
        wish[:, dearest] = 1
    return EpsilonGreedy(settings.epsilon).probabilities(wish, np.ones(wish.shape, dtype=bool))


def _probed(n: int, settings: WorldSettings, rng: np.random.Generator) -> NDArray[np.bool_]:
    wanted = settings.probes if settings.probes is not None else round(n * settings.probe_share)
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[:wanted]] = True
    return chosen
