"""Clusters of questions: what is served decides; they beat exact keys where there are wordings, and tie elsewhere."""

from functools import cache

import numpy as np
import pytest

from beastmode.cache import Cache, CacheSettings, LearnedVerifier, Memory, Question, Semantic
from beastmode.encoding import Encoder
from beastmode.records import Request
from features.demand import Demand
from features.questions import questions
from features.worlds.demand import evenly
from features.worlds.questions import FORMS, pairs
from features.worlds.wordings import worded
from models.encoders import EncoderSettings, fit
from models.verifiers import VerifierSettings, embedding, train
from models.warmers import tournament
from models.warmers.clusters import Clusters, clusters
from models.warmers.contest import Contestant, Scoring
from models.warmers.keys import compare
from models.warmers.playing import judged, play
from models.warmers.settings import WarmerSettings

HOUR, DAY = 3600.0, 86400.0
PLACES = ("Germany", "France", "Canada", "India")


def _wordings(i: int) -> tuple[str, ...]:
    thing = f"{('red', 'basic', 'family', 'student')[i % 4]} {('contract', 'phone', 'ticket')[(i // 4) % 3]}"
    slots = {"thing": thing, "place": PLACES[i % 4], "other": PLACES[(i + 1) % 4], "number": (2, 3, 5, 7)[i % 4]}
    return tuple(form.format(**slots) for form in FORMS[i % 5])


WORDINGS = tuple(_wordings(i) for i in range(12))
"""A dozen questions, each in three wordings."""


def meaning_of(text: str) -> int:
    """The question that a text asks; a negative number of its own where it is none of the dozen."""
    return next((i for i, wordings in enumerate(WORDINGS) if text in wordings), -1 - hash(text) % 10**9)


@cache
def known() -> tuple[Encoder, LearnedVerifier]:
    """An encoder and a verifier that were trained on pairs of such questions."""
    past = questions(pairs(900, 0))
    encoder = fit(
        past.texts, [str(i) for i in range(len(past))], EncoderSettings(surface_columns=0, term_columns=96), 0
    )
    settings = VerifierSettings(trees=60, edited=400, candidates=8, budget=0.03)
    return encoder, train(past, embedding(encoder), settings, 0).verifier


def asked(texts, **scope) -> list[Question]:
    return [Question.of(Request.of(text, **scope), "m") for text in texts]


def once(questions) -> Demand:
    return Demand.of(np.arange(len(questions)), np.arange(len(questions)) * 1.0)


