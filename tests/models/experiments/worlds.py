"""Experiments whose truth is known, for the tests of their judges."""

from dataclasses import replace

import numpy as np

from models.experiments import Rows


def experiment(
    rng, n=8000, *, lift=0.0, dearer=1.0, slower=1.0, errors=0.0, share=0.5, per_unit=1, lost=0.0, dealt=None
):
    """Requests of n / per_unit units; the challenger's quality, cost, latency and errors differ as asked."""
    units = n // per_unit
    unit = rng.permutation(np.repeat(np.arange(units), per_unit))
    challenger = (rng.random(units) < (share if dealt is None else dealt))[unit]
    ease = np.clip(0.6 + 0.25 * rng.normal(size=units)[unit] * (per_unit > 1) + 0.2 * rng.normal(size=n), 0, 1)
    size = np.exp(rng.normal(0, 0.7, n))
    return Rows(
        arm=np.where(challenger, "challenger", "champion"),
        arm_probability=np.where(challenger, share, 1 - share) * np.ones(n),
        unit=np.array([f"u{i}" for i in unit]),
        quality=(rng.random(n) < np.clip(ease + lift * challenger, 0, 1)).astype(float),
        cost_usd=0.002 * size * np.exp(rng.normal(0, 0.5, n)) * np.where(challenger, dearer, 1.0),
        latency_ms=np.exp(rng.normal(6, 0.7, n)) * np.where(challenger, slower, 1.0),
        error=rng.random(n) < 0.01 + errors * challenger,
        refused=rng.random(n) < 0.002,
        logged=rng.random(n) >= lost * challenger,
        expected={"quality": ease, "cost_usd": 0.002 * size},
    )


def ramped(rng, n=6000, shares=(0.05, 0.2, 0.5), slower=(1.0, 1.0, 1.0), worse=(0.0, 0.0, 0.0), **known):
    """Arms that are alike while the share rises and days change: `slower` and `worse` are what a step does to both."""
    step = np.arange(n) * len(shares) // n
    share = np.array(shares)[step]
    rows = experiment(rng, n=n, **known)
    challenger = rng.random(n) < share
    return replace(
        rows,
        arm=np.where(challenger, "challenger", "champion"),
        arm_probability=np.where(challenger, share, 1 - share),
        latency_ms=rows.latency_ms * np.array(slower)[step],
        quality=np.where(rng.random(n) < np.array(worse)[step], 0.0, rows.quality),
    )
