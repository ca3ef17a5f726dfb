"""What a model cost at a moment: the catalogue's dated prices first, then the public list's, else nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property

from beastmode.candidates import Price
from features.pricelist import MOST, Listed, PriceList

CATALOGUE = "catalogue"
_SNAPSHOT = re.compile(r"[-@](20\d{2}-?[01]\d-?[0-3]\d)$")
_Key = tuple[str | None, str | None, str | None, str | None, int]


@dataclass(frozen=True, slots=True)
class Quote:
    """A price, and where it comes from."""

    price: Price
    source: str
    """catalogue, or genai-prices and its version."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What the catalogue knows of a candidate's prices."""

    name: str
    model: str | None = None
    provider: str | None = None
    prices: tuple[Price, ...] = ()
    """Each with the day `since` which it holds, or from ever."""

    def at(self, day: date) -> Price | None:
        """Return the price in force on a day, the latest that held by then, or None."""
        held = [price for price in self.prices if (price.since or "") <= day.isoformat()]
        return max(held, key=lambda price: price.since or "") if held else None

    def answers(self, served: str) -> bool:
        """Whether an answer that names the model `served` may be this candidate's: itself, or a dated snapshot."""
        known = {_bare(name, self.provider) for name in (self.name, self.model) if name}
        plain = _bare(served, self.provider)
        return plain in known or _SNAPSHOT.sub("", plain) in known


def _bare(name: str, provider: str | None) -> str:
    name = name.strip().lower()
    return name.removeprefix(f"{provider.lower()}/") if provider else name


