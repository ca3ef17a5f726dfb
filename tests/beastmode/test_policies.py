import numpy as np
import pytest

from beastmode.policies import EpsilonGreedy, Greedy, Softmax, policy_from_json, policy_to_json

ALL = np.ones((1, 3), bool)


def chances(policy: object, *utility: float, eligible: tuple[int, ...] = (1, 1, 1)) -> list[float]:
    got = policy.probabilities(np.array([utility]), np.array([eligible], bool))  # type: ignore[attr-defined]
    return [round(float(p), 6) for p in got[0]]


def test_greedy_takes_the_best() -> None:
    assert chances(Greedy(), 0.1, 0.9, 0.5) == [0, 1, 0]
    assert chances(Greedy(), 0.1, 0.9, 0.5, eligible=(1, 0, 1)) == [0, 0, 1]


@pytest.mark.parametrize(("lead", "moves"), [(0.049, False), (0.05, False), (0.051, True)])
def test_the_incumbent_is_left_only_for_more_than_the_margin(lead: float, moves: bool) -> None:
    assert chances(Greedy(incumbent=0, margin=0.05), 0.5, 0.5 + lead, 0.1) == ([0, 1, 0] if moves else [1, 0, 0])


def test_an_incumbent_that_may_not_serve_or_has_no_price_is_left() -> None:
    assert chances(Greedy(0, 1.0), 0.5, 0.6, 0.1, eligible=(0, 1, 1)) == [0, 1, 0]
    assert chances(Greedy(0, 1.0), np.nan, 0.6, 0.1) == [0, 1, 0]


def test_unknown_utility_loses_to_every_number() -> None:
    assert chances(Greedy(), np.nan, -5.0, np.nan) == [0, 1, 0]
    assert chances(Greedy(), np.nan, np.nan, np.nan, eligible=(0, 1, 1)) == [0, 1, 0]
    assert chances(Softmax(0.1), np.nan, -5.0, np.nan) == [0, 1, 0]
    assert chances(Softmax(0.1), np.nan, np.nan, np.nan, eligible=(0, 1, 1)) == [0, 0.5, 0.5]


def test_epsilon_is_dealt_over_the_eligible() -> None:
    assert chances(EpsilonGreedy(0.3), 0.1, 0.9, 0.5) == [0.1, 0.8, 0.1]
    assert chances(EpsilonGreedy(0.3), 0.1, 0.9, 0.5, eligible=(1, 1, 0)) == [0.15, 0.85, 0]
    assert chances(EpsilonGreedy(0.0), 0.1, 0.9, 0.5) == [0, 1, 0]


def test_softmax_follows_its_formula_and_keeps_its_floor() -> None:
    weight = np.exp(np.array([0.1, 0.9, 0.5]) / 0.2)
    assert chances(Softmax(0.2), 0.1, 0.9, 0.5) == pytest.approx((weight / weight.sum()).tolist(), abs=1e-6)
    assert min(chances(Softmax(1e-3, floor=0.3), 0.0, 1.0, 0.0)) == pytest.approx(0.1)
    assert chances(Softmax(1e-3), 1e6, -1e6, 0.0) == [1, 0, 0], "large utilities overflow nothing"


def test_softmax_has_probabilities_however_far_the_utilities_lie() -> None:
    """An infinite latency is infinitely bad, and so small a temperature that it overflows is greedy."""
    assert chances(Softmax(0.1), -np.inf, -np.inf, np.nan) == [0.5, 0.5, 0]
    assert chances(Softmax(0.1), -np.inf, 0.5, -np.inf) == [0, 1, 0]
    assert chances(Softmax(1e-300), -1e12, -2e12, -1e12) == [0.5, 0, 0.5]


@pytest.mark.parametrize("policy", [Greedy(), EpsilonGreedy(0.1), Softmax(0.1)])
def test_nobody_eligible_is_an_error(policy: object) -> None:
    with pytest.raises(ValueError, match="no eligible candidate"):
        chances(policy, 0.1, 0.2, 0.3, eligible=(0, 0, 0))


def test_bounds_and_unknown_kinds_are_named() -> None:
    for make, said in (
        (lambda: EpsilonGreedy(1.1), "epsilon"),
        (lambda: Softmax(0.0), "temperature"),
        (lambda: Softmax(1.0, floor=-0.1), "floor"),
        (lambda: policy_from_json({"kind": "whim"}), r"unknown policy 'whim'; known: greedy"),
    ):
        with pytest.raises(ValueError, match=said):
            make()


@pytest.mark.parametrize("policy", [Greedy(2, 0.1), EpsilonGreedy(0.2, Greedy(1, 0.3)), Softmax(0.5, 0.1)])
def test_a_policy_survives_json(policy: Greedy | EpsilonGreedy | Softmax) -> None:
    assert policy_from_json(policy_to_json(policy)) == policy
