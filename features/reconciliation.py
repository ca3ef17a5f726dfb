"""Logged cost against computed cost, by model: how far they are apart, and which mistake explains it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from beastmode.candidates import Price
from features.costs import computed, priced
from features.ledger import Entry, entries
from features.prices import PriceBook

RELATIVE, ABSOLUTE = 0.01, 1e-6
"""A row differs where it does by more than one part in a hundred and by more than a millionth of a dollar."""
FITS = 2e-3
"""An explanation holds where it comes this near to what was logged, relatively."""
TESTED = 5_000
"""Differing rows of a model on which explanations are tried."""
ZERO = "logged as zero"


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a call; the input includes what was cached, the output the reasoning."""

    into: float
    out: float
    read: float = 0
    write: float = 0
    reasoning: float = 0

    def cost(self, price: Price) -> float | None:
        """Return what it costs in US dollars."""
        return price.cost_usd(self.into, self.out, self.read, self.write, self.reasoning)


def _swapped(u: Usage, p: Price) -> float | None:
    return u.cost(Price(p.output_per_mtok, p.input_per_mtok, p.cache_read_per_mtok, p.cache_write_per_mtok))


def _times(factor: float) -> Callable[[Usage, Price], float | None]:
    def scaled(u: Usage, p: Price) -> float | None:
        usd = u.cost(p)
        return None if usd is None else factor * usd

    return scaled


MISTAKES: dict[str, Callable[[Usage, Price], float | None]] = {
    "cached tokens charged as fresh": lambda u, p: replace(u, read=0, write=0).cost(p),
    "input counted twice where tokens were cached": lambda u, p: replace(u, into=u.into + u.read + u.write).cost(p),
    "cached tokens left out": lambda u, p: replace(u, into=u.into - u.read - u.write, read=0, write=0).cost(p),
    "cache writes charged as fresh": lambda u, p: replace(u, write=0).cost(p),
    "reasoning counted twice": lambda u, p: replace(u, out=u.out + u.reasoning).cost(p),
    "reasoning left out": lambda u, p: replace(u, out=u.out - u.reasoning, reasoning=0).cost(p),
    "output left out": lambda u, p: replace(u, out=0, reasoning=0).cost(p),
    "input left out": lambda u, p: replace(u, into=0, read=0, write=0).cost(p),
    "prices of input and output exchanged": _swapped,
    "the price of short inputs charged for a long one": lambda u, p: u.cost(replace(p, tiers=())),
    "the price per request left out": lambda u, p: u.cost(replace(p, per_request=None)),
    "half the price, as for batches": _times(0.5),
    "a price per million taken as per thousand": _times(1e3),
    "a price per thousand taken as per million": _times(1e-3),
}
"""What a logged cost would be under a mistake; a mistake is named where it fits what was logged."""
ANOTHER_DAY = "the price of another date"
LAST_ONLY = "failed attempts left out"
CAUSES = (*MISTAKES, ANOTHER_DAY, LAST_ONLY, ZERO)


@dataclass(slots=True)
class ModelCosts:
    """One model's rows, as logged and as computed. Sums in US dollars over the rows that have both."""

    model: str
    rows: int = 0
    compared: int = 0
    logged_usd: float = 0.0
    computed_usd: float = 0.0
    different: int = 0
    zero: int = 0
    """Logged as zero where tokens were paid for."""
    logged_only: int = 0
    """Rows that have a logged cost and no known price."""
    unpriced: int = 0
    """Rows that have neither."""
    unpriced_input_tokens: int = 0
    unpriced_output_tokens: int = 0
    undiscounted: int = 0
    """Rows with cached tokens whose price has none for them, so that they were charged as fresh."""
    causes: dict[str, int] = field(default_factory=dict)
    """Rows by the mistake that explains them."""
    tested: int = 0

    @property
    def ratio(self) -> float | None:
        """Logged over computed."""
        return self.logged_usd / self.computed_usd if self.computed_usd else None

    @property
    def cause(self) -> str:
        """The likely cause of the differences, in words."""
        if not self.different:
            return ""
        if not self.causes:
            return "unknown"
        name, count = max(self.causes.items(), key=lambda item: item[1])
        return name if count == self.tested else f"{name} ({count:,} of {self.tested:,} rows)"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Every model's account, the largest difference first."""

    models: tuple[ModelCosts, ...]

    def total(self, name: str) -> float:
        """Return the sum of a column."""
        return float(sum(getattr(model, name) for model in self.models))

    @property
    def wrong(self) -> tuple[ModelCosts, ...]:
        """The models whose logged cost differs somewhere."""
        return tuple(model for model in self.models if model.different)

    @property
    def without_price(self) -> tuple[ModelCosts, ...]:
        """The models that some rows have no price for, the one with most tokens first."""
        found = [model for model in self.models if model.unpriced or model.logged_only]
        return tuple(sorted(found, key=lambda m: -(m.unpriced_input_tokens + m.unpriced_output_tokens)))


