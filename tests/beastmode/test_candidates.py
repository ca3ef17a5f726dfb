import pytest

from beastmode.candidates import Candidate, Price
from beastmode.pricing import Rates
from beastmode.records import Endpoint, Needs, Request


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (Price(), None),
        (Price(since="2026-01-01"), None),
        (Price(1, 4), 0.003),
        (Price(1), 0.001),
        (Price(output_per_mtok=4), 0.002),
        (Price(per_request=0.5), 0.5),
        (Price(1, 4, per_request=0.5), 0.503),
        (Price(0, 0), 0.0),
    ],
)
def test_a_price_is_known_or_not_and_never_silently_free(price: Price, cost: float | None) -> None:
    assert price.cost_usd(1000, 500) == (pytest.approx(cost) if cost is not None else None)


def test_rates_agree_with_prices() -> None:
    import numpy as np

    prices = [Price(), Price(1, 4), Price(per_request=0.5), Price(1, 4, per_request=0.5), Price(0, 0)]
    rng = np.random.default_rng(0)
    into, outof = rng.uniform(0, 1e5, 7), rng.uniform(0, 1e4, (7, 5))
    got = Rates.of(prices).cost_usd(into, outof)
    for row in range(7):
        for column, price in enumerate(prices):
            known = price.cost_usd(into[row], outof[row, column])
            assert got[row, column] == pytest.approx(known) if known is not None else np.isnan(got[row, column])


def test_unknown_output_costs_nothing_only_where_output_is_free() -> None:
    import numpy as np

    got = Rates.of([Price(1, 4), Price(per_request=0.5)]).cost_usd(np.array([10.0]), np.full((1, 2), np.nan))
    assert np.isnan(got[0, 0])
    assert got[0, 1] == 0.5


@pytest.mark.parametrize(
    ("candidate", "needs", "tokens", "why"),
    [
        (Candidate("a"), Needs(tools=True, json=True), 1e9, None),
        (Candidate("a", tools=False), Needs(tools=True), 1, "lacks tools"),
        (Candidate("a", json=False), Needs(json=True), 1, "lacks json"),
        (Candidate("a"), Needs(vision=True), 1, "lacks vision"),
        (Candidate("a", vision=True), Needs(vision=True), 1, None),
        (Candidate("a", context_tokens=100), Needs(), 100, None),
        (
            Candidate("a", context_tokens=100),
            Needs(output_tokens=50),
            60,
            "context of 100 tokens is under the 110 needed",
        ),
    ],
)
def test_refusals_say_why(candidate: Candidate, needs: Needs, tokens: float, why: str | None) -> None:
    assert candidate.refusal(Request.of("x", needs=needs), tokens) == why


def test_a_candidate_survives_json_and_a_misspelt_key_is_named() -> None:
    candidate = Candidate("a", "p", "http://x/v1", "KEY", "m", Price(1, 2, since="2026-01-01"), 1000, vision=True)
    assert Candidate.from_mapping(candidate.to_json()) == candidate
    with pytest.raises(ValueError, match=r"'a'.*'base_ulr'"):
        Candidate.from_mapping({"name": "a", "base_ulr": "x"})


def test_the_endpoint_falls_back_to_the_name() -> None:
    assert Candidate("a").endpoint == Endpoint("a")
    assert Candidate("a", "p", "http://x/v1", "KEY", "m").endpoint == Endpoint("m", "http://x/v1", "KEY", "p")
