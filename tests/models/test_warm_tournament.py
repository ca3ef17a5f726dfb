"""The tournament: replays against rules that can be worked out by hand, and a lead whose error rate is known."""

import numpy as np
import pytest

from models.returning import HEURISTICS, Requests, Warmer, train
from models.warm_tournament import Played, ceiling, lead, oracle, play, scored, windows_of

HOUR = 3600.0
START = 1_760_000_400.0 // 86_400 * 86_400


def requests(rows: list[tuple[float, int]], k: int) -> Requests:
    rows = sorted(rows)
    at = START + HOUR * np.array([hour for hour, _ in rows])
    return Requests(np.array([key for _, key in rows], np.int64), at, np.zeros(k, np.int64))


def jobs(seed: int, days: int = 14, k: int = 48, noise: int = 200) -> Requests:
    """Keys that are asked for once a day at an hour of their own, and others at any time."""
    rng = np.random.default_rng(seed)
    rows = [(24.0 * day + key % 24 + rng.uniform(0, 0.9), key) for day in range(days) for key in range(k)]
    rows += [(hour, int(key)) for hour, key in zip(rng.uniform(0, 24 * days, 4 * noise),
                                                   k + rng.integers(0, noise, 4 * noise), strict=True)]  # fmt: skip
    return requests(rows, k + noise)


def test_a_prefill_serves_what_would_have_been_a_miss_and_is_counted_as_useful():
    # Every three hours, and answers live for two: nothing is ever hit but what is fetched ahead.
    known = requests([(0.5 + 3 * i, 0) for i in range(8)], 1)
    windows = windows_of(known, HOUR)
    none = play(known, windows, HOUR, None, 0.0, 2 * HOUR)
    assert none.hits.sum() == 0
    seer = play(known, windows, HOUR, oracle(known, windows, HOUR), 5.0, 2 * HOUR)
    assert seer.hits.sum() == seer.requests.sum() == seer.useful == seer.prefills.sum()
    always = play(known, windows, HOUR, [np.ones(1)] * len(windows), 5.0, 2 * HOUR)
    assert always.hit_rate == 1.0
    assert always.prefills.sum() > always.useful


def test_the_budget_is_kept_and_the_oracle_is_never_beaten_at_it():
    known = jobs(0, days=6)
    windows = windows_of(known, HOUR)[72:]
    top = ceiling(known, windows, HOUR)
    for budget in (0.1, 0.4):
        seer = play(known, windows, HOUR, oracle(known, windows, HOUR), budget, 6 * HOUR)
        assert seer.spent <= budget * 1.25
        for name in HEURISTICS:
            warmer = Warmer(name, HOUR, np.zeros(1), np.zeros(1))
            found = play(known, windows, HOUR, scored(warmer, known, windows), budget, 6 * HOUR)
            assert found.spent <= budget * 1.25
            assert found.hit_rate <= seer.hit_rate + 0.01
            assert found.hit_rate <= top
            assert found.useful <= found.prefills.sum()


def test_the_learner_finds_a_rhythm_that_no_heuristic_sees():
    known = jobs(1)
    windows = windows_of(known, HOUR)
    cut = 240
    learned = train("lightgbm", known.until(windows[cut]), windows[:cut], HOUR, 0)
    later = windows[cut:]
    found = play(known, later, HOUR, scored(learned, known, later), 0.5, 6 * HOUR)
    rival = Warmer("ewma", HOUR, np.zeros(1), np.zeros(1))
    other = play(known, later, HOUR, scored(rival, known, later), 0.5, 6 * HOUR)
    ahead = lead(found, other, 0.05, 0)
    assert ahead.low > 0.1
    assert lead(other, found, 0.05, 0).low < 0


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_a_warmer_that_is_no_better_is_seldom_promoted(memory):
    rng = np.random.default_rng(11)
    wrong, runs, w = 0, 300, 120
    for run in range(runs):
        noise = rng.normal(size=w)
        for i in range(1, w):
            noise[i] = memory * noise[i - 1] + np.sqrt(1 - memory**2) * noise[i]
        base = np.full(w, 50)
        count = np.full(w, 100)
        one = Played(base + np.round(4 * noise).astype(np.int64), count, count, 0)
        wrong += lead(one, Played(base, count, count, 0), 0.05, run).low > 0
    # One-sided at .05; a bootstrap of some twelve blocks errs a little more often than it says.
    assert wrong / runs <= 0.10


def test_the_ceiling_is_the_share_that_was_asked_before():
    known = requests([(0.1, 0), (1.1, 0), (1.2, 1), (2.1, 1), (2.2, 2), (2.9, 0)], 3)
    windows = [START + HOUR, START + 2 * HOUR]
    assert ceiling(known, windows, HOUR) == pytest.approx(3 / 5)
