from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from beastmode.candidates import Price
from beastmode.interactions import Interaction
from features.prices import PriceBook, Tariff
from features.repricing import at_prices_of, what_if
from pipelines.columns import interactions_table

BOOK = PriceBook([Tariff("m", prices=(Price(5, 15),)), Tariff("flat", prices=(Price(1, 4),))], listed=False)


def row(i: int, model: str, **known: Any) -> Interaction:
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=i)
    usage = {"input_tokens": 1_000 * i, "output_tokens": 100 + i}
    return Interaction(
        **{"event_id": f"e{i}", "request_id": f"r{i}", "at": at, "model_served": model, **usage, **known}
    )


def frame(rows: list[Interaction]) -> pd.DataFrame:
    return interactions_table(rows, BOOK).to_pandas()


def test_what_the_same_traffic_would_cost() -> None:
    rows = [row(i, "flat") for i in range(6)]
    rows += [row(7, "strange"), row(8, "flat", cache_tier="memory"), row(9, "m")]
    after = BOOK.under([Tariff("flat", prices=(Price(2, 8),)), Tariff("new", prices=(Price(1, 1),))])
    found = what_if(frame(rows), BOOK, after)
    assert [(c.model, c.rows) for c in found.changes] == [("flat", 6), ("m", 1)]
    flat, m = found.changes
    assert flat.before_usd == pytest.approx(sum((r.input_tokens + 4 * r.output_tokens) / 1e6 for r in rows[:6]))
    assert flat.after_usd == pytest.approx(2 * flat.before_usd)
    assert m.difference_usd == 0
    assert found.unpriced == 1
    assert found.after_usd - found.before_usd == pytest.approx(flat.before_usd)


def test_what_was_paid_is_taken_to_the_prices_of_a_day() -> None:
    dated = PriceBook([Tariff("a", prices=(Price(1, 4, since="2026-01-01"), Price(3, 12, since="2026-03-02"))),
                       Tariff("b", prices=(Price(5, 15, since="2026-03-02"),))], listed=False)  # fmt: skip
    rows = [row(1, "a"), row(2, "a", cost_usd=0.5), row(3, "a", cache_tier="memory", cost_usd=0.0),
            row(4, "b"), row(5, "strange", cost_usd=0.25), row(6, "strange"),
            row(7, "a", status="failure", input_tokens=None, output_tokens=None)]  # fmt: skip
    frame = interactions_table(rows, dated).to_pandas()
    assert np.isnan(frame["cost_usd"][3]), "b had no price when it was asked"
    found = at_prices_of(date(2026, 3, 5), frame, dated)
    paid = (1_000 * 1 + 101 * 4) / 1e6
    b = (4_000 * 5 + 104 * 15) / 1e6
    assert found == pytest.approx([3 * paid, 1.5, 0.0, b, 0.25, np.nan, np.nan], nan_ok=True)
    assert at_prices_of(date(2026, 3, 1), frame, dated) == pytest.approx(frame["cost_usd"].to_numpy(), nan_ok=True)
