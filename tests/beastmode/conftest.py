"""A small bundle that serves, for the tests of what surrounds it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from beastmode.bundle import Bundle, OperatingPoint
from beastmode.candidates import Candidate, Price
from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.neighbours import Kernel, Neighbours, Prototypes
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy, Greedy
from beastmode.scorers import Constant
from beastmode.scoring import Usage

MakeBundle = Callable[..., Bundle]

CANDIDATES = (
    Candidate("small", "local", "http://127.0.0.1:8000/v1", "SMALL_KEY", price=Price(0.1, 0.4), context_tokens=2_000),
    Candidate("large", "remote", "https://large.example/v1", "LARGE_KEY", "large-2026", Price(2.0, 8.0), 100_000),
    Candidate("seer", price=Price(per_request=0.002), tools=False, vision=True),
)


@pytest.fixture
def make_bundle() -> MakeBundle:
    """Return a function that makes a bundle of three candidates, with fields replaced at will."""

    def make(name: str = "first", **known: Any) -> Bundle:
        values: dict[str, Any] = {
            "candidates": CANDIDATES,
            "encoder": Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
            "scorer": Constant(
                np.array([0.6, 0.8, 0.7]), np.array([100.0, 300.0, np.nan]), np.array([200.0, 900.0, np.nan])
            ),
            "policy": EpsilonGreedy(0.2, Greedy(incumbent=1, margin=0.01)),
            "objective": Objective(per_dollar=10.0),
            "operating_points": (OperatingPoint(0.9, 100.0, 0.0, 1), OperatingPoint(0.99, 20.0, 0.02, 1)),
            "created": "2026-11-23T00:00:00+00:00",
            "code_version": "0.1.0",
            "training": {"rows": 1000, "sha256": "0" * 64},
            "evaluation": {"gain": np.float64(0.02), "unknown": float("nan")},
        }
        return Bundle(name=name, **{**values, **known})

    return make


@pytest.fixture
def nearby() -> Neighbours:
    """Return a scorer whose predictions differ between requests."""
    rng = np.random.default_rng(7)
    centre = rng.normal(size=(16, len(NAMES)))
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    count = rng.integers(5, 20, size=16).astype(np.float64)
    excess = count[:, None] * rng.normal(scale=0.1, size=(16, 3))
    row = np.ones(3)
    around = np.array([5.0, 4.0, 4.8, 6.0, np.log(0.5), 0.0, np.log(2.0)])
    usage = Usage(
        5 * row, np.zeros((3, 0)), 100 * row, 2 * row, 0 * row, np.full((3, 1), 5.0), np.tile(around, (3, 1, 1))
    )
    mean = np.array([0.6, 0.8, 0.7])
    return Neighbours(Prototypes(centre, count, excess, 0, len(NAMES)), Kernel(2.0, 8), 0.7, mean, usage)
