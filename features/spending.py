"""Where the money goes: by model, tenant, task, hour and purpose, and what of it was or could have been saved."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.costs import priced
from features.ledger import NONE, Entry, entries, models, tasks
from features.prices import PriceBook

REPEATED_WITHIN = pd.Timedelta(hours=24)
"""How long an exact response cache is imagined to keep an answer."""
BY = ("purpose", "model", "tenant", "task", "hour", "day")
HOURS = np.array([f"{hour:02}:00" for hour in range(24)], dtype=object)
CACHE = "(cache)"
"""What a cache's own answers are filed under: no model was paid for them."""


@dataclass(frozen=True, slots=True)
class Line:
    """What went to one model, tenant, task, hour, day or purpose."""

    name: str
    calls: int
    usd: float
    """Over the calls whose cost is known."""
    unpriced: int
    """Calls of unknown cost, in no sum."""
    failed_usd: float
    """What calls cost that brought no answer."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Money that was saved, or that could have been."""

    name: str
    usd: float
    calls: int
    about: str
    done: bool
    """Whether it is in the bill already."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Everything spent in a frame of the lake, in US dollars."""

    usd: float
    calls: int
    unpriced: int
    failed_usd: float
    by: dict[str, tuple[Line, ...]]
    """Each of `BY`, the largest sum first; hours and days in their order."""

    @property
    def unpriced_share(self) -> float:
        """The share of calls of unknown cost."""
        return self.unpriced / self.calls if self.calls else 0.0


def filed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a lake's frame as one row a call: what it cost, and what it is filed under.

    Columns: at (UTC, without a zone), usd, unpriced, failed, and those of `BY`; hours and days are those of UTC. A
    failure without tokens or a known cost is not unpriced: mostly nothing was charged.
    """
    usd = frame["cost_usd"].astype("float64")
    failed = (frame["status"] != "success").to_numpy(dtype=bool)
    tokens = (frame["input_tokens"].fillna(0) + frame["output_tokens"].fillna(0)).to_numpy() > 0
    at = frame["at"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    cached = frame["cache_tier"].notna().to_numpy(dtype=bool)
    return pd.DataFrame(
        {
            "at": at,
            "usd": usd.to_numpy(),
            "unpriced": (usd.isna().to_numpy() & (~failed | tokens) & ~cached),
            "failed": failed,
            "purpose": frame["purpose"].astype(object).to_numpy(),
            "model": np.where(cached, CACHE, models(frame).to_numpy()),
            "tenant": frame["tenant"].astype(object).where(frame["tenant"].notna(), NONE).to_numpy(),
            "task": tasks(frame["context"]).to_numpy(),
            "hour": HOURS[(at - at.astype("datetime64[D]")) // np.timedelta64(1, "h")],
            "day": np.datetime_as_string(at, unit="D"),
        }
    )


def spending(calls: pd.DataFrame) -> Spending:
    """Return where the money of filed calls went."""
    return Spending(
        usd=float(calls["usd"].sum()),
        calls=len(calls),
        unpriced=int(calls["unpriced"].sum()),
        failed_usd=float(calls.loc[calls["failed"], "usd"].sum()),
        by={name: _lines(calls, name) for name in BY},
    )


def _lines(calls: pd.DataFrame, name: str) -> tuple[Line, ...]:
    lost = calls["usd"].where(calls["failed"], 0.0)
    sums = calls.assign(lost=lost).groupby(name, sort=True).agg(
        calls=("usd", "size"), usd=("usd", "sum"), unpriced=("unpriced", "sum"), lost=("lost", "sum")
    )  # fmt: skip
    lines = [Line(str(key), int(n), float(usd), int(u), float(f)) for key, n, usd, u, f in sums.itertuples()]
    return tuple(lines if name in ("hour", "day") else sorted(lines, key=lambda line: (-line.usd, line.name)))


def savings(frame: pd.DataFrame, book: PriceBook) -> tuple[Saving, ...]:
    """Return what was saved by the providers' caches, and what failures and repeated prompts cost.

    Nothing here says that another model would have done as well: that takes paired probes, and is what the
    comparison of routers measures.
    """
    cached, reads, lost, tries = 0.0, 0, 0.0, 0
    for entry, usd in zip(entries(frame), frame["cost_usd"].tolist(), strict=True):
        if entry.cache_tier is not None:
            continue
        off = _discount(entry, book)
        cached, reads = cached + off, reads + (off != 0)
        spent, count = _failures(entry, usd, book)
        lost, tries = lost + spent, tries + count
    repeated, copies = _repeated(frame)
    return (
        Saving("providers' prompt caches", cached, reads, "Cached input against the same input charged as fresh, "
               "less what writing to the cache cost on top.", True),
        Saving("attempts that failed", lost, tries, "Paid for calls that brought no answer: retries, fallbacks and "
               "failed requests, where the log knows their cost.", False),
        Saving("the same prompt answered again", repeated, copies, "The same prompt of the same tenant to the same "
               "model within 24 hours: at most this much an exact response cache would have saved.", False),
    )  # fmt: skip


def _discount(entry: Entry, book: PriceBook) -> float:
    """Return what a call saved by the provider's cache; negative where writing cost more than reading saved."""
    read, write = entry.cache_read_tokens or 0, entry.cache_write_tokens or 0
    if not (read or write) or entry.input_tokens is None or entry.output_tokens is None:
        return 0.0
    quote = book.quote(entry.model_served, entry.plan, entry.model_requested, entry.provider, entry.at)
    if quote is None:
        return 0.0
    cost: Callable[..., float | None] = quote.price.cost_usd
    fresh, paid = cost(entry.input_tokens, 0), cost(entry.input_tokens, 0, read, write)
    return 0.0 if fresh is None or paid is None else fresh - paid


def _failures(entry: Entry, usd: float | None, book: PriceBook) -> tuple[float, int]:
    """Return what the failed attempts of a call cost, and how many of them cost something."""
    if entry.status != "success":
        return (0.0, 0) if usd is None or usd != usd or usd == 0 else (usd, 1)
    costs = []
    for attempt in entry.attempts:
        if attempt.status != "success":
            spent, _ = priced(attempt, attempt.candidate, None, book, entry.at)
            costs.append(attempt.cost_usd if spent is None else spent)
    paid = [cost for cost in costs if cost]
    return sum(paid), len(paid)


def _repeated(frame: pd.DataFrame) -> tuple[float, int]:
    known = frame["prompt_sha256"].notna() & (frame["status"] == "success") & frame["cache_tier"].isna()
    rows = frame[(known & (frame["purpose"] == "serve")).to_numpy(dtype=bool)]
    asked = pd.DataFrame(
        {
            "key": rows["tenant"].astype("string").fillna(NONE) + "\0" + models(rows).astype("string") + "\0"
            + rows["prompt_sha256"].astype("string"),
            "at": rows["at"],
            "usd": rows["cost_usd"].astype("float64"),
        }
    ).sort_values(["key", "at"], kind="stable")  # fmt: skip
    again = (asked["key"] == asked["key"].shift()) & (asked["at"] - asked["at"].shift() <= REPEATED_WITHIN)
    again = again.fillna(False).to_numpy(dtype=bool)
    return float(asked["usd"][again].sum()), int(again.sum())
