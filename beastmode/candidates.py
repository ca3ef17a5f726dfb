"""The candidates a router chooses among, as the catalogue knew them when the bundle was written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, TypeVar

from beastmode.records import Endpoint, Request


@dataclass(frozen=True, slots=True)
class Tier:
    """What a candidate charges for a call whose input is longer than a bound: for all of its tokens, as providers do.

    Amounts are as in `Price`, and so is what holds where one is missing.
    """

    above_input_tokens: int
    input_per_mtok: float
    output_per_mtok: float
    cache_read_per_mtok: float | None = None
    cache_write_per_mtok: float | None = None
    reasoning_per_mtok: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What a candidate charges from a day on, in US dollars per million tokens, or per request.

    Cached tokens without a price of their own cost what other input does, and reasoning what other output does: a
    provider that names no discount gives none. Without both a price of input and one of output, tokens of the kind
    that is missing have no price and neither has the call; a price per request alone covers them all.
    """

    input_per_mtok: float | None = None
    output_per_mtok: float | None = None
    cache_read_per_mtok: float | None = None
    cache_write_per_mtok: float | None = None
    per_request: float | None = None
    since: str | None = None
    """ISO date from which the price holds."""
    reasoning_per_mtok: float | None = None
    tiers: tuple[Tier, ...] = ()
    """By rising bound; the last bound that the input exceeds holds."""

    @property
    def flat(self) -> bool:
        """Whether a call costs the same however long it is."""
        return self.input_per_mtok is None and self.output_per_mtok is None and self.per_request is not None

    def cost_usd(
        self,
        input_tokens: float,
        output_tokens: float,
        cache_read_tokens: float = 0,
        cache_write_tokens: float = 0,
        reasoning_tokens: float = 0,
    ) -> float | None:
        """Return the cost of a call in US dollars, or None where the price is not known.

        Input includes what was read from or written to the provider's cache, and output the reasoning. Counts that
        contradict this (more cached than there is input, more reasoning than output) have no cost either.

        >>> Price(input_per_mtok=1, output_per_mtok=4).cost_usd(1000, 500)
        0.003
        >>> Price(1, 4, cache_read_per_mtok=0.1).cost_usd(1000, 500, cache_read_tokens=1000)
        0.0021
        """
        rates: Price | Tier = self
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                rates = tier
        into, out = rates.input_per_mtok, rates.output_per_mtok
        if into is None or out is None:
            if into is None and out is None:
                return self.per_request
            if (input_tokens if into is None else output_tokens) > 0:
                return None
            into, out = into or 0.0, out or 0.0
        fresh = input_tokens - cache_read_tokens - cache_write_tokens
        if fresh < 0 or reasoning_tokens > output_tokens:
            return None
        micro = fresh * into + output_tokens * out
        if cache_read_tokens:
            micro += cache_read_tokens * (into if rates.cache_read_per_mtok is None else rates.cache_read_per_mtok)
        if cache_write_tokens:
            micro += cache_write_tokens * (into if rates.cache_write_per_mtok is None else rates.cache_write_per_mtok)
        if reasoning_tokens and rates.reasoning_per_mtok is not None:
            micro += reasoning_tokens * (rates.reasoning_per_mtok - out)
        return micro / 1e6 + (self.per_request or 0.0)

    def saving_usd(self, input_tokens: float, cached_tokens: float) -> float:
        """Return what a call costs less in US dollars when so many of its input tokens are read from the cache.

        Zero where that is not known, or where the provider gives no discount.

        >>> Price(1, 4, cache_read_per_mtok=0.1).saving_usd(2000, 1000)
        0.0009
        """
        fresh, warm = self.cost_usd(input_tokens, 0), self.cost_usd(input_tokens, 0, cached_tokens)
        return 0.0 if fresh is None or warm is None else max(round(fresh - warm, 12), 0.0)

    @property
    def dearest(self) -> "Price":
        """The price where all output is of the dearest kind: before a call nobody knows how much is reasoning."""
        return replace(_dearest(self), tiers=tuple(map(_dearest, self.tiers)))

    def amounts(self) -> tuple[Any, ...]:
        """Return every number that it is made of, None where one is not given."""
        rows: tuple[Price | Tier, ...] = (self, *self.tiers)
        return tuple(getattr(row, f.name) for row in rows for f in fields(row) if f.name not in ("since", "tiers"))

    @classmethod
    def from_mapping(cls, known: Mapping[str, Any]) -> Self:
        """Return the price that `asdict` made plain; raises TypeError naming an unknown key."""
        return cls(**{**known, "tiers": tuple(Tier(**tier) for tier in known.get("tiers", ()))})


Row = TypeVar("Row", Price, Tier)


def _dearest(row: Row) -> Row:
    out, reasoning = row.output_per_mtok, row.reasoning_per_mtok
    return row if out is None or reasoning is None else replace(row, output_per_mtok=max(out, reasoning))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may serve a request: where it answers, what it charges, what it can do."""

    name: str
    provider: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    """The environment variable that holds the key; the key itself is never stored."""
    model: str | None = None
    """The id that the provider knows it by; the name where it is None."""
    price: Price = Price()
    context_tokens: int | None = None
    tools: bool = True
    json: bool = True
    vision: bool = False
    region: str | None = None
    """Where it processes requests, in the application's own words; None where nobody stated it. A model that is served
    in two regions is two candidates."""
    cache_ttl_seconds: float = 300.0
    """How long its provider keeps a prompt cached after it was last read; where the catalogue does not say, what the
    strictest of the large ones states."""
    cache_minimum_tokens: int = 1024
    """The shortest prompt that its provider caches: OpenAI's, and that of most of Anthropic's models."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint(self.model or self.name, self.base_url, self.api_key_env, self.provider)

    def refusal(self, request: Request, input_tokens: float) -> str | None:
        """Return why this candidate cannot serve a request, whatever it would cost, or None where it can."""
        for need in ("tools", "json", "vision"):
            if getattr(request.needs, need) and not getattr(self, need):
                return f"lacks {need}"
        wanted = input_tokens + (request.needs.output_tokens or 0)
        if self.context_tokens is not None and wanted > self.context_tokens:
            return f"context of {self.context_tokens} tokens is under the {wanted:.0f} needed"
        if request.needs.regions is not None and self.region not in request.needs.regions:
            return "its region is not known" if self.region is None else f"region {self.region} is not allowed"
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as plain data."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, known: Mapping[str, Any]) -> Self:
        """Return the candidate that `to_json` wrote; raises ValueError naming an unknown key."""
        unknown = set(known) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"candidate {known.get('name')!r}: unknown key {sorted(unknown)[0]!r}")
        return cls(**{**known, "price": Price.from_mapping(known.get("price", {}))})
