"""Small bundles that verify fast, for what loads thousands of them."""

from collections.abc import Iterator

import numpy as np

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate, Price
from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy, Greedy
from beastmode.scorers import Constant
from features.outcomes import catalogue
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import exporting
from models.fitted import Learning
from models.recipes import Settings, train

_TINY = Settings(learning=Learning(folds=3, trials=2, rounds=6, prototypes=16))


def plain(name: str = "plain", quality: tuple[float, float] = (0.6, 0.8)) -> Bundle:
    """Return a bundle of two candidates that expects the same of every request."""
    return Bundle(
        name=name,
        candidates=(Candidate("small", price=Price(0.1, 0.4)), Candidate("large", price=Price(2.0, 8.0))),
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(np.array(quality), np.full(2, 100.0), np.full(2, 300.0)),
        policy=EpsilonGreedy(0.2, Greedy(incumbent=1, margin=0.01)),
        objective=Objective(per_dollar=10.0),
        created="2026-01-01T00:00:00+00:00",
        code_version="0",
    )


def bundles() -> Iterator[Bundle]:
    """Yield bundles that between them have every kind of file but a transformer's graph."""
    yield plain()
    table = outcomes(SyntheticSettings(prompts=300), 5)[0]
    trained = train(table, _TINY, 0, candidates=catalogue(table), objective=Objective())
    yield exporting.bundle(trained, name="trained", created="2026-01-01", training={}, evaluation={})
