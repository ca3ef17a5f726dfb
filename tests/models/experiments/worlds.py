"""Experiments whose truth is known, for the tests of their judges."""

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
