from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from beastmode.candidates import Price
from beastmode.interactions import Attempt, Interaction
from features.ledger import NONE
from features.prices import PriceBook, Tariff
from features.spending import CACHE, Spending, filed, savings, spending
from pipelines.columns import interactions_table

AT = datetime(2026, 3, 1, 22, tzinfo=UTC)
BOOK = PriceBook([Tariff("a", prices=(Price(1, 4, 0.1, 1.25),)), Tariff("b", prices=(Price(10, 40),))], listed=False)


def row(i: int, **known: Any) -> Interaction:
    values = {"event_id": f"e{i:05}", "request_id": f"r{i}", "at": AT + timedelta(hours=i), "model_served": "a",
              "input_tokens": 1_000_000, "output_tokens": 0}  # fmt: skip
    return Interaction(**{**values, **known})


def frame(rows: list[Interaction]) -> pd.DataFrame:
    return interactions_table(rows, BOOK).to_pandas()


def spent(rows: list[Interaction]) -> Spending:
    return spending(filed(frame(rows)))


def by(found: Spending, name: str) -> dict[str, tuple[int, float]]:
    return {line.name: (line.calls, pytest.approx(line.usd)) for line in found.by[name]}


def test_the_money_is_filed_under_everything_and_adds_up() -> None:
    rows = [
        row(0, tenant="x", context={"task": "code"}),
        row(1, tenant="x", context={"request_tags": ["team-a", "b"]}, purpose="probe"),
        row(2, tenant="y", model_served="b", context={"request_tags": []}),
        row(3, model_served=None, plan="a > b", context={"task": 7}),
        row(26, model_served=None, model_requested="b", status="failure"),
        row(27, model_served="strange"),
        row(28, status="failure", input_tokens=None, output_tokens=None),
        row(29, cache_tier="gateway", cost_logged_usd=0.0),
    ]
    found = spent(rows)
    assert (found.usd, found.calls, found.unpriced) == (pytest.approx(23), 8, 1)
    assert found.unpriced_share == 1 / 8
    assert found.failed_usd == pytest.approx(10)
    assert by(found, "model") == {"b": (2, 20), "a": (4, 3), CACHE: (1, 0), "strange": (1, 0)}
    assert by(found, "tenant") == {"x": (2, 2), "y": (1, 10), NONE: (5, 11)}
    assert by(found, "task") == {"code": (1, 1), "team-a": (1, 1), "7": (1, 1), NONE: (5, 20)}
    assert by(found, "purpose") == {"serve": (7, 22), "probe": (1, 1)}
    assert by(found, "day") == {"2026-03-01": (2, 2), "2026-03-02": (2, 11), "2026-03-03": (4, 10)}
    assert [line.name for line in found.by["hour"]] == ["00:00", "01:00", "02:00", "03:00", "22:00", "23:00"]
    for lines in found.by.values():
        assert sum(line.usd for line in lines) == pytest.approx(found.usd)
        assert sum(line.calls for line in lines) == found.calls
        assert sum(line.unpriced for line in lines) == found.unpriced


def test_names_are_those_of_the_money() -> None:
    assert [line.name for line in spent([row(0, model_served=None)]).by["model"]] == ["unknown"]


def test_nothing_at_all_is_no_error() -> None:
    empty = frame([row(0)])[:0]
    assert spending(filed(empty)).usd == 0
    assert [s.usd for s in savings(empty, BOOK)] == [0, 0, 0]


def saving(rows: list[Interaction], number: int) -> tuple[float, int]:
    found = savings(frame(rows), BOOK)[number]
    return found.usd, found.calls


def test_what_the_providers_cache_saved() -> None:
    # 900,000 tokens at $0.10 instead of $1 save $0.81; 100,000 written at $1.25 instead of $1 cost $0.025.
    usd, calls = saving([row(0, cache_read_tokens=900_000), row(1, cache_write_tokens=100_000), row(2)], 0)
    assert (usd, calls) == (pytest.approx(0.81 - 0.025), 2)
    assert saving([row(0, model_served="b", cache_read_tokens=900_000)], 0) == (0, 0), "no discount, no saving"


def test_what_failed_attempts_cost() -> None:
    cut = Attempt("b", status="failure", input_tokens=50_000, output_tokens=0)
    rows = [
        row(0, attempts=(cut, Attempt("a", "fallback", input_tokens=1_000_000, output_tokens=0))),
        row(1, attempts=(Attempt("b", status="failure"), Attempt("a", "retry", input_tokens=9, output_tokens=0))),
        row(2, status="failure"),
        row(3, status="failure", input_tokens=None),
        row(4),
    ]
    assert saving(rows, 1) == (pytest.approx(0.5 + 1), 2)


def test_what_an_exact_cache_could_have_saved_at_most() -> None:
    def asked(i: int, hours: float, **known: Any) -> Interaction:
        return row(i, at=AT + timedelta(hours=hours), prompt_sha256="p", tenant="x", **known)

    rows = [
        asked(0, 0),
        asked(1, 23),  # again
        asked(2, 46.5),  # again: within 24 hours of the last
        asked(3, 71),  # too late
        row(4, at=AT + timedelta(hours=72), prompt_sha256="p", tenant="y"),
        asked(5, 73, model_served="b"),
        asked(6, 74, purpose="probe"),
        asked(7, 75, status="failure"),
        asked(8, 76, cache_tier="memory", cost_logged_usd=0.0),
        row(9, at=AT + timedelta(hours=1)),
        row(10, at=AT + timedelta(hours=2)),
    ]
    assert saving(rows, 2) == (pytest.approx(2), 2)
