"""Neighbours of a blend: prototypes say what the raw requests say, and places are used only where they help."""

import numpy as np
import pytest

from beastmode.neighbours import Kernel
from beastmode.objective import Objective
from features.outcomes import catalogue
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import encoders
from models.encoders import EncoderSettings
from models.examples import Examples, examples
from models.nearness import fit_nearness
from models.prototypes import Memory
from models.ridge import fit_ridge


@pytest.fixture(scope="module")
def known() -> Examples:
    table = outcomes(SyntheticSettings(prompts=600), 0)[0]
    encoder = encoders.fit(table.texts, table.sessions.tolist(), EncoderSettings(), 0, None)
    encoding = encoder.encode(table.texts)
    return examples(table, encoding, encoder.names, encoder.embedding, catalogue(table), Objective(), 3, 0)


def test_prototypes_are_taught_what_the_raw_requests_say(known):
    memory, kernel = Memory.of(known, 100, 0), Kernel(5.0, 20)
    near = fit_nearness(memory, kernel, np.zeros_like(known.excess), 0)
    # A ridge that says nothing gives nobody a place.
    assert near.taste is None
    similarity = (known.unit @ known.unit.T).astype(np.float64)
    np.fill_diagonal(similarity, -np.inf)
    weight = Kernel(5.0, round(20 / len(memory.whole.weight) * len(known))).weigh(similarity)
    raw = weight @ known.excess / weight.sum(axis=1, keepdims=True)
    blurred, taught = (
        kernel.smooth(prototypes, prototypes.similarity(known.encoding))
        for prototypes in (memory.whole, near.prototypes)
    )
    assert ((taught - raw) ** 2).mean() < 0.8 * ((blurred - raw) ** 2).mean()


def test_the_same_seed_teaches_the_same(known):
    memory = Memory.of(known, 100, 0)
    ridge = fit_ridge(known, memory.whole).out_of_fold
    first, second = (fit_nearness(memory, Kernel(5.0, 12), ridge, 3) for _ in range(2))
    np.testing.assert_array_equal(first.out_of_fold, second.out_of_fold)
    np.testing.assert_array_equal(first.prototypes.excess, second.prototypes.excess)


def test_what_is_served_is_near_what_was_said_out_of_fold(known):
    memory = Memory.of(known, 100, 0)
    ridge = fit_ridge(known, memory.whole)
    near = fit_nearness(memory, Kernel(5.0, 12), ridge.out_of_fold, 0)
    similarity = near.prototypes.similarity(known.encoding)
    if near.taste is not None:
        similarity = near.taste.nearer(similarity, ridge.ridge.excess(memory.whole, known.encoding, similarity))
    served = near.kernel.smooth(near.prototypes, similarity)
    assert np.corrcoef(served.ravel(), near.out_of_fold.ravel())[0, 1] > 0.8