def test_a_question_joins_the_cluster_of_the_answer_that_the_cache_would_have_served_it():
    order = np.random.default_rng(0).permutation(36)
    texts = [WORDINGS[i // 3][i % 3] for i in order]
    encoder, verifier = known()
    found = clusters(asked(texts), once(texts), encoder, verifier)
    semantic = Semantic(encoder, verifier, quarantine_seconds=0, canary_share=0)
    numbers = []
    with Cache([Memory(), semantic], CacheSettings(ttl_seconds=HOUR), wall=lambda: 1e9) as serving:
        for text in texts:
            answer = serving.get(text, model="m")
            if answer is None:
                serving.put(text, len(set(numbers)), model="m")
            numbers.append(len(set(numbers)) if answer is None else answer.value)
    assert found.of.tolist() == numbers
    assert 12 <= len(found) < 24
    assert len({(of, meaning_of(text)) for of, text in zip(found.of.tolist(), texts, strict=True)}) == len(found)


def test_nothing_crosses_a_partition_and_what_is_not_known_stays_alone():
    texts = WORDINGS[0]
    joined = [*asked(texts), *asked(texts, tenant="acme"), None, None, *asked([""])]
    found = clusters(joined, once(joined), *known())
    assert not set(found.of[:3]) & set(found.of[3:6])
    assert found.of[:3].tolist() == (found.of[3:6] - found.of[3]).tolist()
    assert len(set(found.of[6:].tolist())) == 3
    assert not set(found.of[:6]) & set(found.of[6:])
    assert len(clusters([], Demand.of(np.zeros(0, np.int64), np.zeros(0)), *known())) == 0


def test_what_comes_later_changes_no_cluster():
    texts = [text for wordings in WORDINGS for text in wordings]
    whole = clusters(asked(texts), once(texts), *known()).of
    for end in (5, 17, 30):
        assert clusters(asked(texts[:end]), once(texts[:end]), *known()).of.tolist() == whole[:end].tolist()


def test_the_wording_that_serves_most_requests_is_asked_ahead_the_later_of_equals():
    """Of three wordings that serve each other the most asked is; of two that are asked as often the one asked last."""
    wordings = next(
        texts for texts in WORDINGS if len(clusters(asked(texts), once(texts), *known())) == 1
    )  # fmt: skip

    def ahead(*key: int) -> int:
        rows = Demand(np.array(key), np.arange(len(key)) * 1.0, np.zeros(3, np.int64), np.ones(3))
        found = clusters(asked(wordings), rows, *known())
        assert found.served.tolist() == [1.0]
        return int(found.ahead[0])

    assert ahead(0, 1, 1, 2) == 1
    assert ahead(0, 1, 2, 1, 2) == 2
    assert ahead(0, 2, 1, 2, 1) == 1


def world(wordings: int, keys: int, per_day: float, days: float, seed: int) -> tuple[Demand, Clusters]:
    """Even demand in so many wordings, and the clusters that they truly are."""
    demand, of = worded(evenly(keys, per_day, days, seed), wordings, seed)
    first = np.unique(of, return_index=True)[1]
    return demand, Clusters(of, first, np.ones(len(first)))


SETTINGS = WarmerSettings(ttl_seconds=6 * HOUR, budgets=(0.1, 0.3))


def compared(wordings: int, seed: int):
    demand, found = world(wordings, 120, 300, 12, seed)
    clustered = found.demand(demand)
    held = {"exact": tournament.hold(demand, SETTINGS, 0), "clusters": tournament.hold(clustered, SETTINGS, 0)}
    return compare(demand, found, held, SETTINGS, 0)


@pytest.mark.parametrize("seed", range(2))
def test_clusters_beat_exact_keys_where_questions_have_wordings(seed):
    for one in compared(6, seed).values():
        assert one.clusters.requests.tolist() == one.exact.requests.tolist()
        assert one.clusters.spent <= one.exact.spent + 0.005
        assert one.low > 0.005
        assert one.clusters.useful_share > one.exact.useful_share


@pytest.mark.parametrize("seed", range(2))
def test_clusters_tie_with_exact_keys_where_each_question_has_one_wording(seed):
    for one in compared(1, seed).values():
        assert (one.difference, one.low, one.high) == (0.0, 0.0, 0.0)
        assert one.clusters.hits.tolist() == one.exact.hits.tolist()
        assert one.clusters.useful == one.exact.useful


def test_demand_for_clusters_is_that_of_all_their_wordings_at_the_mean_price():
    demand = Demand(np.array([0, 1, 1, 2]), np.arange(4.0), np.array([0, 0, 1]), np.array([1.0, 4.0, 9.0]))
    found = Clusters(np.array([0, 0, 1]), np.array([1, 2]), np.ones(2))
    merged = found.demand(demand)
    assert merged.key.tolist() == [0, 0, 0, 1]
    assert merged.miss_usd.tolist() == [pytest.approx(3.0), 9.0]
    assert merged.tenant.tolist() == [0, 1]


class Lowest(Scoring):
    """Fetches whatever it may, the lowest numbers first."""

    def score(self, tally, keys):
        return -keys.astype(np.float64)

    def following(self, tally):
        return None


@pytest.mark.parametrize("flush", [None, 6 * HOUR])
@pytest.mark.parametrize("budget", [0.0, 0.3])
def test_a_shared_replay_is_what_a_request_by_request_cache_does(budget, flush):
    demand, found = world(3, 20, 200, 3, 0)
    settings = WarmerSettings(ttl_seconds=3 * HOUR, flush_seconds=flush)
    start = float(demand.at[0] // DAY * DAY + DAY)
    told = play(demand, start, settings, {"a": Contestant(Lowest(), budget)}, found.of)["a"]
    dies, serves, hits, requests, spent, previous = {}, {}, 0, 0, 0, 0
    _, end = judged(demand, start, HOUR)
    for begin in np.arange(demand.at[0] // HOUR * HOUR, demand.at[end - 1], HOUR).tolist():
        rows = np.flatnonzero((demand.at >= begin) & (demand.at < begin + HOUR)).tolist()
        if flush and begin % flush == 0:
            dies, serves = dict.fromkeys(dies, -np.inf), dict.fromkeys(serves, -np.inf)
        if begin >= start:
            allowed = int(budget * (requests + previous) - spent + 1e-9)
            # A key is due by its own answer, whatever serves it; one that was only ever served has none.
            seen = set(demand.key[demand.at < begin].tolist())
            due = sorted(key for key in seen if dies.get(key, -np.inf) < begin + HOUR)
            for key in due[: max(allowed, 0)]:
                dies[key] = max(dies.get(key, -np.inf), begin) + settings.ttl_seconds
                of = int(found.of[key])
                serves[of] = max(serves.get(of, -np.inf), dies[key])
                spent += 1
        for row in rows:
            key, at = int(demand.key[row]), float(demand.at[row])
            of = int(found.of[key])
            if begin >= start:
                requests += 1
                hits += at < serves.get(of, -np.inf)
            if at >= serves.get(of, -np.inf):
                dies[key] = serves[of] = at + settings.ttl_seconds
        previous = len(rows)
    assert (int(told.hits.sum()), int(told.requests.sum()), int(told.prefills.sum())) == (hits, requests, spent)
