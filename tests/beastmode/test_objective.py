import numpy as np
import pytest

from beastmode.objective import Objective

QUALITY = np.array([[0.9, 0.5]])
COST = np.array([[0.01, 0.001]])
LATENCY = np.array([[2000.0, 500.0]])


def test_utility_is_quality_less_money_and_time() -> None:
    utility = Objective(per_dollar=10, per_second=0.05).utility(QUALITY, COST, LATENCY)
    np.testing.assert_allclose(utility, [[0.9 - 0.1 - 0.1, 0.5 - 0.01 - 0.025]])


def test_what_is_not_charged_need_not_be_known() -> None:
    unknown = np.full((1, 2), np.nan)
    np.testing.assert_array_equal(Objective().utility(QUALITY, unknown, None), QUALITY)
    np.testing.assert_array_equal(Objective().utility(QUALITY, None, unknown), QUALITY)


def test_what_is_charged_and_unknown_is_never_free() -> None:
    assert np.isnan(Objective(per_dollar=1).utility(QUALITY, np.array([[np.nan, 0.1]]), None)[0, 0])
    assert np.isnan(Objective(per_dollar=1).utility(QUALITY, None, None)).all()
    assert np.isnan(Objective(per_second=1).utility(QUALITY, COST, None)).all()


@pytest.mark.parametrize("name", ["per_dollar", "per_second"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_price_below_zero_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Objective(**{name: value})


def test_a_floor_leaves_those_that_reach_it_or_all() -> None:
    quality = np.array([[0.5, 0.7, 0.9], [0.1, 0.2, 0.3]])
    eligible = np.array([[True, True, False], [True, False, True]])
    got = Objective(quality_floor=0.6).reaching(quality, eligible)
    assert got.tolist() == [[False, True, False], [True, False, True]]
    assert Objective().reaching(quality, eligible) is eligible
