"""The raw baseline: nearest rows by cosine, tuned on training folds."""

from dataclasses import replace

import numpy as np

from beastmode.objective import Objective
from features.outcomes import catalogue
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import encoders
from models.encoders import EncoderSettings
from models.examples import examples
from models.plain_neighbours import PlainNeighbours, tune


def specialists(table: Table) -> Table:
    """The world without its generalist: there, who is best depends on the topic."""
    names = ("quality", "cost_usd", "latency_ms", "output_tokens")
    return replace(table, candidates=table.candidates[2:], **{name: getattr(table, name)[:, 2:] for name in names})


def test_one_neighbour_says_what_happened_to_it():
    unit = np.eye(3, dtype=np.float32)
    excess = np.array([[0.1, -0.1], [0.2, 0.0], [-0.3, 0.3]])
    near = PlainNeighbours(unit, excess, np.array([0.5, 0.5]), 1, 5.0, 1.0)
    np.testing.assert_allclose(near.quality(unit), 0.5 + excess, atol=1e-6)


def test_all_neighbours_at_no_temperature_say_the_mean():
    unit = np.eye(4, dtype=np.float32)
    excess = np.array([[1.0], [2.0], [3.0], [6.0]])
    near = PlainNeighbours(unit, excess, np.zeros(1), 9, 0.0, 0.5)
    np.testing.assert_allclose(near.quality(unit), 1.5)


def test_tuned_neighbours_beat_the_best_single_candidate_where_topics_differ():
    table = specialists(outcomes(SyntheticSettings(prompts=900), 2)[0])
    encoder = encoders.fit(table.texts, table.sessions.tolist(), EncoderSettings(), 0, None)
    encoding = encoder.encode(table.texts)
    train = np.arange(600)
    known = examples(
        table.take(train), encoding[train], encoder.names, encoder.embedding, catalogue(table), Objective(), 3, 0
    )
    said = tune(known).quality(encoding[600:, encoder.embedding])
    test = table.quality[600:]
    assert test[np.arange(300), said.argmax(axis=1)].mean() > test[:, known.incumbent].mean()
