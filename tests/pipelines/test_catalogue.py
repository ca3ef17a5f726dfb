from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from beastmode.candidates import Candidate, Price, Tier
from pipelines import catalogue
from pipelines.settings import SettingsError

ROOT = Path(__file__).resolve().parents[2]

DATED = """
[[candidates]]
name = "a"
base_url = "https://a.example/v1"
api_key_env = "A_KEY"
context_tokens = 8000
json = false

[[candidates.prices]]
since = 2024-05-13
input_per_mtok = 5
output_per_mtok = 15

[[candidates.prices]]
since = 2024-10-02
input_per_mtok = 2.5
output_per_mtok = 10

[[candidates]]
name = "b"
price = { per_request = 0.01 }
"""


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    path = tmp_path / "candidates.toml"
    path.write_text(DATED)
    return path


@pytest.mark.parametrize(
    ("at", "price"),
    [
        (date(2024, 1, 1), Price()),
        (date(2024, 5, 13), Price(5, 15, since="2024-05-13")),
        (date(2024, 10, 1), Price(5, 15, since="2024-05-13")),
        (date(2024, 10, 2), Price(2.5, 10, since="2024-10-02")),
        (date(2030, 1, 1), Price(2.5, 10, since="2024-10-02")),
    ],
)
def test_the_price_in_force_on_a_day(dated: Path, at: date, price: Price) -> None:
    first, second = catalogue.read(dated, at)
    assert first == Candidate("a", None, "https://a.example/v1", "A_KEY", price=price, context_tokens=8000, json=False)
    assert second.price == Price(per_request=0.01), "an undated price holds always"


def test_without_a_day_it_is_today(dated: Path) -> None:
    assert catalogue.read(dated) == catalogue.read(dated, datetime.now(UTC).date())


WRONG = {
    "misspelt key": ('[[candidates]]\nname = "a"\nbase_ulr = "http://x"\n', r"candidate 'a': base_ulr: unknown key"),
    "misspelt price": ('[[candidates]]\nname="a"\nprice={input_per_token=1}\n', r"price.input_per_token: unknown key"),
    "no name": ('[[candidates]]\nprovider = "x"\n', r"block 1: name"),
    "negative price": ('[[candidates]]\nname="a"\nprice={per_request=-1}\n', r"per_request = -1"),
    "odd address": ('[[candidates]]\nname="a"\nbase_url="x.example"\n', r"base_url = 'x.example'"),
    "a key instead of its variable": ('[[candidates]]\nname="a"\napi_key_env="sk-123"\n', r"api_key_env"),
    "twice": ('[[candidates]]\nname="a"\n[[candidates]]\nname="a"\n', r"'a' stands there twice"),
    "same day": (
        '[[candidates]]\nname="a"\nprices=[{since=2024-01-01,per_request=1},{since=2024-01-01,per_request=2}]\n',
        r"same day",
    ),
    "half a price": ('[[candidates]]\nname="a"\nprice={input_per_mtok=1}\n', r"output_per_mtok is missing; write 0"),
    "tiers that fall": (
        '[[candidates]]\nname="a"\nprice={input_per_mtok=1,output_per_mtok=1,tiers=['
        "{above_input_tokens=9,input_per_mtok=1,output_per_mtok=1},"
        "{above_input_tokens=8,input_per_mtok=1,output_per_mtok=1}]}\n",
        r"\[9, 8\], must rise",
    ),
    "tiers of nothing": (
        '[[candidates]]\nname="a"\nprice={per_request=1,tiers=['
        "{above_input_tokens=9,input_per_mtok=1,output_per_mtok=1}]}\n",
        r"below the first",
    ),
    "price and prices": ('[[candidates]]\nname="a"\nprice={per_request=1}\nprices=[{per_request=1}]\n', r"both"),
    "another key": ('[[candidate]]\nname="a"\n', r"unknown key 'candidate'"),
    "no toml": ("[[", r"candidates.toml"),
    "no list": ('candidates = "a"\n', r"no list"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    text, said = WRONG[name]
    path = tmp_path / "candidates.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        catalogue.read(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file; check `catalogue` of the configuration, or --what-if"):
        catalogue.read(tmp_path / "none.toml")


def test_what_a_world_wrote_is_read_back(tmp_path: Path) -> None:
    import json

    tiered = Price(1, 2, 0.1, reasoning_per_mtok=3, tiers=(Tier(9, 2, 4, 0.2),))
    known = [
        Candidate("a", price=Price(1, 2), vision=True),
        Candidate("c", price=tiered),
        Candidate("b", base_url="http://127.0.0.1:1/v1"),
    ]
    path = tmp_path / "candidates.json"
    path.write_text(json.dumps([candidate.to_json() for candidate in known]))
    assert list(catalogue.read(path)) == known


def test_the_catalogue_that_ships_is_sound() -> None:
    found = catalogue.read(ROOT / "configs" / "candidates.toml")
    assert len(found) >= 3
    for candidate in found:
        assert candidate.base_url
        assert candidate.price.cost_usd(1000, 1000), "every candidate is priced"
    by_name = {candidate.name: candidate for candidate in found}
    assert by_name["gpt-4o"].price.input_per_mtok == 2.5


def test_a_book_prices_by_the_day_of_the_call_and_looks_the_rest_up(dated: Path) -> None:
    book = catalogue.book(dated)
    for day, price in ((date(2024, 10, 1), 5), (date(2024, 10, 2), 2.5)):
        quote = book.price("a", None, datetime(day.year, day.month, day.day, tzinfo=UTC))
        assert quote is not None
        assert (quote.price.input_per_mtok, quote.source) == (price, "catalogue")
    assert book.price("a", None, datetime(2024, 5, 12, tzinfo=UTC)) is None, "nobody knows what it cost before"
    listed = book.price("gpt-4o-mini", "openai", datetime(2026, 1, 1, tzinfo=UTC))
    assert listed is not None
    assert listed.source.startswith("genai-prices ")


def test_prices_to_try_hold_at_all_times(dated: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        '[[candidates]]\nname = "a"\nprices = [{ since = 2030-01-01, input_per_mtok = 9, output_per_mtok = 9 },'
        " { since = 2029-01-01, input_per_mtok = 1, output_per_mtok = 1 }]\n"
    )
    book, at = catalogue.book(dated, other), datetime(2024, 6, 1, tzinfo=UTC)
    first, second = book.price("a", None, at), book.price("b", None, at)
    assert first is not None
    assert second is not None
    assert first.price == Price(9, 9)
    assert second.price.per_request == 0.01, "what the file does not name stays"


def test_region_and_cache_come_from_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "candidates.toml"
    path.write_text(
        '[[candidates]]\nname = "a"\nregion = "eu"\ncache_ttl_seconds = 3600\ncache_minimum_tokens = 4096\n'
        '[[candidates]]\nname = "b"\n'
    )
    a, b = catalogue.read(path)
    assert (a.region, a.cache_ttl_seconds, a.cache_minimum_tokens) == ("eu", 3600, 4096)
    assert (b.region, b.cache_ttl_seconds, b.cache_minimum_tokens) == (None, 300.0, 1024)
    assert b == Candidate("b"), "the catalogue and the bundle mean the same by what is not said"
    path.write_text('[[candidates]]\nname = "a"\nregion = ""\n')
    with pytest.raises(SettingsError, match="region"):
        catalogue.read(path)
