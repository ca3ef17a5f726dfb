"""An explanation names what moved the choice, where the log was near, and what would change it."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from beastmode.influence import influences
from beastmode.lexical import NAMES
from beastmode.logistic import Logistic
from beastmode.neighbours import Near
from beastmode.policies import Greedy
from beastmode.records import Needs
from beastmode.router import Router

TEXT = "Explain, in 7 steps, why the sky is blue."


def test_a_feature_that_alone_decides_is_the_one_that_is_named(make_bundle: Any, nearby: Any) -> None:
    """Known truth: one column speaks for `large` and against `small`, another the other way, the rest say nothing."""
    weight = np.zeros((len(NAMES), 3))
    digits, words = NAMES.index("digit_share"), NAMES.index("log_words")
    weight[digits], weight[words] = (-2.0, 2.0, 0.0), (0.02, -0.02, 0.0)
    scorer = Logistic(np.zeros(3), weight, nearby.usage)
    bundle = make_bundle(scorer=scorer, policy=Greedy())
    row = bundle.encoder.encode((TEXT,))[0]
    found = influences(bundle, TEXT, 1, 0)
    assert [moved.feature for moved in found] == ["digit_share", "log_words"]
    assert found[0].lead > 0 > found[1].lead
    without = row.copy()
    without[digits] = 0.0
    asked = np.stack([row, without])
    quality = scorer.predict(asked, np.ones(2)).quality
    lead = quality[:, 1] - quality[:, 0]
    assert found[0].lead == pytest.approx(lead[0] - lead[1])
    assert [moved.lead for moved in influences(bundle, TEXT, 0, 1)] == [-moved.lead for moved in found]


def test_what_no_feature_moves_has_no_influences(make_bundle: Any) -> None:
    assert influences(make_bundle(), TEXT, 0, 1) == ()


def test_the_nearest_requests_are_named_by_their_ids(make_bundle: Any, nearby: Any) -> None:
    ids = tuple((f"r{p}a", f"r{p}b") for p in range(16))
    scorer = replace(nearby, prototypes=replace(nearby.prototypes, ids=ids))
    bundle = make_bundle(scorer=scorer)
    explanation = Router(bundle).explain(TEXT)
    similarity = scorer.prototypes.similarity(bundle.encoder.encode((TEXT,)))[0]
    best = int(np.argmax(similarity))
    expected = Near(round(float(similarity[best]), 4), int(scorer.prototypes.weight[best]), ids[best])
    assert explanation.nearest[0] == expected
    assert len(explanation.nearest) == 5
    assert f"logged requests (r{best}a, r{best}b)" in str(explanation)
    assert json.loads(json.dumps(explanation.to_json()))["nearest"][0]["request_ids"] == list(ids[best])
    assert "no id kept" in str(Router(make_bundle(scorer=nearby)).explain(TEXT))


def test_it_shows_what_quality_is_made_of(make_bundle: Any, nearby: Any) -> None:
    explanation = Router(make_bundle(scorer=nearby)).explain(TEXT)
    said = explanation.contributions
    for row in explanation.rows:
        column = explanation.candidates.index(row.prediction.candidate)
        assert row.prediction.quality == pytest.approx(said["mean"][column] + said["neighbours"][column])
    assert any(line.startswith("quality is made of") for line in explanation.lines())
    assert any(line.startswith(f"speaks for {explanation.preferred}") for line in explanation.lines())


def test_it_says_what_would_change_the_choice(make_bundle: Any, nearby: Any) -> None:
    explanation = Router(make_bundle(scorer=nearby, policy=Greedy())).explain(TEXT)
    for row in explanation.rows[1:]:
        assert row.gap is not None
        assert f"{row.prediction.candidate} instead: with {row.gap:.4f} more of utility" in str(explanation)


def test_with_one_candidate_left_there_is_nothing_to_compare(make_bundle: Any, nearby: Any) -> None:
    explanation = Router(make_bundle(scorer=nearby)).explain(TEXT, deny=["small"], needs=Needs(tools=True))
    assert (explanation.preferred, explanation.influences) == ("large", ())
    assert "instead" not in str(explanation)


def test_an_incumbent_that_is_never_left_is_said_to_be(make_bundle: Any, nearby: Any) -> None:
    """The first router of an application serves best single alone, by a margin that no utility reaches."""
    bundle = make_bundle(scorer=nearby, policy=Greedy(incumbent=1, margin=1e9))
    explanation = Router(bundle).explain(TEXT)
    told = str(explanation)
    assert f"incumbent: {explanation.preferred}, never left" in told
    assert "000000" not in told
    assert [row.gap for row in explanation.rows if row.prediction.candidate != explanation.preferred] == [None, None]
    assert all(row.per_dollar is None for row in explanation.rows)
