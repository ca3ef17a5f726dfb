"""Logs of simulated requests whose truth is known for every candidate."""

from dataclasses import dataclass

import numpy as np

from features.table import Table

M = 3


@dataclass(frozen=True)
class World:
    """A log, and what nobody who reads it knows."""

    table: Table
    features: np.ndarray
    chances: np.ndarray
    mean: np.ndarray
    """(n, m) Expected quality."""
    target: np.ndarray


def world(rng, n, *, epsilon=0.4, known=True, hidden=1.0, sessions=None) -> World:
    """Draw a log of softmax choices by visible features; `hidden` moves the last candidate's odds by its outcome."""
    features = rng.normal(size=(n, 4))
    mean = np.clip(0.6 + 0.1 * np.arange(M) / M + 0.15 * features[:, :1], 0.05, 0.95)
    outcome = (rng.uniform(size=(n, M)) < mean).astype(float)
    chances = np.exp(0.7 * features[:, 1:]) / np.exp(0.7 * features[:, 1:]).sum(axis=1, keepdims=True)
    chances = (1 - epsilon) * chances + epsilon / M
    true = chances.copy()
    if hidden > 1:
        last = chances[:, -1] / (1 - chances[:, -1]) * np.where(outcome[:, -1] == 1, hidden, 1 / hidden)
        true[:, -1] = last / (1 + last)
        true[:, :-1] *= (1 - true[:, -1:]) / (1 - chances[:, -1:])
    served = (true.cumsum(axis=1)[:, :-1] < rng.uniform(size=(n, 1))).sum(axis=1)
    at = (np.arange(n), served)
    quality, cost = np.full((n, M), np.nan), np.full((n, M), np.nan)
    quality[at] = outcome[at]
    cost[at] = (0.001 * (1 + np.arange(M)) * np.exp(0.2 * features[:, :1]))[at]
    ids = np.array([f"r{i}" for i in range(n)])
    table = Table(
        candidates=("cheap", "middle", "dear"), request_ids=ids, texts=tuple(f"prompt {i}" for i in range(n)),
        at=np.datetime64("2026-01-01", "us") + np.arange(n).astype("timedelta64[s]"),
        sessions=ids if sessions is None else sessions, input_tokens=np.full(n, 10.0), quality=quality, cost_usd=cost,
        latency_ms=np.full((n, M), np.nan), output_tokens=np.full((n, M), np.nan), served=served,
        propensity=chances[at] if known else np.full(n, np.nan), probed=np.zeros(n, dtype=bool),
    )  # fmt: skip
    target = np.eye(M)[np.where(features[:, 0] > 0, 0, 2)]
    return World(table, features, chances, mean, target)


def truth(seed=0, n=400_000) -> float:
    """The value of the target, over requests without end."""
    drawn = world(np.random.default_rng(seed), n)
    return float((drawn.target * drawn.mean).sum(axis=1).mean())
