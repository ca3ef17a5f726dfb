"""A held answer beside the candidates."""

import pytest

from beastmode import Objective, Prediction
from beastmode.cache import still_valid, worth


def predict(candidate: str, quality: float, cost_usd: float, objective: Objective) -> Prediction:
    return Prediction(candidate, quality, cost_usd, 500.0, quality - objective.per_dollar * cost_usd)


MONEY = Objective(per_dollar=10.0)
PAIR = (predict("small", 0.6, 0.001, MONEY), predict("large", 0.9, 0.02, MONEY))


def test_a_true_answer_of_the_best_is_worth_more_than_asking_it_again() -> None:
    found = worth(PAIR, MONEY, valid=1.0, maker="large")
    assert (found.hit, found.best, found.candidate, found.serve) == (0.9, pytest.approx(0.7), "large", True)


@pytest.mark.parametrize(("valid", "serve"), [(0.78, True), (0.77, False)])
def test_the_doubt_at_which_it_flips_is_what_a_call_costs(valid: float, serve: bool) -> None:
    # .9 * valid against .9 - .2
    found = worth(PAIR, MONEY, valid=valid, maker="large")
    assert found.serve is serve
    assert "large" in found.reason


def test_a_poor_maker_s_answer_gives_way_to_a_better_candidate() -> None:
    assert not worth(PAIR, MONEY, valid=1.0, maker="small").serve
    assert worth(PAIR, Objective(per_dollar=50), valid=1.0, maker="small").hit == 0.6
    assert worth(PAIR, MONEY, valid=1.0, maker="small", eligible=["small"]).serve


def test_an_unknown_utility_is_passed_over_and_nobody_at_all_is_no_rival() -> None:
    unknown = Prediction("dear", 1.0, None, None, float("nan"))
    assert worth((unknown, *PAIR), MONEY, valid=1.0).candidate == "large"
    assert worth((unknown,), MONEY, valid=0.1).serve


def test_validity_decays_by_half_lives_and_by_the_verifier_s_doubt() -> None:
    assert still_valid(1e9, None) == 1.0
    assert still_valid(200.0, 100.0) == 0.25
    assert still_valid(100.0, 100.0, 0.5) == 0.25
    assert still_valid(-5.0, 100.0, 7.0) == 1.0
