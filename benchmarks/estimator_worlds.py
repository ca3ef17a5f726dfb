"""What the estimators benchmark draws logs from: prompts of one half, policies learned on the other, their truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.objective import Objective
from features.outcomes import catalogue
from features.table import Table
from models import encoders, exporting, recipes
from models.encoders import EncoderSettings
from models.examples import examples
from models.nuisance import directions
from models.plain_neighbours import tune
from models.values import best

Floats = NDArray[np.float64]

EPSILONS = {"uniform": 1.0, "eps .3": 0.3, "eps .1": 0.1}
"""Logging policies: the share of requests whose candidate is drawn from all alike; the rest follows the rule."""
SINGLE, NEIGHBOURS, FACTORS = "best single", "tuned kNN", "shared factors"


@dataclass(frozen=True, slots=True)
class Population:
    """The prompts that logs are drawn from, every outcome known: n prompts and m candidates."""

    utility: Floats
    """(n, m)"""
    features: Floats
    """(n, d) As the outcome regression takes them."""
    targets: dict[str, Floats]
    """(n, m) What each policy to be valued would do."""
    logging: dict[str, Floats]
    """(n, m) What each logging policy does."""

    @property
    def truth(self) -> dict[str, float]:
        """The value of each target."""
        return {name: float((policy * self.utility).sum(axis=1).mean()) for name, policy in self.targets.items()}


def population(table: Table, objective: Objective, settings: recipes.Settings, seed: int) -> Population:
    """Return one half of an outcome table as a population; the other half teaches the encoder and every policy.

    Raises ValueError naming a candidate whose cost is unknown where money has a price.
    """
    utility = objective.utility(table.quality, table.cost_usd, None)
    unpriced = [name for name, column in zip(table.candidates, utility.T, strict=True) if np.isnan(column).any()]
    if unpriced:
        raise ValueError(f"candidate {unpriced[0]!r} has prompts of unknown cost: give --prices, or --per-dollar 0")
    inside = np.random.default_rng(seed).permutation(len(table)) < len(table) // 2
    train, rest = table.take(inside), table.take(~inside)
    encoder = encoders.fit(train.texts, train.sessions.tolist(), EncoderSettings(), seed)
    encoding = encoder.encode(rest.texts)[:, encoder.embedding]
    single = int(utility[inside].mean(axis=0).argmax())
    every = np.eye(len(table.candidates))
    known = examples(
        train, encoder.encode(train.texts), encoder.names, encoder.embedding, catalogue(train), objective,
        settings.learning.folds, seed,
    )  # fmt: skip
    expected = objective.utility(tune(known).quality(encoding), train.cost_usd.mean(axis=0), None)
    return Population(
        utility=utility[~inside],
        features=directions(encoding, 24),
        targets={
            SINGLE: np.tile(every[single], (len(rest), 1)),
            NEIGHBOURS: every[best(expected)],
            FACTORS: factors(train, rest, objective, settings, seed),
        },
        logging={name: around(rule(train, rest, utility[inside]), epsilon) for name, epsilon in EPSILONS.items()},
    )


def rule(train: Table, rest: Table, utility: Floats) -> Floats:
    """Return what teams write by hand, (n, m): short prompts to the cheapest, long ones to the best, others between.

    The cut points are the terciles of the prompts' length in training; the one between is the median by utility.
    """
    cost = np.nan_to_num(train.cost_usd, nan=np.inf).mean(axis=0)
    chosen = np.array(
        [np.argmin(cost), np.argsort(utility.mean(axis=0))[utility.shape[1] // 2], train.quality.mean(axis=0).argmax()]
    )
    third = np.searchsorted(np.quantile(train.input_tokens, [1 / 3, 2 / 3]), rest.input_tokens)
    return np.asarray(np.eye(utility.shape[1])[chosen[third]])


def around(policy: Floats, epsilon: float) -> Floats:
    """Return a policy (n, m) that with probability epsilon draws from all candidates alike."""
    return np.asarray((1 - epsilon) * policy + epsilon / policy.shape[1])


def factors(train: Table, rest: Table, objective: Objective, settings: recipes.Settings, seed: int) -> Floats:
    """Return what the recipe's shared factors decide, (n, m), trained and exported as a flow does."""
    alone = recipes.Settings("shared_factors", settings.encoder, settings.learning)
    made = recipes.train(train, alone, seed, candidates=catalogue(train), objective=objective)
    bundle = exporting.bundle(made, name="benchmark", created="2026-01-01T00:00:00+00:00", training={}, evaluation={})
    eligible = np.ones((len(rest), len(rest.candidates)), dtype=bool)
    return bundle.probabilities(rest.texts, rest.input_tokens, eligible)
