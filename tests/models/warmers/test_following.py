"""Follow-ups on worlds of known truth: what follows is fetched, and where nothing does nothing changes."""

from dataclasses import replace

import numpy as np
import pytest

from features.demand import Demand
from features.worlds.demand import evenly
from models.warmers import WARMERS, ewma, following_fit
from models.warmers.coming import Coming
from models.warmers.contest import Contestant, Scoring
from models.warmers.following import Brought, Follower, rates
from models.warmers.playing import middle, play
from models.warmers.settings import WarmerSettings

HOUR = 3600.0
SETTINGS = WarmerSettings(ttl_seconds=4 * HOUR, budgets=(0.1, 0.2))


def jobs(seed: int, days: float = 6.0, share: float = 0.85) -> Demand:
    """Return forty jobs that begin at random, twice a day each: four steps, each asked 20 s after the other with a
    `share`, among twice as many requests for a hundred keys that come at random."""
    rng = np.random.default_rng(seed)
    key, at = [], []
    for job in range(40):
        starts = rng.uniform(0, days * 86_400, rng.poisson(2 * days))
        for step in range(4):
            goes = starts if step == 0 else starts[rng.random(len(starts)) < share]
            key.append(np.full(len(goes), 4 * job + step))
            at.append(goes + 20 * step)
    noise = 2 * sum(map(len, key))
    key.append(160 + (rng.zipf(1.3, noise) - 1) % 100)
    at.append(rng.uniform(0, days * 86_400, noise))
    order = np.argsort(np.concatenate(at), kind="stable")
    return Demand.of(np.concatenate(key)[order], np.concatenate(at)[order])


def fitted(known: Demand, seed: int = 0) -> tuple:
    plain = ewma.train(known, SETTINGS, seed)
    return plain, following_fit.fit(known, plain, SETTINGS, seed)


def test_steps_of_jobs_are_fetched_when_the_first_is_asked_and_the_learner_is_proven():
    known = jobs(0)
    past = known.until(middle(known, 0.4))
    learned = WARMERS["lightgbm"](past, SETTINGS, 0)
    assert learned.follower is not None
    rows = {
        f"{name}@{budget}": Contestant(warmer, budget)
        for name, warmer in {"ours": learned, "plan": replace(learned, follower=None)}.items()
        for budget in SETTINGS.budgets
    }
    told = play(known, middle(known, 0.4), SETTINGS, rows)
    for budget in SETTINGS.budgets:
        ours, plan = told[f"ours@{budget}"], told[f"plan@{budget}"]
        assert ours.spent <= budget + 1e-9
        assert ours.hit_rate > plan.hit_rate + 0.02
        assert ours.useful_share > plan.useful_share


def test_the_worth_of_follow_ups_is_what_they_turn_out_to_be_worth():
    _, follower = fitted(jobs(1, days=10))
    assert follower is not None
    # Each step is asked within a minute, of a life of four hours: what is left is nearly all, where it is asked.
    often, seldom = follower.worth(np.array([0.8, 0.1]), np.array([20.0, 20.0]), np.array([0.2, 0.2]))
    assert often == pytest.approx(0.85, abs=0.12)
    assert seldom < 0.5


def test_where_nothing_follows_nobody_follows():
    wrong = sum(
        WARMERS["lightgbm"](evenly(150, 300, 10, seed), SETTINGS, seed).follower is not None for seed in range(8)
    )
    assert wrong <= 1


def test_prices_spend_what_is_allowed():
    follower = Follower(5.0, 60.0, (0.0,), (0.0,), (1.0, 0.0, 0.0, 0.0), ())
    planned = np.linspace(0.01, 0.99, 99)
    expected = rates([Brought.of(100, np.arange(50), np.linspace(0.01, 0.99, 50), np.zeros(50))])
    for allowed in (1, 10, 40, 100):
        price, plan = follower.price(planned, 100, allowed, expected)
        follow = float((np.linspace(0.01, 0.99, 50) >= price).sum())
        assert plan + follow == pytest.approx(allowed, abs=3)
        assert plan <= (planned >= price).sum()
    assert follower.price(planned, 100, 1000, expected) == (0.0, 99)
    assert follower.price(planned, 100, 30, ())[1] == 30
    assert follower.price(np.full(99, 0.4), 100, 30, ()) == (0.4, 30), "of equals as many as are paid for"


def test_a_key_counts_once_in_a_window_and_not_at_prices_that_plan_it():
    brought = Brought.of(10, np.array([3, 3, 4]), np.array([0.2, 0.9, 0.5]), np.array([0.1, 0.1, 0.4]))
    assert sorted(brought.best.tolist()) == [0.5, 0.9]
    told = dict(rates([brought]))
    assert told[0.9] == pytest.approx(0.1)
    assert told[0.5] == pytest.approx(0.2)
    assert rates([Brought.of(10, np.zeros(0, np.int64), np.zeros(0), np.zeros(0))]) == ()


class Eager(Scoring):
    """Plans nothing, and follows whatever follows."""

    follows = True

    def score(self, tally, keys):
        return np.full(len(keys), -np.inf)

    def following(self, tally):
        return Follower(5.0, 60.0, (0.0,), (0.0,), (1.0, 0.0, 0.0, 10.0), ())


def test_a_follow_up_is_fetched_once_before_it_is_asked_and_never_while_it_is_held():
    """One pair, asked every five hours and once in between: its answer lives for four."""
    pairs = np.arange(40) * 5 * HOUR
    at = np.sort(np.concatenate([pairs, pairs + 30, pairs + HOUR]))
    key = np.tile([0, 1, 0], 40)
    known = Demand.of(key, at)
    told = play(known, middle(known, 0.5), SETTINGS, {"ours": Contestant(Eager(), 1.0), "none": Contestant()})
    ours, none = told["ours"], told["none"]
    # Both missed twenty times; now key 0 alone does, which nothing announces. The first window has nothing to spend.
    assert none.misses_usd == 40
    assert ours.misses_usd == 21
    assert ours.useful == ours.prefills.sum() == 19


def test_a_budget_holds_for_follow_ups_too():
    known = jobs(2)
    start = middle(known, 0.4)
    for budget in (0.01, 0.05):
        told = play(known, start, SETTINGS, {"ours": Contestant(Eager(), budget)})["ours"]
        assert 0.5 * budget < told.spent <= budget + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_coming_finds_the_next_request_that_a_look_through_all_finds(seed):
    rng = np.random.default_rng(seed)
    at = np.sort(rng.uniform(1e9, 1e9 + 50 * HOUR, 300))
    key = rng.integers(0, 20, 300)
    known = Demand.of(key, at)
    coming = Coming(known)
    keys, moments = rng.integers(0, 20, 100), rng.uniform(1e9 - HOUR, 1e9 + 60 * HOUR, 100)
    slow = [
        min((t - now for k, t in zip(key.tolist(), at.tolist(), strict=True) if k == one and t >= now), default=np.inf)
        for one, now in zip(keys.tolist(), moments.tolist(), strict=True)
    ]
    assert coming.wait(keys, moments) == pytest.approx(slow, abs=1e-3)
    left = coming.left(keys, moments, SETTINGS)
    assert ((left >= 0) & (left <= 1)).all()
    assert (left > 0).tolist() == [wait < SETTINGS.ttl_seconds for wait in slow]
