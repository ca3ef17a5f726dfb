"""A verifier replaces another only where it is not worse, and never where it breaks its budget."""

from statistics import NormalDist

import numpy as np
import pytest

from models.verifiers_gate import Contestant, judge, mean_low
from models.verifiers_stream import Served

BUDGET, MARGIN, DELTA = 0.01, 0.005, 0.05


def contestant(good: int, wrong: int, threshold: float = 0.5, requests: int = 4000) -> Contestant:
    """The first `good` requests are served right, the last `wrong` ones wrong, nobody else anything."""
    score, right = np.zeros(requests), np.zeros(requests, dtype=bool)
    score[:good], right[:good] = 1.0, True
    score[requests - wrong :] = 1.0
    return Contestant(Served(score, right, right), threshold)


def verdict(new: Contestant, serving: Contestant | None, live_low: float = 0.0):
    return judge(new, serving, BUDGET, MARGIN, DELTA, live_low)


def test_the_first_that_keeps_its_budget_serves() -> None:
    assert verdict(contestant(200, 30), None).promote


@pytest.mark.parametrize("serving", [None, contestant(100, 10)])
def test_what_breaks_its_budget_or_serves_nothing_never_serves(serving: Contestant | None) -> None:
    broken = verdict(contestant(900, 80), serving)
    assert not broken.promote
    assert "proven over the budget" in broken.reason
    # 45 of 4,000 is more than one percent, and no proof of it.
    assert verdict(contestant(900, 45), serving).promote
    nothing = verdict(contestant(0, 0, threshold=float("inf")), serving)
    assert not nothing.promote
    assert "nothing to serve" in nothing.reason


@pytest.mark.parametrize(("good", "promoted"), [(300, True), (200, True), (190, True), (150, False), (0, False)])
def test_it_may_lack_the_margin_and_no_more(good: int, promoted: bool) -> None:
    found = verdict(contestant(good, 10), contestant(200, 10))
    assert found.promote == promoted
    assert found.gain == pytest.approx((good - 200) / 4000)
    assert found.gain_low <= found.gain


def test_more_hits_by_more_mistakes_are_no_gain() -> None:
    looser = verdict(contestant(210, 40), contestant(200, 10))
    assert looser.gain == pytest.approx((170 - 190) / 4000)
    assert not verdict(contestant(200, 45), contestant(200, 0), 0.0).promote


def test_what_serves_over_its_budget_is_replaced_by_what_serves_less() -> None:
    new, serving = contestant(100, 10), contestant(400, 90)
    assert "proven over the budget on questions kept back" in verdict(new, serving).reason
    assert verdict(new, serving).promote
    kept = contestant(400, 10)
    assert not verdict(new, kept).promote
    on_traffic = verdict(new, kept, live_low=0.011)
    assert on_traffic.promote
    assert "on traffic" in on_traffic.reason


def test_the_lower_bound_of_a_mean_holds_in_nineteen_of_twenty_where_groups_come_together() -> None:
    rng, over, naive = np.random.default_rng(0), 0, 0
    for _ in range(600):
        size = rng.integers(1, 11, 200)
        group = np.repeat(np.arange(200), size)
        values = rng.normal(0.3, 1.0, 200)[group]
        over += mean_low(values, group, DELTA) > 0.3
        naive += mean_low(values, None, DELTA) > 0.3
    assert over / 600 <= DELTA + 3 * (DELTA * (1 - DELTA) / 600) ** 0.5
    assert naive / 600 > 2 * DELTA


def test_without_groups_it_is_the_bound_of_the_textbook() -> None:
    values = np.random.default_rng(1).normal(size=500)
    error = values.std(ddof=1) / 500**0.5
    assert mean_low(values, None, DELTA) == pytest.approx(values.mean() - NormalDist().inv_cdf(0.95) * error)


def test_one_group_proves_nothing() -> None:
    """A topic joined by pairs may be all that was kept back."""
    values = np.array([1.0, 0.0] * 150)
    assert mean_low(values, np.zeros(300, dtype=np.intp), DELTA) == -np.inf
    assert mean_low(values, np.arange(300), DELTA) < values.mean()
