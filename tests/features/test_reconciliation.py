from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from beastmode.candidates import Price, Tier
from beastmode.interactions import Attempt, Interaction
from features import reconciliation
from features.costs import computed
from features.prices import PriceBook, Tariff
from features.reconciliation import ANOTHER_DAY, LAST_ONLY, MISTAKES, ZERO, reconcile
from pipelines.columns import interactions_table

AT = datetime(2026, 3, 1, tzinfo=UTC)
OLD = Price(5, 15, 2.5, 6, since="2024-01-01")
NOW = Price(2, 8, 0.2, 2.5, reasoning_per_mtok=6, per_request=0.05, since="2025-01-01",
            tiers=(Tier(100_000, 4, 16, 0.4, 5, 12),))  # fmt: skip
BOOK = PriceBook([Tariff("m", prices=(OLD, NOW)), Tariff("flat", prices=(Price(1, 4),))], listed=False)


def row(i: int, model: str = "m", **known: Any) -> Interaction:
    rng = np.random.default_rng(i)
    into, out = int(rng.integers(120_000, 200_000)), int(rng.integers(4_000, 9_000))
    usage = {"input_tokens": into, "cache_read_tokens": into // 2, "cache_write_tokens": into // 7,
             "output_tokens": out, "reasoning_tokens": out // 2}  # fmt: skip
    values = {"event_id": f"e{i}", "request_id": f"r{i}", "at": AT + timedelta(minutes=i), "model_served": model}
    return Interaction(**{**values, **usage, **known})


def frame(rows: list[Interaction], book: PriceBook = BOOK) -> pd.DataFrame:
    return interactions_table(rows, book).to_pandas()


def logged(rows: list[Interaction], change) -> list[Interaction]:
    """The rows with what a log that makes a mistake would say; `change` gives it from the row and its true cost."""
    return [replace(r, cost_logged_usd=change(r, computed(r, BOOK)[0])) for r in rows]


def usage(r: Interaction) -> reconciliation.Usage:
    return reconciliation.Usage(r.input_tokens or 0, r.output_tokens or 0, r.cache_read_tokens or 0,
                                r.cache_write_tokens or 0, r.reasoning_tokens or 0)  # fmt: skip


def test_right_costs_agree_and_tiny_differences_are_none() -> None:
    rows = [row(i) for i in range(20)]
    found = reconcile(frame(logged(rows, lambda r, usd: usd * 1.009)), BOOK)
    (model,) = found.models
    assert (model.rows, model.compared, model.different, model.cause) == (20, 20, 0, "")
    assert model.ratio == pytest.approx(1.009)
    assert found.wrong == ()
    small = [row(i, "flat", input_tokens=1, output_tokens=0, cache_read_tokens=0, cache_write_tokens=0,
                 reasoning_tokens=0, cost_logged_usd=0.0) for i in range(3)]  # fmt: skip
    assert reconcile(frame(small), BOOK).models[0].different == 0, "a millionth of a dollar is no difference"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_told_from_the_others(mistake: str) -> None:
    rows = [row(i) for i in range(30)]
    found = reconcile(frame(logged(rows, lambda r, usd: MISTAKES[mistake](usage(r), NOW))), BOOK)
    (model,) = found.models
    assert model.different >= 25, "a mistake may happen to come near the truth"
    assert model.cause == mistake


def test_the_price_of_another_date_is_told() -> None:
    rows = [row(i) for i in range(5)]
    found = reconcile(frame(logged(rows, lambda r, usd: usage(r).cost(OLD))), BOOK)
    assert found.models[0].cause == ANOTHER_DAY


def test_a_logged_zero_is_told() -> None:
    rows = logged([row(i) for i in range(5)], lambda r, usd: 0.0)
    (model,) = reconcile(frame(rows), BOOK).models
    assert (model.zero, model.different, model.cause) == (5, 5, ZERO)
    assert model.ratio == 0


def test_a_constant_factor_is_told_and_noise_is_not_explained() -> None:
    rows = [row(i) for i in range(30)]
    (model,) = reconcile(frame(logged(rows, lambda r, usd: 1.2 * usd)), BOOK).models
    assert model.cause == "everything times 1.2: a markup, a discount or another price"
    rng = np.random.default_rng(0)
    (model,) = reconcile(frame(logged(rows, lambda r, usd: usd * rng.uniform(2, 9))), BOOK).models
    assert (model.different, model.cause) == (30, "unknown")


def test_attempts_that_were_not_charged_are_told() -> None:
    def twice(i: int) -> Interaction:
        r = row(i)
        known = {n: getattr(r, n) for n in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
                                            "reasoning_tokens")}  # fmt: skip
        return replace(r, attempts=(Attempt("m", status="failure", **known), Attempt("m", "retry", **known)))

    rows = logged([twice(i) for i in range(4)], lambda r, usd: usd / 2)
    assert reconcile(frame(rows), BOOK).models[0].cause == LAST_ONLY


def test_several_causes_are_counted() -> None:
    rows = logged([row(i) for i in range(4)], lambda r, usd: 0.0)
    rows += logged([row(i) for i in range(4, 10)], lambda r, usd: usage(r).cost(OLD))
    assert reconcile(frame(rows), BOOK).models[0].cause == f"{ANOTHER_DAY} (6 of 10 rows)"


def test_models_without_a_price_are_listed_with_their_tokens_and_in_no_sum() -> None:
    rows = [
        row(1, "strange", input_tokens=100, output_tokens=10, cache_read_tokens=0, cache_write_tokens=0),
        row(2, "strange", input_tokens=100, output_tokens=10, cost_logged_usd=0.5),
        row(3, "strange", status="failure", input_tokens=None, output_tokens=None),
        row(4, "strange", cache_tier="gateway"),
        row(5, "flat", cost_logged_usd=computed(row(5, "flat"), BOOK)[0]),
    ]
    found = reconcile(frame(rows), BOOK)
    (strange,) = found.without_price
    assert asdict(strange) | {"causes": None} == {
        "model": "strange", "rows": 3, "compared": 0, "logged_usd": 0.0, "computed_usd": 0.0, "different": 0,
        "zero": 0, "logged_only": 1, "unpriced": 1, "unpriced_input_tokens": 100, "unpriced_output_tokens": 10,
        "undiscounted": 0, "causes": None, "tested": 0,
    }  # fmt: skip
    assert found.total("compared") == 1
    assert next(m for m in found.models if m.model == "flat").undiscounted == 1, "flat names no discount"


def test_nothing_at_all_is_no_error() -> None:
    assert reconcile(frame([row(1)])[:0], BOOK).models == ()