def reconcile(frame: pd.DataFrame, book: PriceBook) -> Reconciliation:
    """Return logged against computed costs of a lake's frame, priced by the day of each call.

    What a cache answered is left out: it costs what the log says. So is a failure without tokens: nothing is known
    of it, and mostly nothing was charged.
    """
    accounts: dict[str, ModelCosts] = {}
    wrong: dict[str, list[tuple[Entry, float]]] = defaultdict(list)
    for entry in entries(frame):
        if entry.cache_tier is not None:
            continue
        account = accounts.setdefault(entry.model, ModelCosts(entry.model))
        usd, _ = computed(entry, book)
        _count(account, entry, usd, book)
        if usd is not None and entry.cost_logged_usd is not None and _differ(entry.cost_logged_usd, usd):
            account.different += 1
            account.zero += entry.cost_logged_usd == 0
            if len(wrong[entry.model]) < TESTED:
                wrong[entry.model].append((entry, usd))
    for name, rows in wrong.items():
        accounts[name].tested = len(rows)
        accounts[name].causes = _causes(rows, book)
    ordered = sorted(accounts.values(), key=lambda m: (-abs(m.logged_usd - m.computed_usd), m.model))
    return Reconciliation(tuple(ordered))


def _count(account: ModelCosts, entry: Entry, usd: float | None, book: PriceBook) -> None:
    account.rows += 1
    if usd is None and entry.cost_logged_usd is not None:
        account.logged_only += 1
    elif usd is None and (entry.status == "success" or entry.input_tokens or entry.output_tokens):
        account.unpriced += 1
        account.unpriced_input_tokens += int(entry.input_tokens or 0)
        account.unpriced_output_tokens += int(entry.output_tokens or 0)
    if usd is None:
        return
    if entry.cost_logged_usd is not None:
        account.compared += 1
        account.logged_usd += entry.cost_logged_usd
        account.computed_usd += usd
    if entry.cache_read_tokens:
        quote = book.quote(entry.model_served, entry.plan, entry.model_requested, entry.provider, entry.at)
        account.undiscounted += quote is not None and quote.price.cache_read_per_mtok is None and not quote.price.flat


def _differ(logged: float, usd: float) -> bool:
    return abs(logged - usd) > max(RELATIVE * max(logged, usd), ABSOLUTE)


def _causes(rows: Sequence[tuple[Entry, float]], book: PriceBook) -> dict[str, int]:
    """Return the mistakes that explain differing rows, each row under one of them.

    On a single row two mistakes may happen to give the same sum, so the one that explains most rows takes its own
    first.
    """
    fitting = [frozenset(_possible(entry, usd, book)) for entry, usd in rows]
    named: dict[str, int] = {}
    left = [names for names in fitting if names]
    while left:
        name = max(CAUSES, key=lambda name: sum(name in names for names in left))
        named[name] = sum(name in names for names in left)
        left = [names for names in left if name not in names]
    ratios = [entry.cost_logged_usd / usd for (entry, usd), names in zip(rows, fitting, strict=True)
              if not names and entry.cost_logged_usd and usd]  # fmt: skip
    if len(ratios) >= 10:
        low, middle, high = np.quantile(ratios, [0.05, 0.5, 0.95])
        if high - low < 0.01 * middle:
            named[f"everything times {middle:.3g}: a markup, a discount or another price"] = len(ratios)
    return named


def _possible(entry: Entry, usd: float, book: PriceBook) -> Iterator[str]:
    """Yield the mistakes that give what a row has logged."""
    logged = entry.cost_logged_usd
    if logged == 0 or logged is None:
        yield ZERO
        return
    names = (entry.model_served, entry.plan, entry.model_requested, entry.provider)
    if entry.attempts:
        last, _ = priced(entry, entry.plan, entry.model_requested, book, entry.at)
        if last is not None and _fits(last, logged):
            yield LAST_ONLY
        return
    quote = book.quote(*names, entry.at)
    if quote is None or entry.input_tokens is None or entry.output_tokens is None:
        return
    usage = Usage(entry.input_tokens, entry.output_tokens, entry.cache_read_tokens or 0,
                  entry.cache_write_tokens or 0, entry.reasoning_tokens or 0)  # fmt: skip
    for name, mistaken in MISTAKES.items():
        would = mistaken(usage, quote.price)
        if would is not None and _fits(would, logged) and _differ(would, usd):
            yield name
    others = (usage.cost(price) for price in book.blocks(*names))
    if any(other is not None and _fits(other, logged) for other in others):
        yield ANOTHER_DAY


def _fits(would: float, logged: float) -> bool:
    return abs(would - logged) <= FITS * logged + 1e-12
