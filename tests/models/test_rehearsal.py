"""Which requests may certify a bundle: complete ones, one for each prompt and session."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.bundle import Bundle
from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.objective import Objective
from beastmode.policies import Greedy
from beastmode.scorers import Constant
from features.outcomes import catalogue
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models.rehearsal import Rehearsal, independent, rehearse


@pytest.fixture(scope="module")
def table() -> Table:
    return outcomes(SyntheticSettings(prompts=200), 1)[0]


def constant(table: Table) -> Bundle:
    m = len(table.candidates)
    scorer = Constant(np.linspace(0.4, 0.9, m), np.full(m, 100.0), np.full(m, 500.0))
    encoder = Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES)))
    return Bundle(
        name="b", candidates=catalogue(table), encoder=encoder, scorer=scorer, policy=Greedy(), objective=Objective(),
        created="2026-01-01", code_version="0",
    )  # fmt: skip


def test_requests_that_share_a_prompt_or_a_session_are_represented_once(table):
    texts = tuple(text if i % 4 else "The same  question" for i, text in enumerate(table.texts))
    sessions = np.array([f"s{i // 3}" for i in range(200)])
    twins = replace(table, texts=texts, sessions=sessions)
    kept = independent(twins, np.arange(200), 0)
    assert len(set(sessions[kept])) == len(set(twins.prompts[kept])) == len(kept)
    assert sum(texts[i] == "The same  question" for i in kept) <= 1
    assert (np.diff(kept) > 0).all()
    assert len(kept) >= 49
    assert set(independent(twins, np.arange(200), 1)) != set(kept), "which one stands for a session is drawn"


def test_requests_without_text_are_no_twins(table):
    blank = replace(table, texts=("",) * 200)
    assert len(independent(blank, np.arange(200), 0)) == 200


def test_only_requests_that_every_candidate_answered_count(table):
    quality = table.quality.copy()
    quality[:120, 1] = np.nan
    cost = table.cost_usd.copy()
    cost[150:, 0] = np.nan
    kept, rehearsal = rehearse(constant(table), replace(table, quality=quality, cost_usd=cost), 0)
    assert kept.request_ids.tolist() == table.request_ids[120:].tolist()
    assert np.array_equal(rehearsal.quality, table.quality[120:])
    # A cost that nobody logged is the one that is expected.
    assert np.array_equal(rehearsal.cost_usd[30:, 0], rehearsal.expected_cost_usd[30:, 0])
    assert np.array_equal(rehearsal.cost_usd[:30], table.cost_usd[120:150])


def test_the_columns_are_those_of_the_bundle(table):
    bundle = constant(table)
    turned = replace(bundle, candidates=bundle.candidates[::-1])
    assert np.array_equal(rehearse(turned, table, 0)[1].quality, table.quality[:, ::-1])


def test_a_table_that_lacks_a_candidate_certifies_nothing(table):
    known = [0, 2, 3]
    names = ("quality", "cost_usd", "latency_ms", "output_tokens")
    narrow = replace(
        table, candidates=tuple(table.candidates[i] for i in known), **{n: getattr(table, n)[:, known] for n in names}
    )
    kept, rehearsal = rehearse(constant(table), narrow, 0)
    assert (len(kept), rehearsal.quality.shape) == (0, (0, len(table.candidates)))


def test_a_candidate_that_is_hardly_known_is_no_reference():
    quality = np.array([[0.5, 0.6, np.nan], [0.7, 0.9, 1.0]])
    assert Rehearsal(quality, quality, quality, quality, quality).reference == 1
