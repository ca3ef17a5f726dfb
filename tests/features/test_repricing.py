from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from beastmode.candidates import Price
from beastmode.interactions import Interaction
from features.prices import PriceBook, Tariff
from features.repricing import what_if
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
