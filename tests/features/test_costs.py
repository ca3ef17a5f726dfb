"""Invoices, computed by hand beside each: what a call cost, to the cent and to a billionth of a dollar."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from beastmode.candidates import Price, Tier
from beastmode.interactions import Attempt, Interaction
from features.costs import computed, cost
from features.prices import PriceBook, Tariff

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOOK = PriceBook(
    [
        Tariff(
            "gpt-4o",
            provider="openai",
            prices=(Price(5, 15, since="2024-05-13"), Price(2.5, 10, cache_read_per_mtok=1.25, since="2024-10-02")),
        ),
        Tariff("house-70b", model="meta-llama/Llama-3.3-70B-Instruct", provider="house", prices=(Price(0.2, 0.6),)),
        Tariff("gpt-4.1-mini", provider="openai", prices=(Price(0.3, 1.2),)),
        Tariff("oracle", prices=(Price(per_request=0.25),)),
        Tariff("free", prices=(Price(0, 0),)),
        Tariff("thinker", prices=(Price(2, 8, reasoning_per_mtok=3),)),
        Tariff("long", prices=(Price(1, 4, 0.1, tiers=(Tier(1_000, 2, 8, 0.2), Tier(10_000, 4, 16, 0.4))),)),
    ]
)
LIST, OURS = "genai-prices", "catalogue"

INVOICES: dict[str, tuple[dict[str, Any], float | None, str | None]] = {
    "gpt-4o-mini: 8,000 of 10,000 input tokens cached": (
        # 2,000 x $0.15 + 8,000 x $0.075 + 500 x $0.60 = 300 + 600 + 300 millionths
        {"model_served": "gpt-4o-mini", "input_tokens": 10_000, "cache_read_tokens": 8_000, "output_tokens": 500},
        0.001200, LIST,
    ),
    "claude 3.5 haiku: 30,000 read from and 10,000 written to the cache": (
        # 10,000 fresh x $0.80 + 30,000 x $0.08 + 10,000 x $1.00 + 2,000 x $4 = 8,000 + 2,400 + 10,000 + 8,000
        {"model_served": "claude-3-5-haiku-20241022", "provider": "anthropic", "input_tokens": 50_000,
         "cache_read_tokens": 30_000, "cache_write_tokens": 10_000, "output_tokens": 2_000},
        0.028400, LIST,
    ),
    "o3-mini: reasoning is output, and charged once": (
        # 1,000 x $1.10 + 5,000 x $4.40, of which 4,000 are reasoning = 1,100 + 22,000
        {"model_served": "o3-mini", "input_tokens": 1_000, "output_tokens": 5_000, "reasoning_tokens": 4_000},
        0.023100, LIST,
    ),
    "sonar deep research: reasoning has a price of its own": (
        # 1,000 x $2 + 1,000 x $8 + 4,000 reasoning x $3 = 2,000 + 8,000 + 12,000
        {"model_served": "perplexity/sonar-deep-research", "input_tokens": 1_000, "output_tokens": 5_000,
         "reasoning_tokens": 4_000},
        0.022000, LIST,
    ),
    "thinker: the same from the catalogue": (
        # 1,000 x $2 + 1,000 x $8 + 4,000 x $3
        {"model_served": "thinker", "input_tokens": 1_000, "output_tokens": 5_000, "reasoning_tokens": 4_000},
        0.022000, OURS,
    ),
    "gemini 2.5 pro: 200,000 input tokens are the lower tier still": (
        # 200,000 x $1.25 + 1,000 x $10 = 250,000 + 10,000
        {"model_served": "gemini-2.5-pro", "input_tokens": 200_000, "output_tokens": 1_000},
        0.260000, LIST,
    ),
    "gemini 2.5 pro: one more and every token is in the upper tier": (
        # 200,001 x $2.50 + 1,000 x $15 = 500,002.5 + 15,000
        {"model_served": "gemini-2.5-pro", "input_tokens": 200_001, "output_tokens": 1_000},
        0.5150025, LIST,
    ),
    "gemini 2.5 pro: cached tokens of a long input": (
        # 200,000 x $2.50 + 100,000 x $0.25 + 1,000 x $15 = 500,000 + 25,000 + 15,000
        {"model_served": "vertex_ai/gemini-2.5-pro", "input_tokens": 300_000, "cache_read_tokens": 100_000,
         "output_tokens": 1_000},
        0.540000, LIST,
    ),
    "long: the second tier of the catalogue": (
        # 10,001 x $4 + 10 x $16 = 40,004 + 160
        {"model_served": "long", "input_tokens": 10_001, "output_tokens": 10}, 0.040164, OURS,
    ),
    "gpt-4o on the last day of its first price": (
        # 1,000 x $5 + 1,000 x $15
        {"at": datetime(2024, 10, 1, 23, 59, 59, tzinfo=UTC), "model_served": "gpt-4o", "input_tokens": 1_000,
         "output_tokens": 1_000},
        0.020000, OURS,
    ),
    "gpt-4o from the second of October 2024": (
        # 1,000 x $2.50 + 1,000 x $10
        {"at": datetime(2024, 10, 2, tzinfo=UTC), "model_served": "gpt-4o", "input_tokens": 1_000,
         "output_tokens": 1_000},
        0.012500, OURS,
    ),
    "o3 before its price fell": (
        # 1,000 x $10 + 1,000 x $40
        {"at": datetime(2025, 6, 9, tzinfo=UTC), "model_served": "o3", "input_tokens": 1_000, "output_tokens": 1_000},
        0.050000, LIST,
    ),
    "o3 after it": (
        # 1,000 x $2 + 1,000 x $8
        {"at": datetime(2025, 6, 10, tzinfo=UTC), "model_served": "o3", "input_tokens": 1_000, "output_tokens": 1_000},
        0.010000, LIST,
    ),
    "deepseek v4 flash at noon": (
        # 1,000 x $0.15 + 1,000 x $0.60
        {"at": datetime(2026, 11, 20, 12, tzinfo=UTC), "model_served": "deepseek/deepseek-v4-flash",
         "input_tokens": 1_000, "output_tokens": 1_000},
        0.000750, LIST,
    ),
    "deepseek v4 flash in its dear hours": (
        # 1,000 x $0.30 + 1,000 x $1.20
        {"at": datetime(2026, 11, 20, 2, tzinfo=UTC), "model_served": "deepseek/deepseek-v4-flash",
         "input_tokens": 1_000, "output_tokens": 1_000},
        0.001500, LIST,
    ),
    "claude on bedrock, in a region": (
        # 1,000 x $3.30 + 1,000 x $16.50
        {"model_served": "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "input_tokens": 1_000,
         "output_tokens": 1_000},
        0.019800, LIST,
    ),
    "sonar: a price per request on top of tokens": (
        # $12 per thousand requests + 1,000 x $1 + 500 x $1 = 0.012 + 0.0015
        {"model_served": "sonar", "provider": "perplexity", "input_tokens": 1_000, "output_tokens": 500},
        0.013500, LIST,
    ),
    "oracle: a price per request alone, tokens unknown": ({"model_served": "oracle"}, 0.25, OURS),
    "a model of one's own": (
        # 1,000,000 x $0.20 + 100,000 x $0.60
        {"model_served": "meta-llama/Llama-3.3-70B-Instruct", "provider": "house", "input_tokens": 1_000_000,
         "output_tokens": 100_000},
        0.26, OURS,
    ),
    "a negotiated price comes before the list's": (
        # 1,000 x $0.30 + 1,000 x $1.20, where the list says $0.40 and $1.60
        {"model_served": "gpt-4.1-mini-2025-04-14", "plan": "gpt-4.1-mini", "provider": "openai",
         "input_tokens": 1_000, "output_tokens": 1_000},
        0.001500, OURS,
    ),
    "gpt-4 names no discount for cached tokens": (
        # 1,000 x $30 + 100 x $60, 500 of the input cached
        {"model_served": "gpt-4", "input_tokens": 1_000, "cache_read_tokens": 500, "output_tokens": 100},
        0.036000, LIST,
    ),
    "a free model costs nothing, and that is known": (
        {"model_served": "free", "input_tokens": 1_000, "output_tokens": 1_000}, 0.0, OURS,
    ),
    "an unknown model is unpriced": (
        {"model_served": "nobody-knows-1", "input_tokens": 1_000, "output_tokens": 1_000}, None, None,
    ),
    "an unknown model that was asked for as a known one is unpriced": (
        {"model_served": "nobody-knows-1", "model_requested": "gpt-4o-mini", "input_tokens": 9, "output_tokens": 9},
        None, None,
    ),
    "a model of somebody else's server is unpriced whatever its name": (
        {"model_served": "gpt-4o-mini", "provider": "vllm", "input_tokens": 1_000, "output_tokens": 1_000}, None, None,
    ),
    "without tokens there is no cost": ({"model_served": "gpt-4o-mini", "input_tokens": 1_000}, None, None),
    "more cached than there is input": (
        {"model_served": "gpt-4o-mini", "input_tokens": 10, "cache_read_tokens": 11, "output_tokens": 1}, None, None,
    ),
}  # fmt: skip


def row(**known: Any) -> Interaction:
    return Interaction(**{"event_id": "e", "request_id": "r", "at": AT, **known})


@pytest.mark.parametrize("name", INVOICES)
def test_an_invoice_is_reproduced(name: str) -> None:
    known, usd, source = INVOICES[name]
    got, said = cost(row(**known), BOOK)
    if usd is None:
        assert (got, said) == (None, None)
        return
    assert got == pytest.approx(usd, abs=1e-9)
    assert said is not None
    assert said.startswith(str(source))


def test_what_the_journal_computed_stands() -> None:
    known = row(model_served="gpt-4o-mini", input_tokens=10, output_tokens=10, cost_usd=0.5, cost_source="caller")
    assert cost(known, BOOK) == (0.5, "caller")


@pytest.mark.parametrize(("logged", "expected"), [(0.0, (0.0, "logged")), (None, (None, None))])
def test_an_answer_of_a_cache_costs_what_the_log_says(logged: float | None, expected: tuple[Any, Any]) -> None:
    served = row(model_served="gpt-4o-mini", input_tokens=10, output_tokens=10, cache_tier="gateway",
                 cost_logged_usd=logged)  # fmt: skip
    assert cost(served, BOOK) == expected


def test_the_log_has_the_last_word_where_usage_or_price_is_missing() -> None:
    for known in ({"model_served": "nobody-knows-1", "input_tokens": 9, "output_tokens": 9},
                  {"model_served": "gpt-4o-mini"}):  # fmt: skip
        assert cost(row(**known, cost_logged_usd=0.3), BOOK) == (0.3, "logged")
    known = {"model_served": "gpt-4o-mini", "input_tokens": 1_000_000, "output_tokens": 0}
    assert cost(row(**known, cost_logged_usd=0.3), BOOK)[0] == pytest.approx(0.15)


def test_a_failure_costs_what_its_tokens_do_and_nothing_is_made_up_without() -> None:
    failed = row(status="failure", plan="gpt-4o", model_requested="gpt-4o")
    assert cost(failed, BOOK) == (None, None)
    assert cost(replace(failed, input_tokens=1_000, output_tokens=100), BOOK) == (0.0035, "catalogue")
    assert cost(row(status="failure", plan="oracle"), BOOK) == (None, None), "who was not served pays no request"


FAILED = Attempt("gpt-4o", status="failure")
CUT = Attempt("gpt-4o", status="failure", input_tokens=1_000, output_tokens=100)  # 2,500 + 1,000 = $0.0035
ANSWERED = Attempt("house-70b", "fallback", input_tokens=10_000, output_tokens=1_000)  # 2,000 + 600 = $0.0026
STRANGE = Attempt("nobody-knows-1", status="failure", input_tokens=10, output_tokens=0)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ((FAILED, ANSWERED), (0.0026, "catalogue")),
        ((CUT, ANSWERED), (0.0061, "catalogue")),
        ((CUT, CUT, ANSWERED), (0.0096, "catalogue")),
        ((STRANGE, ANSWERED), (None, None)),
        ((replace(STRANGE, cost_usd=0.1), ANSWERED), (0.1026, "catalogue + logged")),
        ((CUT, FAILED), (0.0035, "catalogue")),
        ((CUT, replace(ANSWERED, input_tokens=None)), (None, None)),
        # Where no attempt tells its tokens the row does: 100,000 x $0.20 + 0.
        ((FAILED, Attempt("house-70b", "fallback")), (0.02, "catalogue")),
    ],
)
def test_the_cost_is_the_sum_over_attempts(attempts: tuple[Attempt, ...], expected: tuple[Any, Any]) -> None:
    known = row(plan="house-70b", attempts=attempts, input_tokens=100_000, output_tokens=0)
    usd, source = cost(known, BOOK)
    assert usd == (pytest.approx(expected[0], abs=1e-12) if expected[0] is not None else None)
    assert source == expected[1]


def test_a_row_takes_microseconds() -> None:
    """Measured 1.0 us a row; ten times that would mean that something is looked up anew for each row."""
    known = row(model_served="gpt-4o-mini-2024-07-18", plan="gpt-4o-mini", provider="openai", input_tokens=1_000,
                output_tokens=100, cache_read_tokens=200)  # fmt: skip
    computed(known, BOOK)
    best = min(_seconds(known) for _ in range(5))
    assert best < 10e-6


def _seconds(known: Interaction, times: int = 2_000) -> float:
    start = time.perf_counter()
    for _ in range(times):
        cost(known, BOOK)
    return (time.perf_counter() - start) / times
