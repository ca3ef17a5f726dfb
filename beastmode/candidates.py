"""The candidates a router chooses among, as the catalogue knew them when the bundle was written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from beastmode.records import Endpoint, Request


@dataclass(frozen=True, slots=True)
class Price:
    """What a candidate charges from a day on, in US dollars per million tokens, or per request."""

    input_per_mtok: float | None = None
    output_per_mtok: float | None = None
    cache_read_per_mtok: float | None = None
    cache_write_per_mtok: float | None = None
    per_request: float | None = None
    since: str | None = None
    """ISO date from which the price holds."""

    def cost_usd(self, input_tokens: float, output_tokens: float) -> float | None:
        """Return the cost of a call in US dollars, or None where the price is not known.

        >>> Price(input_per_mtok=1, output_per_mtok=4).cost_usd(1000, 500)
        0.003
        """
        if self.per_request is None and self.input_per_mtok is None and self.output_per_mtok is None:
            return None
        tokens = input_tokens * (self.input_per_mtok or 0) + output_tokens * (self.output_per_mtok or 0)
        return tokens / 1e6 + (self.per_request or 0)


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

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint(self.model or self.name, self.base_url, self.api_key_env, self.provider)

    def refusal(self, request: Request, input_tokens: float) -> str | None:
        """Return why this candidate cannot serve a request, or None where it can."""
        for need in ("tools", "json", "vision"):
            if getattr(request.needs, need) and not getattr(self, need):
                return f"lacks {need}"
        wanted = input_tokens + (request.needs.output_tokens or 0)
        if self.context_tokens is not None and wanted > self.context_tokens:
            return f"context of {self.context_tokens} tokens is under the {wanted:.0f} needed"
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
        return cls(**{**known, "price": Price(**known.get("price", {}))})
