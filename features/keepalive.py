"""Whether to keep a provider's prompt cache alive: what a read costs now against P(the session returns in time)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.candidates import Price

Floats = NDArray[np.float64]

TURNS = 3
"""Sessions are told apart by how many turns they have had: 1, 2, or more."""
PRIOR = 0.5
"""Returns, and as many expiries, that every cell of the table of returns begins with (Jeffreys)."""


@dataclass(frozen=True, slots=True)
class PrefixPrices:
    """What a prefix costs, in units of its plain input price."""

    write: float = 1.25
    """When it is not held and has to be written again."""
    read: float = 0.1
    """When it is held; a read also begins its time anew."""

    def __post_init__(self) -> None:
        if not 0 < self.read < self.write:
            raise ValueError(
                f"prefix prices: read = {self.read!r} must be above zero and below write = {self.write!r}: "
                "a cache that saves nothing is not kept alive"
            )

    @classmethod
    def of(cls, price: Price) -> "PrefixPrices | None":
        """Return a candidate's, or None where it does not sell cached input for less."""
        plain, read = price.input_per_mtok, price.cache_read_per_mtok
        write = plain if price.cache_write_per_mtok is None else price.cache_write_per_mtok
        if not plain or not read or write is None or read >= write:
            return None
        return cls(write / plain, read / plain)

    @property
    def break_even(self) -> float:
        """The P(return within the time to live) above which one read pays for itself: read / (write - read).

        >>> round(PrefixPrices().break_even, 3)
        0.087
        """
        return self.read / (self.write - self.read)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What to do with a prefix that is about to expire."""

    reads: int
    """How many reads in a row are worth it from here on, one at the end of each time to live; zero lets it expire."""
    saving: float
    """Expected, in units of the prefix's plain input price."""


def keep_alive(returns: Floats, prices: PrefixPrices) -> KeepAlive:
    """Decide by backward induction: `returns` are P(return in period j | silent until its beginning), (periods,).

    A read at the beginning of period j costs `read`, and saves `write - read` where the session comes back in it:
    V_j = max(0, p_j (write - read) - read + (1 - p_j) V_{j+1}), with nothing expected beyond the last period.
    """
    if returns.ndim != 1 or not ((returns >= 0) & (returns <= 1)).all():
        raise ValueError(f"keep_alive: returns of shape {returns.shape} must be probabilities, one for each period")
    worth, reads = 0.0, 0
    for p in returns[::-1].tolist():
        here = p * (prices.write - prices.read) - prices.read + (1 - p) * worth
        worth, reads = (here, reads + 1) if here > 0 else (0.0, 0)
    return KeepAlive(reads, worth)


def return_rates(sessions: NDArray[np.int64], at: Floats, now: float, ttl_seconds: float, periods: int) -> Floats:
    """Return P(return in period j | silent for j times the TTL), by turns so far, (TURNS, periods).

    `sessions` and `at` (seconds) are the requests until `now`. A silence that `now` cuts short counts for the periods
    that it lasted through, as in a life table (Kaplan and Meier 1958, on a grid of periods); a period that nobody was
    seen in has the chance of the last one that somebody was, so that nothing is kept alive on a guess.
    """
    if ttl_seconds <= 0 or periods < 1:
        raise ValueError(f"return_rates: ttl_seconds = {ttl_seconds!r} and periods = {periods!r} must be positive")
    if not len(sessions):
        return np.zeros((TURNS, periods))
    order = np.lexsort((at, sessions))
    session, moment = sessions[order], at[order]
    changes = session[1:] != session[:-1]
    last = np.append(changes, True)
    gap = np.where(last, now, np.append(moment[1:], now)) - moment
    place = np.arange(len(session))
    began = np.maximum.accumulate(np.where(np.append(True, changes), place, 0))
    turn = np.minimum(place - began, TURNS - 1)
    # A return in period j has j whole periods of silence before it, and so has a silence that ends with the log in it.
    lasted = np.floor(gap / ttl_seconds).astype(np.int64)
    rates = np.empty((TURNS, periods))
    for turns in range(TURNS):
        mine = turn == turns
        for j in range(periods):
            came = int((mine & ~last & (lasted == j)).sum())
            stayed = int((mine & (lasted > j)).sum())
            seen = came + stayed
            if seen == 0 and j > 0:
                rates[turns, j] = rates[turns, j - 1]
            else:
                rates[turns, j] = (came + PRIOR) / (seen + 2 * PRIOR) if seen else 0.0
    return rates
