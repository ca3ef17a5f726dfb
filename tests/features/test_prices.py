import copy
import socket
from datetime import UTC, datetime, timedelta, timezone

import pytest
from genai_prices import Usage, calc_price

from beastmode.candidates import Price
from features.prices import CATALOGUE, PriceBook, Quote, Tariff

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_what_is_listed_without_amounts_is_unpriced_not_free() -> None:
    book = PriceBook()
    assert book.price("gpt-4o", "github-copilot", AT) is None, "a subscription"
    assert book.price("google/gemma-3-27b-it", None, AT) is None
    assert book.price("whisper-large-v3", "groq", AT) is None, "charged by the hour"


def test_no_network_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a price was looked up on the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert PriceBook().price("gpt-4o-mini", "openai", AT) is not None


def test_prices_that_an_update_put_in_place_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from genai_prices import data_snapshot

    monkeypatch.setattr(data_snapshot, "_custom_snapshot", data_snapshot.DataSnapshot([], from_auto_update=True))
    with pytest.raises(LookupError):
        calc_price(Usage(input_tokens=1), "gpt-4o-mini", provider_id="openai")
    assert PriceBook().price("gpt-4o-mini", "openai", AT) is not None


def test_the_catalogue_comes_before_the_list_and_without_it_the_list_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = PriceBook([Tariff("gpt-4o-mini", provider="openai", prices=(Price(1, 2),))])
    assert book.price("gpt-4o-mini", "openai", AT) == Quote(Price(1, 2), CATALOGUE)
    assert "public" not in vars(book)
    assert PriceBook(listed=False).price("gpt-4o-mini", "openai", AT) is None


def quote(book: PriceBook, served=None, plan=None, requested=None, provider=None, at=AT) -> float | str | None:
    found = book.quote(served, plan, requested, provider, at)
    return None if found is None else found.price.input_per_mtok


HOUSE = PriceBook(
    [
        Tariff("gpt-4o", provider="openai", prices=(Price(1, 1),)),
        Tariff("fast", model="vendor/fast-1", prices=(Price(2, 2),)),
        Tariff("local", model="openai/gpt-oss-20b", provider="house", prices=(Price(3, 3),)),
        Tariff("blue", model="shared", provider="azure", prices=(Price(4, 4),)),
        Tariff("red", model="shared", provider="openai", prices=(Price(5, 5),)),
        Tariff("unpriced", model="gpt-4o-mini", provider="openai"),
    ]
)


@pytest.mark.parametrize(
    ("names", "price"),
    [
        ({"served": "gpt-4o"}, 1),
        ({"served": "openai/gpt-4o"}, 1),
        ({"plan": "gpt-4o"}, 1),
        ({"plan": "gpt-4o > fast"}, 1),
        # A dated snapshot of what was asked is what was asked.
        ({"served": "gpt-4o-2024-08-06", "plan": "gpt-4o", "provider": "openai"}, 1),
        ({"served": "gpt-4o-2024-08-06", "requested": "gpt-4o"}, 1),
        # By itself it may be another one than the catalogue speaks of: the list knows.
        ({"served": "gpt-4o-2024-08-06", "provider": "openai"}, 2.5),
        # A gateway that fell back: what answered is paid for.
        ({"served": "claude-3-5-haiku-20241022", "plan": "gpt-4o", "requested": "gpt-4o"}, 0.8),
        ({"served": "fast", "plan": "gpt-4o"}, 2),
        ({"served": "gpt-4o", "plan": "gpt-4o", "provider": "azure"}, 2.5),
        # A name of the house for whatever stands behind it.
        ({"served": "deepseek/deepseek-v4-flash", "requested": "fast"}, 2),
        ({"served": "something-else", "plan": "fast"}, 2),
        ({"served": "vendor/fast-1"}, 2),
        ({"served": "openai/gpt-oss-20b", "provider": "house"}, 3),
        # Two candidates share a model's id.
        ({"served": "shared", "plan": "blue"}, 4),
        ({"served": "shared", "provider": "openai"}, 5),
        ({"served": "shared", "provider": "azure"}, 4),
        ({"served": "shared"}, None),
        # A candidate without a price is looked up as the model that it is.
        ({"plan": "unpriced"}, 0.15),
        ({"served": "gpt-4o-mini-2024-07-18", "plan": "unpriced", "provider": "openai"}, 0.15),
        # What answered is known by name and unknown to all: not priced as what was asked.
        ({"served": "somebody's-model", "requested": "gpt-4o-mini"}, None),
        ({"requested": "gpt-4o-mini"}, 0.15),
        ({}, None),
    ],
)
def test_whose_price_a_call_has(names: dict[str, str], price: float | None) -> None:
    assert quote(HOUSE, **names) == price


def test_history_is_priced_by_its_day_also_before_the_catalogue_begins() -> None:
    book = PriceBook([Tariff("o3", prices=(Price(7, 7, since="2026-01-01"), Price(8, 8, since="2026-02-01")))])
    moments = {"2025-06-09": 10, "2025-06-10": 2, "2025-12-31": 2, "2026-01-01": 7, "2026-01-31": 7, "2026-02-01": 8}
    for day, price in moments.items():
        assert quote(book, "o3", at=datetime.fromisoformat(f"{day}T23:59:59+00:00")) == price


def test_days_are_those_of_utc() -> None:
    book = PriceBook([Tariff("a", prices=(Price(1, 1, since="2026-01-02"),))], listed=False)
    tokyo = timezone(timedelta(hours=9))
    assert quote(book, "a", at=datetime(2026, 1, 2, 8, 59, tzinfo=tokyo)) is None
    assert quote(book, "a", at=datetime(2026, 1, 2, 9, 0, tzinfo=tokyo)) == 1


def test_the_time_of_day_matters_where_the_provider_says_so() -> None:
    book, day = PriceBook(), datetime(2026, 11, 20, tzinfo=UTC)
    hours = {0.99: 0.15, 1: 0.3, 3.99: 0.3, 4: 0.15, 6: 0.3, 10: 0.15}
    for hour, price in hours.items():
        assert quote(book, "deepseek-v4-flash", at=day + timedelta(hours=hour)) == price


def test_a_free_model_of_the_catalogue_is_priced_at_nothing() -> None:
    book = PriceBook([Tariff("free", prices=(Price(0, 0),))])
    found = book.price("free", None, AT)
    assert found is not None
    assert found.price.cost_usd(10, 10) == 0.0


def test_a_million_strange_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.prices.MOST", 100)
    monkeypatch.setattr("features.pricelist.MOST", 100)
    book = PriceBook()
    for i in range(250):
        assert book.price(f"strange-{i}", None, AT) is None
    assert len(book._quotes) <= 100
    assert book.public is not None
    assert len(book.public._found) <= 100


def test_a_book_travels_to_another_process_without_what_it_looked_up() -> None:
    book = PriceBook([Tariff("a", prices=(Price(1, 1),))])
    assert book.price("gpt-4o-mini", None, AT)
    assert "public" in vars(book)
    other = copy.deepcopy(book)  # by the same protocol that processes use
    assert "public" not in vars(other)
    assert not other._quotes
    assert quote(other, "gpt-4o-mini") == 0.15
    assert quote(other, "a") == 1
