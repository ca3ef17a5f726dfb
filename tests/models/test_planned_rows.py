"""Rows that some candidates were asked of: what they teach shows on fresh requests."""

from dataclasses import replace

import numpy as np

from beastmode.objective import Objective
from features.outcomes import catalogue
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import encoders
from models.encoders import EncoderSettings
from models.examples import examples
from models.fitted import Judge, Learning
from models.routing_metrics import auc
from models.selectors import SELECTORS

LEARNING = Learning(folds=4, trials=0, rounds=30, prototypes=128)


def test_requests_asked_of_some_teach_the_blend_and_are_not_judged_by():
    table = outcomes(SyntheticSettings(prompts=1500), 11)[0]
    past, future = table.take(np.arange(700)), table.take(np.arange(700, 1500))
    whole = np.arange(700) % 7 == 0
    absent = np.random.default_rng(0).integers(0, past.quality.shape[1], 700)
    seen = whole[:, None] | (np.arange(past.quality.shape[1]) != absent[:, None])
    part = replace(past, quality=np.where(seen, past.quality, np.nan), probed=whole)
    encoder = encoders.fit(part.texts, part.sessions.tolist(), EncoderSettings(), 0, None)
    encoding = encoder.encode(part.texts)
    known = examples(part, encoding, encoder.names, encoder.embedding, catalogue(past), Objective(), 4, 0)
    bare = replace(known, taught=known.judged, filled=np.full(known.filled.shape, np.nan))
    areas = []
    for one in (bare, known):
        fitted = SELECTORS["blend"](one, LEARNING, 0, None)
        assert Judge.of(one, fitted.out_of_fold.amounts, 1.0).rows.tolist() == np.flatnonzero(whole).tolist()
        said = fitted.scorer.predict(encoder.encode(future.texts), future.expected_tokens).quality
        areas.append(auc(future.quality, said))
    assert areas[1] > areas[0] + 0.02, areas
