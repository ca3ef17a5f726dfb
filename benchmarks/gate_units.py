"""What proves a difference: paired probes, the log of an exploring router, or units of an experiment, counted."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.experiments.needed import Way, needed, two_arms
from models.experiments.sequences import Bounds, cautious

if TYPE_CHECKING:
    from benchmarks.gate import Population

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]
"""(generator, observations) -> what each adds to the difference."""

LOOKS = 30
EPSILON = 0.1
LOGGED = 40_000
"""Rows of the simulated log that tells what a logged row varies by."""
FEWEST = 200
"""Worlds at the most in which the predicted number of observations is tried."""


def units(population: "Population", options: argparse.Namespace) -> dict[str, Any]:
    """Return for each way how many observations prove the difference, four times in five, and how often they did.

    The challenger changes `--churn` of the answers. Logs: the champion explores a tenth of the time, every candidate
    alike, and a difference is doubly robust around each candidate's mean. An A/B unit has one request.
    """
    shares = population.shares(options.difference, options.churn)
    if shares is None:
        return {"left_out": "no challenger of this table changes so many answers for such a difference"}
    rng = np.random.default_rng(options.seed)
    rows, choice = population.draw(rng, shares, (LOGGED,))
    quality, cost = population.table.quality, population.table.cost_usd
    chosen, kept = (rows, choice), (rows, np.full(LOGGED, population.champion))
    old, new = quality[kept], quality[chosen]
    paired, logged = new - old, _contributions(population, rows, choice, rng)
    changed = float((paired != 0).mean())
    # What was drawn stands for the population, so it must differ by just what the population does.
    paired, logged = (values + options.difference - values.mean() for values in (paired, logged))
    spread = float(np.sqrt((old.var() + new.var()) / 2))
    asked = float(np.mean(cost[chosen] + cost[kept]))

    def probes(rng: np.random.Generator, n: int) -> Floats:
        return np.asarray(paired[rng.integers(LOGGED, size=n)])

    def logs(rng: np.random.Generator, n: int) -> Floats:
        return np.asarray(logged[rng.integers(LOGGED, size=n)])

    def experiment(rng: np.random.Generator, n: int) -> Floats:
        row, mine = rng.integers(LOGGED, size=n), rng.random(n) < 0.5
        # Around the mean, as a difference of two means is; twice, for each arm is a half.
        return np.asarray(
            np.where(mine, 2 * (new[row] - new.mean()), -2 * (old[row] - old.mean())) + options.difference
        )

    ways: dict[str, tuple[Way, Draw]] = {
        "probes": (Way("probes", float(paired.std()), asked), probes),
        "logs": (Way("logs", float(logged.std())), logs),
        "A/B units": (Way("A/B units", two_arms(spread)), experiment),
    }
    worlds = min(options.worlds, FEWEST)
    return {
        "difference": options.difference,
        "answers_changed": changed,
        "worlds": worlds,
        "ways": {
            name: {
                "deviation": way.deviation,
                **{
                    said: _tried(way, draw, options.difference, watched, worlds, options.seed)
                    for said, watched in (("watched", True), ("once", False))
                },
            }
            for name, (way, draw) in ways.items()
        },
    }


def _contributions(population: "Population", rows: Any, choice: Any, rng: np.random.Generator) -> Floats:
    """Return what each row of a log adds to the doubly robust difference, (rows,)."""
    n, quality = len(rows), population.table.quality[rows]
    m = quality.shape[1]
    explored = rng.random(n) < EPSILON
    served = np.where(explored, rng.integers(m, size=n), population.champion)
    propensity = np.where(served == population.champion, 1 - EPSILON + EPSILON / m, EPSILON / m)
    weight = {name: np.where(served == column, 1 / propensity, 0.0)
              for name, column in (("plus", choice), ("minus", np.full(n, population.champion)))}  # fmt: skip
    mean = quality.mean(axis=0)
    under = mean[choice] - mean[population.champion]
    return np.asarray(under + (weight["plus"] - weight["minus"]) * (quality[np.arange(n), served] - mean[served]))


def _tried(way: Way, draw: Draw, difference: float, watched: bool, worlds: int, seed: int) -> dict[str, Any]:
    """Return the predicted number of observations, and in which share of worlds they proved the difference."""
    said = needed(difference, way, watched=watched)
    looks = np.unique(np.linspace(said.observations / LOOKS, said.observations, LOOKS).astype(int))
    starts = np.concatenate([[0], looks[:-1]])
    means, errors = np.zeros((worlds, len(looks))), np.zeros((worlds, len(looks)))
    for world in range(worlds):
        values = draw(np.random.default_rng([seed, world, int(watched)]), said.observations)
        total = np.cumsum(np.add.reduceat(values, starts))
        squares = np.cumsum(np.add.reduceat(np.square(values), starts))
        means[world] = total / looks
        errors[world] = np.sqrt(np.maximum(squares - total**2 / looks, 0) / np.maximum(looks - 1, 1) / looks)
    if watched:
        errors = cautious(errors, looks, way.deviation)
        proven = (Bounds.of(looks, means, errors, said.observations, 0.05).low > 0).any(axis=1)
    else:
        proven = means[:, -1] > 1.6449 * errors[:, -1]
    return {"observations": said.observations, "usd": said.usd, "proved": float(proven.mean())}
