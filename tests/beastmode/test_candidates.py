import json
from dataclasses import replace

import pytest

from beastmode.candidates import Candidate, Price, Tier
from beastmode.pricing import Rates
from beastmode.records import Endpoint, Needs, Request
from beastmode.validity import candidates_of


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (Price(), None),
        (Price(since="2026-01-01"), None),
        (Price(1, 4), 0.003),
        (Price(1), None),
        (Price(output_per_mtok=4), None),
        (Price(per_request=0.5), 0.5),
        (Price(1, 4, per_request=0.5), 0.503),
        (Price(0, 0), 0.0),
    ],
)
def test_a_price_is_known_or_not_and_never_silently_free(price: Price, cost: float | None) -> None:
    assert price.cost_usd(1000, 500) == (pytest.approx(cost) if cost is not None else None)


TIERED = Price(1, 4, 0.1, per_request=0.5, tiers=(Tier(1000, 2, 8, 0.2), Tier(50_000, 3, 0)))


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (Price(1, 4), (1000, 500, 400, 100, 300), 0.003),
        (Price(1, 4, 0.1, 1.25), (1000, 500, 400, 100), (500 + 40 + 125 + 2000) / 1e6),
        (Price(1, 4, reasoning_per_mtok=2), (1000, 500, 0, 0, 300), (1000 + 800 + 600) / 1e6),
        (Price(1, 4, reasoning_per_mtok=0), (1000, 500, 0, 0, 500), 0.001),
        (Price(1, 4, cache_read_per_mtok=0), (1000, 500, 1000), 0.002),
        (TIERED, (1000, 10, 500), 0.5 + (500 + 50 + 40) / 1e6),
        (TIERED, (1001, 10, 500), 0.5 + (501 * 2 + 100 + 80) / 1e6),
        (TIERED, (50_001, 10, 1), 0.5 + 50_001 * 3 / 1e6),
        (Price(1, 4), (1000, 500, 900, 200), None),
        (Price(1, 4), (1000, 500, 0, 0, 501), None),
        (Price(1), (1000, 0), 0.001),
        (Price(per_request=0.5), (1000, 500, 2000), 0.5),
    ],
)
def test_each_kind_of_token_has_its_price(price: Price, usage: tuple[int, ...], cost: float | None) -> None:
    assert price.cost_usd(*usage) == (pytest.approx(cost, abs=1e-12) if cost is not None else None)


def test_rates_agree_with_prices() -> None:
    import numpy as np

    free_at_first = Price(0, 0, tiers=(Tier(1000, 2, 8),))
    prices = [Price(), Price(1, 4), Price(per_request=0.5), Price(1, 4, per_request=0.5), Price(0, 0), TIERED,
              free_at_first]  # fmt: skip
    rng = np.random.default_rng(0)
    into, outof = rng.uniform(0, 1e5, 7), rng.uniform(0, 1e4, (7, len(prices)))
    into[0] = 1000.0
    got = Rates.of(prices).cost_usd(into, outof)
    for row in range(7):
        for column, price in enumerate(prices):
            known = price.cost_usd(into[row], outof[row, column])
            assert got[row, column] == pytest.approx(known) if known is not None else np.isnan(got[row, column])


def test_unknown_output_costs_nothing_only_where_output_is_free() -> None:
    import numpy as np

    prices = [Price(1, 4), Price(per_request=0.5), Price(1), TIERED]
    got = Rates.of(prices).cost_usd(np.array([10.0, 60_000.0]), np.full((2, 4), np.nan))
    assert np.isnan(got[:, 0]).all()
    assert (got[:, 1] == 0.5).all()
    assert np.isnan(got[:, 2]).all()
    assert np.isnan(got[0, 3])
    assert got[1, 3] == pytest.approx(0.68), "above the last bound output is free"


@pytest.mark.parametrize(
    ("candidate", "needs", "tokens", "why"),
    [
        (Candidate("a"), Needs(tools=True, json=True), 1e9, None),
        (Candidate("a", tools=False), Needs(tools=True), 1, "lacks tools"),
        (Candidate("a", json=False), Needs(json=True), 1, "lacks json"),
        (Candidate("a"), Needs(vision=True), 1, "lacks vision"),
        (Candidate("a", vision=True), Needs(vision=True), 1, None),
        (Candidate("a", context_tokens=100), Needs(), 100, None),
        (Candidate("a", region="eu"), Needs(regions=("us", "eu")), 1, None),
        (Candidate("a", region="eu"), Needs(regions=("us",)), 1, "region eu is not allowed"),
        (Candidate("a"), Needs(regions=("us",)), 1, "its region is not known"),
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
    price = replace(TIERED, since="2026-01-01", reasoning_per_mtok=3)
    candidate = Candidate("a", "p", "http://x/v1", "KEY", "m", price, 1000, vision=True)
    assert Candidate.from_mapping(json.loads(json.dumps(candidate.to_json()))) == candidate
    with pytest.raises(ValueError, match=r"'a'.*'base_ulr'"):
        Candidate.from_mapping({"name": "a", "base_ulr": "x"})


def test_the_endpoint_falls_back_to_the_name() -> None:
    assert Candidate("a").endpoint == Endpoint("a")
    assert Candidate("a", "p", "http://x/v1", "KEY", "m").endpoint == Endpoint("m", "http://x/v1", "KEY", "p")


@pytest.mark.parametrize(
    ("tiers", "said"),
    [
        ((Tier(10, 1, 1), Tier(10, 2, 2)), "do not rise"),
        ((Tier(10, -1, 1),), "no number of zero or more"),
        ((Tier(10, 1, None),), "needs its bound"),  # type: ignore[arg-type]
    ],
)
def test_a_manifest_with_odd_tiers_is_refused(tiers: tuple[Tier, ...], said: str) -> None:
    known = Candidate("a", price=Price(1, 2, tiers=tiers)).to_json()
    with pytest.raises(ValueError, match=said):
        candidates_of([known])


@pytest.mark.parametrize(
    ("price", "input_tokens", "cached", "saved"),
    [
        (Price(1, 4, 0.1), 2000, 1000, 0.0009),
        (Price(1, 4), 2000, 1000, 0.0),
        (Price(1, 4, 2.0), 2000, 1000, 0.0),
        (Price(), 2000, 1000, 0.0),
        (Price(1), 2000, 1000, 0.0),
        (Price(per_request=0.5), 2000, 1000, 0.0),
        (Price(1, 4, 0.1), 1000, 2000, 0.0),
        (TIERED, 60_000, 50_000, 0.0),
        (TIERED, 2000, 1000, 0.0018),
    ],
    ids=[
        "discount",
        "none",
        "dearer",
        "unknown",
        "half-known",
        "flat",
        "more-than-there-is",
        "a-tier-without",
        "a-tier",
    ],
)
def test_what_a_cached_prefix_saves(price: Price, input_tokens: float, cached: float, saved: float) -> None:
    assert price.saving_usd(input_tokens, cached) == pytest.approx(saved)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"region": 7}, "region = 7 is no text"),
        ({"cache_ttl_seconds": -1}, "what its cache keeps"),
        ({"cache_minimum_tokens": "many"}, "what its cache keeps"),
    ],
)
def test_a_manifest_with_an_odd_region_or_cache_is_refused(known: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        candidates_of([{**Candidate("a").to_json(), **known}])


def test_a_manifest_from_before_there_were_regions_is_read() -> None:
    old = {k: v for k, v in Candidate("a").to_json().items() if k != "region" and not k.startswith("cache")}
    assert candidates_of([old]) == (Candidate("a"),)
