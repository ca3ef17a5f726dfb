"""The table a learner takes: one row a request, one column a candidate, NaN where nothing was observed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def normalise_text(text: str) -> str:
    """Return what makes two prompts the same prompt: case and white space folded.

    >>> normalise_text("  What is\\n2+2? ")
    'what is 2+2?'
    """
    return re.sub(r"\s+", " ", text).strip().lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Requests with what is known of each candidate's answer to them.

    `n` requests in time order, `m` candidates. A probed row is known in the column of every candidate that
    there was; a served one in a single column.
    """

    candidates: tuple[str, ...]
    request_ids: NDArray[np.str_]
    texts: tuple[str, ...]
    """The prompt, or the empty string where the log holds none."""
    at: NDArray[np.datetime64]
    sessions: NDArray[np.str_]
    """What is no independent observation. The trace stands in where no session is known, and else the request id."""
    input_tokens: Floats
    """(n,) As counted by the provider, cached tokens included: what was paid for."""
    quality: Floats
    """(n, m) In [0, 1]."""
    cost_usd: Floats
    """(n, m)"""
    latency_ms: Floats
    """(n, m)"""
    output_tokens: Floats
    """(n, m)"""
    served: NDArray[np.int64]
    """(n,) Column of the candidate that served, -1 where the request was only probed."""
    propensity: Floats
    """(n,) P(served | request) under the logging policy; NaN where unknown."""
    probed: NDArray[np.bool_]
    """(n,) Asked of every candidate that there was on purpose, whatever the request: what paired evidence is."""
    prompt_chars: Floats | None = None
    """(n,) Characters of the whole conversation, NaN where unknown; None where each text is its conversation."""
    failed: Floats | None = None
    """(n, m) 1 where the first call ended without an answer by its provider's fault, retries included, 0 where it was
    answered, NaN where there was none, none by lot, or the fault was another's; None where no ends are known."""

    def __post_init__(self) -> None:
        n, m = len(self.texts), len(self.candidates)
        for name in ("quality", "cost_usd", "latency_ms", "output_tokens"):
            if getattr(self, name).shape != (n, m):
                raise ValueError(f"table: {name} has shape {getattr(self, name).shape}, expected {(n, m)}")
        if self.failed is not None and self.failed.shape != (n, m):
            raise ValueError(f"table: failed has shape {self.failed.shape}, expected {(n, m)}")
        for name in ("request_ids", "at", "sessions", "input_tokens", "served", "propensity", "probed"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"table: {name} has shape {getattr(self, name).shape}, expected {(n,)}")
        if self.prompt_chars is not None and self.prompt_chars.shape != (n,):
            raise ValueError(f"table: prompt_chars has shape {self.prompt_chars.shape}, expected {(n,)}")

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[Any] | Sequence[int]) -> Self:
        """Return the table of some rows, given as indices or as a mask."""
        index = np.arange(len(self))[np.asarray(rows)]
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        taken = {name: value[index] for name, value in values.items() if isinstance(value, np.ndarray)}
        return replace(self, texts=tuple(self.texts[i] for i in index), **taken)

    @property
    def expected_tokens(self) -> Floats:
        """(n,) What a router takes the input for, as it has no tokeniser: a token is four characters.

        What is predicted of a logged request goes by this count, what it cost by the provider's. Where the characters
        are not known the provider's count is the nearest there is.
        """
        chars = self.prompt_chars
        if chars is None:
            chars = np.array([len(text) or np.nan for text in self.texts], dtype=np.float64)
        return np.where(np.isnan(chars), self.input_tokens, chars / 4)

    @property
    def prompts(self) -> NDArray[np.str_]:
        """The normalised text of each row: what must not stand on both sides of a split."""
        return np.array([normalise_text(text) for text in self.texts], dtype=str)
