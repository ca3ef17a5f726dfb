"""Targets by intervals: simulations with a known truth, where requests come alone and where sessions share a fate."""

import numpy as np
import pytest

from models.attainment import Measured, effective, more, quantile, share, verdict

LOOKS = 400


def sessions(rng: np.random.Generator, groups: int, size: int) -> np.ndarray:
    """The session of each request: sizes differ."""
    return np.repeat(np.arange(groups), rng.integers(1, 2 * size, groups)) if size > 1 else np.arange(groups)


def shares(rate: float, groups: int, size: int, alike: float) -> list[Measured]:
    """Looks at a share: a session's rate is drawn (beta, intraclass correlation `alike`), then its requests."""
    rng, found = np.random.default_rng(0), []
    for _ in range(LOOKS):
        session = sessions(rng, groups, size)
        own = np.full(groups, rate)
        if alike:
            own = rng.beta(rate * (1 / alike - 1), (1 - rate) * (1 / alike - 1), groups)
        found.append(share((rng.random(len(session)) < own[session]).astype(float), session))
    return found


@pytest.mark.parametrize("rate", [0.005, 0.05, 0.4, 0.9, 0.995])
@pytest.mark.parametrize(("groups", "size", "alike"), [(300, 1, 0.0), (100, 6, 0.3), (40, 12, 0.3)])
def test_the_interval_of_a_share_covers_it_and_a_verdict_errs_as_rarely_as_it_says(rate, groups, size, alike):
    found = shares(rate, groups, size, alike)
    covered = np.mean([each.low <= rate <= each.high for each in found])
    assert covered >= 0.93
    # A truth that is a hair on the wrong side of the target is called met by one bound's error alone.
    for at_least, target in ((True, rate + 1e-9), (False, rate - 1e-9)):
        wrong = np.mean([verdict(each, target, at_least=at_least) == "met" for each in found])
        assert wrong <= 0.045


def test_sessions_that_are_taken_for_requests_would_err_often():
    """What the clusters are for: the same requests, each taken for a session of its own."""
    rng, rate, missed, clustered = np.random.default_rng(1), 0.4, 0, 0
    for _ in range(LOOKS):
        session = sessions(rng, 60, 10)
        hit = (rng.random(len(session)) < rng.beta(0.8, 1.2, 60)[session]).astype(float)
        for clusters in (np.arange(len(session)), session):
            found = share(hit, clusters)
            outside = not found.low <= rate <= found.high
            missed, clustered = (
                missed + (outside and clusters is not session),
                clustered + (outside and clusters is session),
            )
    assert missed > 0.25 * LOOKS
    assert clustered < 0.07 * LOOKS


@pytest.mark.parametrize(("groups", "size"), [(400, 1), (120, 8)])
def test_the_interval_of_a_quantile_covers_it(groups, size):
    rng, inside, together = np.random.default_rng(2), 0, 0.5 if size > 1 else 0.0
    truth = float(np.exp(1.6448536269514722))
    for _ in range(LOOKS):
        session = sessions(rng, groups, size)
        shared, own = rng.normal(size=groups)[session], rng.normal(size=len(session))
        waited = np.exp(np.sqrt(together) * shared + np.sqrt(1 - together) * own)
        found = quantile(waited, session, 0.95)
        assert found.low <= found.value <= found.high
        inside += found.low <= truth <= found.high
    assert inside / LOOKS >= 0.93


def test_few_values_bound_no_tail():
    found = quantile(np.arange(10.0), np.arange(10), 0.95)
    assert (found.value, found.high) == (pytest.approx(8.55), np.inf)
    assert verdict(found, 100.0, at_least=False) == "within noise of the target"


def test_what_never_varies_counts_each_session_once():
    known = share(np.ones(500), np.arange(500) // 50)
    assert known.low == pytest.approx(share(np.ones(10), np.arange(10)).low)
    assert known.high == 1.0
    assert effective(np.ones(500), np.zeros(500)) == 0.0
    assert share(np.ones(5), np.zeros(5)) == Measured(1.0, 0.0, 1.0, 5)


@pytest.mark.parametrize(
    ("target", "at_least", "said"),
    [
        (0.3, True, "met"), (0.4, True, "met"), (0.5, True, "within noise of the target"), (0.7, True, "missed"),
        (0.3, False, "missed"), (0.5, False, "within noise of the target"), (0.6, False, "met"),
        (None, True, "no target"),
    ],
)  # fmt: skip
def test_a_verdict_is_passed_only_where_the_interval_lies_on_one_side(target, at_least, said):
    assert verdict(Measured(0.5, 0.4, 0.6, 100), target, at_least=at_least) == said
    assert verdict(None, target, at_least=at_least) == "not known yet"


def test_the_requests_that_are_said_to_tell_do_tell():
    rng, target = np.random.default_rng(3), 0.46
    known = share((rng.random(200) < 0.5).astype(float), np.arange(200))
    known = Measured(0.5, 0.5 - (known.value - known.low), 0.5 + known.high - known.value, 200)
    n = 200 + more(known, target)
    told = [
        verdict(share((rng.random(n) < 0.5).astype(float), np.arange(n)), target, at_least=True) == "met"
        for _ in range(LOOKS)
    ]
    assert 0.35 < np.mean(told) < 0.65  # as often as not: at that size the bound lies on the target
    assert more(Measured(0.5, 0.4, 0.6, 100), 0.5) is None


def test_nothing_has_no_share():
    with pytest.raises(ValueError, match="no values"):
        share(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="no values"):
        quantile(np.array([]), np.array([]), 0.5)
