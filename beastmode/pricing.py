"""The frozen prices of a bundle's candidates as vectors: what each predicted answer would cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from beastmode.candidates import Price, Tier

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Prices of `m` candidates in US dollars, each vector (m,); NaN where the price is not known.

    Nothing is cached and nothing is reasoning in what they price: before a call nobody knows how much would be.
    """

    per_input: Floats
    """A token."""
    per_output: Floats
    """A token."""
    per_request: Floats
    tiers: tuple[tuple[int, Tier], ...] = ()
    """The column and the prices of each tier, by rising bound."""
    _free: bool = field(init=False, repr=False)
    """Whether somebody's output costs nothing."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_free", bool((self.per_output == 0).any()))

    @classmethod
    def of(cls, prices: Sequence[Price]) -> Self:
        """Return the rates of prices; one that prices one kind of token alone, or nothing, is unknown, not free."""
        unknown = [
            not price.flat and (price.input_per_mtok is None or price.output_per_mtok is None) for price in prices
        ]
        return cls(
            np.array([(price.input_per_mtok or 0.0) / 1e6 for price in prices]),
            np.array([(price.output_per_mtok or 0.0) / 1e6 for price in prices]),
            np.where(unknown, np.nan, np.array([price.per_request or 0.0 for price in prices])),
            tuple((column, tier) for column, price in enumerate(prices) for tier in price.tiers),
        )

    def cost_usd(self, input_tokens: Floats, output_tokens: Floats) -> Floats:
        """Return costs (..., n, m) of requests with (n,) input tokens and (..., n, m) output tokens.

        An unknown number of output tokens costs nothing where they are free, and makes the cost unknown elsewhere.

        >>> Rates.of([Price(input_per_mtok=1, output_per_mtok=4)]).cost_usd(np.array([1000.]), np.array([[500.]]))
        array([[0.003]])
        """
        charged = np.where(self.per_output == 0, 0.0, output_tokens) if self._free else output_tokens
        cost = np.asarray(charged * self.per_output + (input_tokens[:, None] * self.per_input + self.per_request))
        for column, tier in self.tiers:
            over = input_tokens > tier.above_input_tokens
            if over.any():
                spoken = 0.0 if tier.output_per_mtok == 0 else output_tokens[..., over, column] * tier.output_per_mtok
                tokens = input_tokens[over] * tier.input_per_mtok + spoken
                cost[..., over, column] = tokens / 1e6 + self.per_request[column]
        return cost