@dataclass(eq=False)
class PriceBook:
    """Prices by model, provider and moment. Unknown is None: never zero, never the nearest guess.

    The catalogue's names come before the list. A name is resolved once for each day, so that a million rows are quick.
    """

    tariffs: Sequence[Tariff] = ()
    listed: bool = True
    """Whether what the catalogue does not price is looked up in the public list."""
    _quotes: dict[_Key, Quote | Listed | None] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, prices: Mapping[str, Price], listed: bool = False) -> "PriceBook":
        """Return the book of some prices by name, which hold from their own day on."""
        return cls([Tariff(name, prices=(price,)) for name, price in prices.items()], listed)

    def __reduce__(self) -> tuple[type["PriceBook"], tuple[tuple[Tariff, ...], bool]]:
        """Another process reads the public list for itself."""
        return PriceBook, (tuple(self.tariffs), self.listed)

    @cached_property
    def public(self) -> PriceList | None:
        """The public list, read when it is first needed."""
        return PriceList() if self.listed else None

    @cached_property
    def _names(self) -> Mapping[str, Tariff]:
        return {tariff.name: tariff for tariff in self.tariffs}

    @cached_property
    def _models(self) -> Mapping[str, tuple[Tariff, ...]]:
        found: dict[str, tuple[Tariff, ...]] = {}
        for tariff in self.tariffs:
            names = [name for name in (tariff.name, tariff.model) if name]
            behind = [f"{tariff.provider}/{name}" for name in names if tariff.provider]
            for name in dict.fromkeys([*names[1:], *behind]):
                found[name] = (*found.get(name, ()), tariff)
        return found

    def price(self, model: str, provider: str | None, at: datetime) -> Quote | None:
        """Return what a model cost at a moment, or None where nobody knows."""
        return self.quote(model, None, None, provider, at)

    def quote(
        self, served: str | None, plan: str | None, requested: str | None, provider: str | None, at: datetime
    ) -> Quote | None:
        """Return the price of a call: of the model that answered, where that is known, else of the one that was asked.

        A candidate of the catalogue that was asked keeps its price under whatever name its server answers, unless
        the name is of another candidate, or the list knows it as another model: then somebody fell back.
        """
        if at.tzinfo is not UTC:
            at = at.astimezone(UTC)
        key = (served, plan, requested, provider, at.toordinal())
        if key not in self._quotes:
            if len(self._quotes) >= MOST:
                self._quotes.clear()
            self._quotes[key] = self._resolve(served, plan, requested, provider, at)
        found = self._quotes[key]
        return self._hourly(found, at) if isinstance(found, Listed) else found

    def under(self, tariffs: Sequence[Tariff]) -> "PriceBook":
        """Return this book with other prices for some names, which hold at all times: the last of each, undated."""
        over = [replace(t, prices=tuple(replace(p, since=None) for p in t.prices[-1:])) for t in map(_sorted, tariffs)]
        names = {tariff.name for tariff in over}
        # A block that names a candidate of the catalogue speaks of it, whatever else it leaves out.
        known = {tariff.name: tariff for tariff in self.tariffs}
        over = [
            replace(t, model=t.model or known[t.name].model, provider=t.provider or known[t.name].provider)
            if t.name in known
            else t
            for t in over
        ]
        return PriceBook([*over, *(t for t in self.tariffs if t.name not in names)], self.listed)

    def blocks(self, served: str | None, plan: str | None, requested: str | None, provider: str | None) -> list[Price]:
        """Return every price that the book knows of a call's model, whenever it holds."""
        tariff = self._tariff(served, plan, requested, provider)
        model = self._model(served, plan, requested, provider, tariff)
        return [*(tariff.prices if tariff else ()), *(model.all() if model else ())]

    def _hourly(self, model: Listed, at: datetime) -> Quote | None:
        price = model.at(at)
        return None if price is None or self.public is None else Quote(price, self.public.source)

    def _resolve(
        self, served: str | None, plan: str | None, requested: str | None, provider: str | None, at: datetime
    ) -> Quote | Listed | None:
        tariff = self._tariff(served, plan, requested, provider)
        price = tariff.at(at.date()) if tariff else None
        if price is not None and any(amount is not None for amount in price.amounts()):
            return Quote(price, CATALOGUE)
        model = self._model(served, plan, requested, provider, tariff)
        if model is None:
            return None
        return model if model.hourly else self._hourly(model, at)

    def _tariff(
        self, served: str | None, plan: str | None, requested: str | None, provider: str | None
    ) -> Tariff | None:
        """Return the candidate of the catalogue that answered a call."""
        asked = [self._names[name] for name in (_first(plan), requested) if name and name in self._names]
        if served is None:
            return asked[0] if asked else None
        for tariff in asked:
            if tariff.answers(served) and not self._elsewhere(tariff, served, provider):
                return tariff
        answered = self._named(served, provider)
        if answered is not None:
            return answered
        return next((tariff for tariff in asked if not self._another(tariff, served, provider)), None)

    def _named(self, name: str, provider: str | None) -> Tariff | None:
        """Return the candidate of a name, or the only one of a model's id and a provider."""
        named = self._names.get(name)
        if named is not None and not self._elsewhere(named, name, provider):
            return named
        of = [tariff for tariff in self._models.get(name, ()) if not self._elsewhere(tariff, name, provider)]
        if len(of) > 1 and provider is not None:
            of = [tariff for tariff in of if self._host(tariff.provider) == self._host(provider)]
        return of[0] if len(of) == 1 else None

    def _host(self, provider: str | None) -> str | None:
        return (self.public.host(provider) if self.public and provider else None) or provider

    def _elsewhere(self, tariff: Tariff, served: str, provider: str | None) -> bool:
        """Whether a call was served by another host than the candidate's."""
        if tariff.provider is None or provider is None or tariff.provider == provider:
            return False
        return self._another(tariff, served, provider)

    def _another(self, tariff: Tariff, served: str, provider: str | None) -> bool:
        """Whether the list knows what answered as another model than the candidate's, or as another host's."""
        if self.public is None:
            return False
        theirs = self.public.find(served, provider)
        ours = self.public.find(tariff.model or tariff.name, tariff.provider)
        return theirs is not None and ours is not None and theirs is not ours

    def _model(
        self,
        served: str | None,
        plan: str | None,
        requested: str | None,
        provider: str | None,
        tariff: Tariff | None,
    ) -> Listed | None:
        """Return the model of the list that answered a call; what was asked counts only where no answer is named."""
        if self.public is None:
            return None
        if served is not None:
            found = self.public.find(served, provider)
            if found is not None or tariff is None:
                return found
        if tariff is not None:
            return self.public.find(tariff.model or tariff.name, provider or tariff.provider)
        names = [name for name in (_first(plan), requested) if name]
        return next((found for name in names if (found := self.public.find(name, provider)) is not None), None)


def _first(plan: str | None) -> str | None:
    """Return the candidate that a plan asks first."""
    return plan.split(" > ", 1)[0] if plan else None


def _sorted(tariff: Tariff) -> Tariff:
    return replace(tariff, prices=tuple(sorted(tariff.prices, key=lambda price: price.since or "")))
