from datetime import UTC, datetime

import pytest
from genai_prices import Usage
from genai_prices.data import providers

from features.pricelist import Listed, PriceList

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def public() -> PriceList:
    return PriceList()


@pytest.mark.parametrize(
    ("model", "provider", "known"),
    [
        ("gpt-4o-mini", None, "gpt-4o-mini"),
        ("gpt-4o-mini", "openai", "gpt-4o-mini"),
        ("GPT-4o-mini", "OpenAI", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", None, "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "openai", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "litellm", "gpt-4o-mini"),
        ("gpt-4o-2024-08-06", None, "gpt-4o"),
        ("gpt-5.2-20251211", "openai", "gpt-5.2"),
        ("deepseek/deepseek-v4-flash", "openai", "deepseek-v4-flash"),
        ("claude-3-5-haiku-20241022", "anthropic", "claude-3-5-haiku-latest"),
        ("bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", None,
         "regional.anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws.bedrock",
         "regional.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("vertex_ai/gemini-2.5-pro", None, "gemini-2.5-pro"),
        ("gemini-2.5-pro", "gcp.vertex_ai", "gemini-2.5-pro"),
        ("models/gemini-2.5-flash", None, "gemini-2.5-flash"),
        ("openrouter/openai/gpt-4o", None, "openai/gpt-4o"),
        ("azure/gpt-4o", "azure", "gpt-4o"),
        ("gpt-4o", "azure.ai.openai", "gpt-4o"),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", "openai", "ft:gpt-4o-mini"),
    ],
)  # fmt: skip
def test_a_model_is_found_as_logs_name_it(public: PriceList, model: str, provider: str | None, known: str) -> None:
    found = public.find(model, provider)
    assert found is not None
    assert found.id == known


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("my-custom-model", None),
        ("gpt-4o-mine", None),
        ("gpt-4o-mini", "local"),
        ("openai/gpt-oss-20b", "vllm"),
        ("gpt-4o", "my-openai-proxy"),
        ("gpt-4o", "anthropic"),
        ("claude-sonnet-4-5", "openai"),
        ("meta-llama/Llama-3.1-8B-Instruct", None),
        ("ft:gpt-9-mini-2026-07-18:acme::x", "openai"),
        ("gpt-99", "openai"),
        ("", None),
    ],
)
def test_what_is_not_known_is_never_the_nearest(public: PriceList, model: str, provider: str | None) -> None:
    assert public.find(model, provider) is None


def test_every_price_of_the_list_comes_out_as_the_list_computes_it() -> None:
    """The conversion against genai-prices' own arithmetic: every model, before and after every tier, at two moments."""
    compared = 0
    for at in (datetime(2025, 1, 15, 2, tzinfo=UTC), AT):
        for provider in providers:
            for model in provider.models:
                price = Listed(model, provider.id, hourly=True).at(at)
                if price is None:
                    continue
                for into in (100_000, 600_000):
                    usage = {"input_tokens": into, "cache_read_tokens": 30_000, "cache_write_tokens": 9_000,
                             "output_tokens": 2_000}  # fmt: skip
                    reasoning = 0 if price.reasoning_per_mtok is None else 1_500
                    more = {"output_reasoning_tokens": reasoning} if reasoning else {}
                    theirs = model.calc_price(Usage(**usage, **more), provider, genai_request_timestamp=at)
                    ours = price.cost_usd(into, 2_000, 30_000, 9_000, reasoning)
                    assert ours == pytest.approx(float(theirs.total_price), abs=1e-9), (provider.id, model.id)
                    compared += 1
    assert compared > 8_000
