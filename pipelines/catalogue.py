"""Read the catalogue of candidates: one block for each model that may serve, its prices dated."""

import json
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from beastmode.candidates import Candidate, Price
from pipelines.settings import SettingsError

Amount = Annotated[float, Ge(0)]


class PriceBlock(BaseModel):
    """What a candidate charges from a day on, in US dollars per million tokens, or per request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: date | None = None
    """The first day, UTC, on which the price holds; from ever where it is missing."""
    input_per_mtok: Amount | None = None
    output_per_mtok: Amount | None = None
    cache_read_per_mtok: Amount | None = None
    cache_write_per_mtok: Amount | None = None
    per_request: Amount | None = None

    def price(self) -> Price:
        """Return the price as serving knows it."""
        amounts = self.model_dump(exclude={"since"})
        return Price(**amounts, since=None if self.since is None else self.since.isoformat())


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
        blocks = self.prices or ((self.price,) if self.price is not None else ())
        held = [block for block in blocks if block.since is None or block.since <= at]
        return max(held, key=lambda block: block.since or date.min).price() if held else Price()

    def candidate(self, at: date) -> Candidate:
        """Return the candidate as it was on a day."""
        known = {name: getattr(self, name) for name in _SAME}
        return Candidate(**known, json=self.json_, price=self.price_at(at))


_SAME = ("name", "provider", "base_url", "api_key_env", "model", "context_tokens", "tools", "vision")


def entries(path: Path) -> tuple[Entry, ...]:
    """Return the blocks [[candidates]] of a TOML file, or of the JSON list that a world wrote.

    Raises SettingsError naming the file, the candidate and the key that cannot be read.
    """
    if not path.is_file():
        raise SettingsError(f"catalogue {path}: no such file; name one with `catalogue` in the configuration")
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
