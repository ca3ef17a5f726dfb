"""Replays of a warmed cache against one that is written down request by request, and rules worked out by hand."""

import numpy as np
import pytest

from features.demand import Demand
from features.worlds.demand import DemandSettings, demand, evenly
from models.warmers import WARMERS
from models.warmers.contest import Contestant, Played, Scoring
from models.warmers.playing import Oracle, ceiling, judged, lead, middle, play, pooled, proven
from models.warmers.settings import WarmerSettings

HOUR, DAY = 3600.0, 86400.0
START = 20_000 * DAY
SETTINGS = WarmerSettings(ttl_seconds=3 * HOUR)


class Everything(Scoring):
    """Fetches whatever it may, the lowest numbers first."""

    def score(self, tally, keys):
        return -keys.astype(np.float64)


def literal(known, start, settings, budget):
    """One request after the other; returns hits, requests and prefills of the judged windows."""
    _, end = judged(known, start, settings.window_seconds)
    window, ttl = settings.window_seconds, settings.ttl_seconds
    dies, hits, requests, spent, previous = {}, 0, 0, 0, 0
    number = int(known.at[0] // window)
    rows = list(zip(known.key.tolist(), known.at.tolist(), strict=True))
    place = 0
    while place < end:
        begin = number * window
        if settings.flush_seconds and begin % settings.flush_seconds == 0:
            dies = dict.fromkeys(dies, -np.inf)
        if begin >= start:
            allowed = int(budget * (requests + previous) - spent + 1e-9)
            for key in sorted(key for key, death in dies.items() if death < begin + window)[: max(allowed, 0)]:
                dies[key] = max(dies[key], begin) + ttl
                spent += 1
        count = 0
        while place < end and rows[place][1] < begin + window:
            key, at = rows[place]
            if begin >= start:
                requests += 1
                hits += at < dies.get(key, -np.inf)
            if at >= dies.get(key, -np.inf):
                dies[key] = at + ttl
            count, place = count + 1, place + 1
        previous, number = count, number + 1
    return hits, requests, spent


@pytest.mark.parametrize("flush", [None, 6 * HOUR])
@pytest.mark.parametrize("budget", [0.0, 0.15, 0.6])
@pytest.mark.parametrize("seed", range(3))
def test_a_replay_is_what_a_request_by_request_cache_does(seed, budget, flush):
    known = evenly(30, 200, 3, seed)
    settings = WarmerSettings(ttl_seconds=3 * HOUR, flush_seconds=flush)
    start = middle(known, 0.6)
    told = play(known, start, settings, {"one": Contestant(Everything(), budget)})["one"]
    assert (told.hits.sum(), told.requests.sum(), told.prefills.sum()) == literal(known, start, settings, budget)


def test_a_prefill_comes_when_the_held_answer_dies_and_is_useful_once():
    # Asked for every 2.5 hours; answers live for 3, so that without warming every other request is a hit.
    known = Demand.of(np.zeros(40, dtype=np.int64), 1e6 * HOUR + np.arange(40) * 2.5 * HOUR)
    start = known.at[0] + 20 * HOUR
    told = play(known, start, SETTINGS, {"none": Contestant(), "all": Contestant(Everything(), 5.0)})
    assert told["none"].hit_rate == pytest.approx(0.5, abs=0.02)
    # The budget is earned by requests, so that the first may still miss.
    assert told["all"].requests.sum() - told["all"].hits.sum() <= 1
    # Always warm costs one prefill in each life of an answer, 2.5 / 3 a request.
    assert told["all"].spent == pytest.approx(2.5 / 3, abs=0.04)
    assert told["all"].useful_share == pytest.approx(1.0, abs=0.05)


def test_the_oracle_reaches_the_ceiling_and_every_prefill_of_it_is_used():
    known = demand(DemandSettings(days=6), 1)
    start = middle(known, 0.5)
    told = play(known, start, SETTINGS, {"rich": Contestant(Oracle(known, SETTINGS), 9.0)})["rich"]
    assert told.hit_rate == pytest.approx(ceiling(known, start, HOUR), abs=0.01)
    # What is fetched as the held answer dies is of no use to who asks before that.
    assert told.useful_share > 0.98


def test_the_ceiling_is_the_share_that_was_asked_before():
    known = Demand.of(np.array([0, 0, 1, 1, 2, 0]), START + np.array([0.1, 1.1, 1.2, 2.1, 2.2, 2.95]) * HOUR)
    assert ceiling(known, START + HOUR, HOUR) == pytest.approx(3 / 5)


def test_money_is_what_misses_and_prefills_cost():
    known = evenly(10, 100, 2, 0)
    priced = Demand(known.key, known.at, known.tenant, np.full(10, 0.25))
    told = play(priced, middle(priced, 0.5), SETTINGS, {"warm": Contestant(Everything(), 0.1)})["warm"]
    assert told.misses_usd == pytest.approx(0.25 * (told.requests.sum() - told.hits.sum()))
    assert told.prefills_usd == pytest.approx(0.25 * told.prefills.sum())


def test_a_last_window_that_the_log_cuts_short_is_not_judged():
    known = Demand.of(np.array([0, 0, 0, 0]), np.array([0.1, 1.5, 2.95, 3.1]) * HOUR)
    assert judged(known, HOUR, HOUR) == (1, 3)


def test_answers_that_live_shorter_than_a_window_and_broken_flushes_are_refused():
    with pytest.raises(ValueError, match="at most ttl_seconds"):
        WarmerSettings(ttl_seconds=60.0)
    with pytest.raises(ValueError, match="multiple of window_seconds"):
        WarmerSettings(flush_seconds=5000.0)


@pytest.mark.parametrize(("memory", "w"), [(0.0, 8), (0.0, 24), (0.0, 120), (0.5, 24), (0.5, 120)])
def test_a_lead_that_is_not_there_is_seldom_found(memory, w):
    rng = np.random.default_rng(5)
    found, runs = 0, 300
    requests = np.full(w, 50)
    for run in range(runs):
        noise = rng.normal(size=w)
        for i in range(1, w):
            noise[i] = memory * noise[i - 1] + np.sqrt(1 - memory**2) * noise[i]
        ours = Played(25 + np.round(4 * noise).astype(np.int64), requests, requests, 0, 0.0, 0.0)
        theirs = Played(np.full(w, 25), requests, requests, 0, 0.0, 0.0)
        found += lead(ours, theirs, 0.05, run)[1] > 0
    # .05 is nominal: three standard errors above it, and a little more where windows remember each other.
    assert found / runs < (0.09 if memory == 0 else 0.11)


def test_a_lead_that_is_there_is_found_and_two_windows_prove_nothing():
    requests = np.full(40, 50)
    hits = 25 + np.random.default_rng(0).integers(0, 5, 40)
    ours, theirs = Played(hits + 2, requests, requests, 0, 0.0, 0.0), Played(hits, requests, requests, 0, 0.0, 0.0)
    assert lead(ours, theirs, 0.05, 0) == pytest.approx((0.04, 0.04, 0.04))
    few = [Played(one.hits[:2], requests[:2], requests[:2], 0, 0.0, 0.0) for one in (ours, theirs)]
    assert lead(few[0], few[1], 0.05, 0) == (0.04, -1.0, 1.0)


def test_pooled_replays_add_up():
    one = Played(np.array([1, 2]), np.array([3, 3]), np.array([1, 0]), 1, 2.0, 1.0)
    both = pooled([one, one])
    assert (both.hits.tolist(), both.requests.tolist(), both.useful, both.misses_usd) == ([2, 4], [6, 6], 2, 4.0)


def test_a_rival_that_is_not_proven_does_not_replace_the_usual_warmer():
    known = evenly(60, 300, 6, 2)
    settings = WarmerSettings(budgets=(0.2,))
    start = middle(known, 0.4)
    usual = WARMERS["lfu"](known.until(start), settings, 0)
    assert proven(known, start, settings, usual, [usual], 0) is usual
    seer = Oracle(known, settings)
    assert proven(known, start, settings, usual, [usual, seer], 0) is seer


class Wasteful(Scoring):
    """Knows the future, and yet fetches a few keys in vain before all others."""

    def __init__(self, known, settings):
        self.oracle = Oracle(known, settings)

    def score(self, tally, keys):
        score = self.oracle.score(tally, keys)
        return np.where(np.isneginf(score) & (keys >= 55), 1.0, score)


def test_a_rival_that_wins_with_much_and_loses_with_little_does_not_replace_the_usual_warmer():
    known = evenly(60, 300, 6, 2)
    start = middle(known, 0.4)
    much, both = WarmerSettings(budgets=(0.3,)), WarmerSettings(budgets=(0.04, 0.3))
    usual, rival = WARMERS["lfu"](known.until(start), both, 0), Wasteful(known, both)
    assert proven(known, start, much, usual, [rival], 0) is rival
    assert proven(known, start, both, usual, [rival], 0) is usual
