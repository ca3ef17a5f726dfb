"""What a call cost: computed from its tokens and the price of its day, or as the log has it; never a made-up zero."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from beastmode.candidates import Candidate
from beastmode.interactions import Attempt, Interaction
from features.prices import PriceBook, Tariff

Cost = tuple[float | None, str | None]
LOGGED = "logged"
UNKNOWN: Cost = (None, None)


class Call(Protocol):
    """What attempts and interactions have in common."""

    @property
    def status(self) -> str:
        """How it ended."""

    @property
    def model_served(self) -> str | None:
        """What answered."""

    @property
    def provider(self) -> str | None:
        """Who served it."""

    @property
    def input_tokens(self) -> int | None:
        """Cached ones included."""

    @property
    def output_tokens(self) -> int | None:
        """Reasoning included."""

    @property
    def cache_read_tokens(self) -> int | None:
        """Of the input."""

    @property
    def cache_write_tokens(self) -> int | None:
        """Of the input."""

    @property
    def reasoning_tokens(self) -> int | None:
        """Of the output."""


class Paid(Call, Protocol):
    """A request with all that was called for it."""

    @property
    def at(self) -> datetime:
        """The moment of the request."""

    @property
    def plan(self) -> str | None:
        """What was drawn."""

    @property
    def model_requested(self) -> str | None:
        """What was asked for."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The upstream calls, where there were several."""


def prices(candidates: Sequence[Candidate]) -> PriceBook:
    """Return the book of candidates with the price that each has now, and nothing beside them."""
    return PriceBook([Tariff(c.name, c.model, c.provider, (c.price,)) for c in candidates], listed=False)


def cost(row: Interaction, book: PriceBook) -> Cost:
    """Return the cost in US dollars and where it comes from (catalogue, genai-prices, logged), or None twice.

    What the journal wrote down when the call was made stands. Else what served the request is paid for at the price
    of its day, summed over the attempts; a call that failed costs what its tokens do, where they are known. What a
    cache answered costs what the log says. The log has the last word wherever usage or price is missing.
    """
    if row.cost_usd is not None:
        return row.cost_usd, row.cost_source or LOGGED
    found = UNKNOWN if row.cache_tier is not None else computed(row, book)
    if found[0] is None and row.cost_logged_usd is not None:
        return row.cost_logged_usd, LOGGED
    return found


def computed(row: Paid, book: PriceBook) -> Cost:
    """Return what a row's usage costs at the price of its day and the source of that price, or None twice."""
    if len(row.attempts) > 1 and any(attempt.input_tokens is not None for attempt in row.attempts):
        return _attempts(row.attempts, book, row.at)
    return priced(row, row.plan, row.model_requested, book, row.at)


def priced(call: Call, plan: str | None, requested: str | None, book: PriceBook, at: datetime) -> Cost:
    """Return what one call's usage costs and the source of the price, or None twice."""
    quote = book.quote(call.model_served, plan, requested, call.provider, at)
    if quote is None:
        return UNKNOWN
    price, into, out = quote.price, call.input_tokens, call.output_tokens
    if into is None or out is None:
        # A price per request needs no tokens, but who failed without any was not served.
        return (price.per_request, quote.source) if price.flat and call.status == "success" else UNKNOWN
    usd = price.cost_usd(
        into, out, call.cache_read_tokens or 0, call.cache_write_tokens or 0, call.reasoning_tokens or 0
    )
    return UNKNOWN if usd is None else (usd, quote.source)


def _attempts(attempts: Sequence[Attempt], book: PriceBook, at: datetime) -> Cost:
    """Return the sum over attempts; one that used tokens nobody can price leaves the whole unknown.

    An attempt without tokens that failed was never answered, and costs nothing.
    """
    total, sources = 0.0, []
    for attempt in attempts:
        usd, source = priced(attempt, attempt.candidate, None, book, at)
        if usd is None:
            usd, source = attempt.cost_usd, LOGGED
        if usd is not None and source is not None:
            total += usd
            sources.append(source)
        elif attempt.status == "success" or attempt.input_tokens or attempt.output_tokens:
            return UNKNOWN
    return (total, " + ".join(sorted(set(sources)))) if sources else UNKNOWN
