"""The frozen prices of a bundle's candidates as vectors: what each predicted answer would cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from beastmode.candidates import Price

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of `m` candidates in US dollars, each vector (m,); NaN where the price is not known."""

    per_input: Floats
    """A token."""
    per_output: Floats
    """A token."""
    per_request: Floats

    @classmethod
    def of(cls, prices: Sequence[Price]) -> Self:
        """Return the rates of prices; a price that names nothing is unknown, never free."""
        unknown = [
            price.per_request is None and price.input_per_mtok is None and price.output_per_mtok is None
            for price in prices
        ]
        return cls(
            np.array([(price.input_per_mtok or 0.0) / 1e6 for price in prices]),
            np.array([(price.output_per_mtok or 0.0) / 1e6 for price in prices]),
            np.where(unknown, np.nan, np.array([price.per_request or 0.0 for price in prices])),
        )

    def cost_usd(self, input_tokens: Floats, output_tokens: Floats) -> Floats:
        """Return costs (n, m) of requests with (n,) input tokens and (n, m) output tokens.

        An unknown number of output tokens costs nothing where they are free, and makes the cost unknown elsewhere.

        >>> Rates.of([Price(input_per_mtok=1, output_per_mtok=4)]).cost_usd(np.array([1000.]), np.array([[500.]]))
        array([[0.003]])
        """
        output = np.where(self.per_output == 0, 0.0, output_tokens) * self.per_output
        return np.asarray(output + np.multiply.outer(input_tokens, self.per_input) + self.per_request)
