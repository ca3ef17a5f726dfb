"""Read the catalogue of candidates: one block for each model that may serve, its prices dated."""

import json
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from beastmode.candidates import Candidate, Price, Tier
from features.prices import PriceBook, Tariff
from pipelines.settings import SettingsError

Amount = Annotated[float, Ge(0)]


class TierBlock(BaseModel):
    """What a candidate charges for all tokens of a call whose input is longer than a bound."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    above_input_tokens: Annotated[int, Ge(1)]
    input_per_mtok: Amount
    output_per_mtok: Amount
    cache_read_per_mtok: Amount | None = None
    cache_write_per_mtok: Amount | None = None
    reasoning_per_mtok: Amount | None = None


class PriceBlock(BaseModel):
    """What a candidate charges from a day on, in US dollars per million tokens, or per request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: date | None = None
    """The first day, UTC, on which the price holds; from ever where it is missing."""
    input_per_mtok: Amount | None = None
    output_per_mtok: Amount | None = None
    cache_read_per_mtok: Amount | None = None
    cache_write_per_mtok: Amount | None = None
    reasoning_per_mtok: Amount | None = None
    per_request: Amount | None = None
    tiers: tuple[TierBlock, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> "PriceBlock":
        if (self.input_per_mtok is None) != (self.output_per_mtok is None):
            missing = "input_per_mtok" if self.input_per_mtok is None else "output_per_mtok"
            raise ValueError(f"{missing} is missing; write 0 where such tokens are free")
        bounds = [tier.above_input_tokens for tier in self.tiers]
        if bounds != sorted(set(bounds)):
            raise ValueError(f"the bounds of the tiers, {bounds}, must rise")
        if self.tiers and self.input_per_mtok is None:
            raise ValueError("tiers need input_per_mtok and output_per_mtok for what is below the first")
        return self

    def price(self) -> Price:
        """Return the price as serving knows it."""
        amounts = self.model_dump(exclude={"since", "tiers"})
        tiers = tuple(Tier(**tier.model_dump()) for tier in self.tiers)
        return Price(**amounts, tiers=tiers, since=None if self.since is None else self.since.isoformat())


class Entry(BaseModel):
    """One model that may serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    provider: str | None = None
    base_url: Annotated[str | None, Field(pattern=r"^https?://")] = None
    """Of its OpenAI-compatible interface; it mostly ends in /v1."""
    api_key_env: Annotated[str | None, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = None
    """The *name* of the environment variable that holds the key."""
    model: str | None = None
    context_tokens: Annotated[int | None, Ge(1)] = None
    tools: bool = True
    json_: Annotated[bool, Field(alias="json")] = True
    vision: bool = False
    region: Annotated[str | None, Field(min_length=1)] = None
    """Where it processes requests, in the words that applications allow regions with."""
    cache_ttl_seconds: Annotated[float, Ge(0)] = 300.0
    """How long the provider keeps a prompt cached after it was last read."""
    cache_minimum_tokens: Annotated[int, Ge(0)] = 1024
    price: PriceBlock | None = None
    """A single price; `prices` where it has changed."""
    prices: tuple[PriceBlock, ...] = ()

    @model_validator(mode="after")
    def _dates_differ(self) -> "Entry":
        if self.price is not None and self.prices:
            raise ValueError("both price and prices are given; move the one into the list")
        days = [block.since for block in self.prices]
        if len(set(days)) != len(days):
            raise ValueError("two prices hold since the same day; merge them, or date one of them")
        return self

    def price_at(self, at: date) -> Price:
        """Return the price in force on a day: the latest that held by then; unknown before the first."""
        return self.tariff().at(at) or Price()

    def tariff(self) -> Tariff:
        """Return what it charges, with the names that a log may call it."""
        blocks = self.prices or ((self.price,) if self.price is not None else ())
        return Tariff(self.name, self.model, self.provider, tuple(block.price() for block in blocks))

    def candidate(self, at: date) -> Candidate:
        """Return the candidate as it was on a day."""
        known = {name: getattr(self, name) for name in _SAME}
        return Candidate(**known, json=self.json_, price=self.price_at(at))


_SAME = (
    "name", "provider", "base_url", "api_key_env", "model", "context_tokens", "tools", "vision", "region",
    "cache_ttl_seconds", "cache_minimum_tokens",
)  # fmt: skip


def entries(path: Path) -> tuple[Entry, ...]:
    """Return the blocks [[candidates]] of a TOML file, or of the JSON list that a world wrote.

    Raises SettingsError naming the file, the candidate and the key that cannot be read.
    """
    if not path.is_file():
        raise SettingsError(f"catalogue {path}: no such file; check `catalogue` of the configuration, or --what-if")
    try:
        known = _blocks(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise SettingsError(f"catalogue {path}: {error}; it holds blocks [[candidates]]") from error
    found = tuple(_entry(path, block, number) for number, block in enumerate(known, 1))
    names = [entry.name for entry in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f"catalogue {path}: candidate {twice!r} stands there twice; merge its blocks")
    return found


def read(path: Path, at: date | None = None) -> tuple[Candidate, ...]:
    """Return the candidates of a catalogue as they are on a day, today (UTC) where none is named.

    Raises SettingsError naming the file, the candidate and the key that cannot be read.
    """
    day = datetime.now(UTC).date() if at is None else at
    return tuple(entry.candidate(day) for entry in entries(path))


def book(source: Path | Sequence[Entry], what_if: Path | None = None) -> PriceBook:
    """Return the dated prices of a catalogue, with the public list behind them.

    `what_if` names a file in the catalogue's form whose prices hold instead of the catalogue's and the list's, at all
    times: of several blocks the last, and whatever its date. Raises SettingsError as `entries` does.
    """
    known = entries(source) if isinstance(source, Path) else source
    prices = PriceBook([entry.tariff() for entry in known])
    return prices if what_if is None else prices.under([entry.tariff() for entry in entries(what_if)])


def _blocks(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        known: Any = json.loads(text)
    else:
        whole = tomllib.loads(text)
        stray = sorted(set(whole) - {"candidates"})
        if stray:
            raise ValueError(f"unknown key {stray[0]!r}")
        known = whole.get("candidates", [])
    if not isinstance(known, list):
        raise ValueError("candidates is no list of blocks")
    return known


def _entry(path: Path, block: Any, number: int) -> Entry:
    name = block.get("name") if isinstance(block, dict) else None
    who = f"candidate {name!r}" if name else f"block {number}"
    try:
        return Entry.model_validate(block)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "block"
        said = "unknown key; correct its spelling or remove it" if first["type"] == "extra_forbidden" else first["msg"]
        value = "" if first["type"] in ("extra_forbidden", "missing") else f" = {first['input']!r}"
        raise SettingsError(f"catalogue {path}: {who}: {where}{value if len(value) < 200 else ''}: {said}") from error
