"""The public price list of the package genai-prices: dated, tiered, by time of day, and read without any network."""

from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from beastmode.candidates import Price, Tier

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

HOSTS = {
    "amazon-bedrock": "aws", "amazon_bedrock": "aws", "aws.bedrock": "aws", "aws_bedrock": "aws", "bedrock": "aws",
    "bedrock_converse": "aws",
    "azure.ai.inference": "azure", "azure.ai.openai": "azure", "azure_ai": "azure", "azure_openai": "azure",
    "cohere_chat": "cohere", "fireworks_ai": "fireworks", "gcp.gemini": "google", "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google", "gemini": "google", "github_copilot": "github-copilot", "google_ai_studio": "google",
    "mistral_ai": "mistral", "mistralai": "mistral", "models": "google", "moonshot": "moonshotai",
    "moonshot_ai": "moonshotai", "text-completion-openai": "openai", "together-ai": "together",
    "together_ai": "together", "vertex_ai": "google", "vertex_ai_beta": "google", "vertexai": "google",
    "voyage": "voyageai", "x_ai": "x-ai", "xai": "x-ai",
}  # fmt: skip
"""A provider as LiteLLM, OpenTelemetry and others spell it -> its id in the list; ids stand for themselves.

Exact names only: the list's own matching takes any provider with `openai` in its name for OpenAI.
"""
GATEWAYS = ("litellm", "litellm_proxy", "router")
"""Providers that pass a call on: they do not say whose price holds."""
MOST = 50_000
"""Names that are remembered at a time."""


@dataclass(slots=True)
class Listed:
    """A model of the list, with the host that serves it."""

    model: "ModelInfo"
    host: str
    hourly: bool
    """Whether the price changes with the time of day."""
    _prices: "dict[int, Price | None]" = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The list's name of the model."""
        return self.model.id

    def at(self, moment: datetime) -> Price | None:
        """Return the price in force at a moment, or None where the list has none for tokens of text."""
        known = self.model.get_prices(moment)
        # The objects live as long as the model does, so their ids stay theirs.
        key = id(known)
        if key not in self._prices:
            self._prices[key] = _price(known)
        return self._prices[key]

    def all(self) -> tuple[Price, ...]:
        """Return every price that the list knows of it, whenever it holds."""
        known = self.model.prices
        blocks = [block.prices for block in known] if isinstance(known, list) else [known]
        return tuple(price for price in map(_price, blocks) if price is not None)


class PriceList:
    """Finds a model by its name and provider; what it does not know is None, never the nearest guess.

    Only what is inside the package is read, whatever `genai_prices.UpdatePrices` may do elsewhere in the process.
    """

    def __init__(self) -> None:
        # Here, since it costs .3 s that a catalogue which prices everything need not pay.
        from genai_prices.data import providers
        from genai_prices.types import TimeOfDateConstraint

        self.source = f"genai-prices {version('genai-prices')}"
        self._providers: dict[str, Provider] = {provider.id: provider for provider in providers}
        self._of_day = TimeOfDateConstraint
        self._found: dict[tuple[str, str | None], Listed | None] = {}
        self._listed: dict[tuple[str, int], Listed] = {}

    def host(self, provider: str | None) -> str | None:
        """Return the list's id of a provider, or None where it has none."""
        name = (provider or "").strip().lower()
        name = HOSTS.get(name, name)
        return name if name in self._providers else None

    def find(self, model: str, provider: str | None = None) -> Listed | None:
        """Return a model as a log names it: plain, dated, or behind the name of its provider and a slash.

        A provider that the list does not know prices nothing. A plain name without a provider is its maker's.
        """
        key = (model, provider)
        if key not in self._found:
            if len(self._found) >= MOST:
                self._found.clear()
            self._found[key] = self._find(model.strip().lower(), provider)
        return self._found[key]

    def _find(self, name: str, provider: str | None) -> Listed | None:
        said = provider is not None and provider.strip().lower() not in GATEWAYS
        host = self.host(provider) if said else None
        if said and host is None:
            return None
        prefix, slash, rest = name.partition("/")
        within = self.host(prefix) if slash else None
        tries = [(host, name), (within, rest)] if within or host else [(self._maker(name), name)]
        for where, what in tries:
            if where is None:
                continue
            model = self._providers[where].find_model(what, all_providers=list(self._providers.values()))
            if model is not None:
                return self._listed.setdefault((where, id(model)), Listed(model, where, self._is_hourly(model)))
        return None

    def _maker(self, name: str) -> str | None:
        makers = (p for p in self._providers.values() if p.model_match is not None and p.model_match.is_match(name))
        return next((maker.id for maker in makers), None)

    def _is_hourly(self, model: "ModelInfo") -> bool:
        known = model.prices
        return isinstance(known, list) and any(isinstance(block.constraint, self._of_day) for block in known)


def _price(known: "ModelPrice") -> Price | None:
    """Return a price of the list as ours; None where input or output tokens have none, as for what is listed as free.

    The list leaves prices out for models of audio, images and pages, for flat subscriptions, and for what it does not
    know, so nothing in it can be told to be free.
    """
    names = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok")
    amounts = [getattr(known, name) for name in names]
    if amounts[0] is None or amounts[1] is None:
        return None
    bounds = sorted({tier.start for amount in amounts for tier in getattr(amount, "tiers", ())})
    into, out, read, write, reasoning = (_at(amount, -1) for amount in amounts)
    requests = _at(known.requests_kcount, -1)
    return Price(
        into, out, read, write,
        per_request=None if requests is None else requests / 1000,
        reasoning_per_mtok=reasoning,
        tiers=tuple(Tier(bound, *(_at(amount, bound) for amount in amounts)) for bound in bounds),  # type: ignore[arg-type]
    )  # fmt: skip


def _at(amount: "Decimal | TieredPrices | None", bound: int) -> float | None:
    """Return what an amount is above a bound of input tokens."""
    if amount is None:
        return None
    tiers = getattr(amount, "tiers", None)
    if tiers is None:
        return float(amount)  # type: ignore[arg-type]
    reached = [tier.price for tier in tiers if tier.start <= bound]
    return float(reached[-1] if reached else amount.base)  # type: ignore[union-attr]
