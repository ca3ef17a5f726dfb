"""Demand from the lake's rows: keys as the cache makes them, and nothing that nobody asked for."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from beastmode.cache import Question
from beastmode.records import Request
from pipelines.warm_demand import COLUMNS, demand
from pipelines.warm_settings import WarmSettings

START = datetime(2026, 3, 1, tzinfo=UTC)


def row(number: int, text: str | None = "hi", **known: object) -> dict[str, object]:
    messages = None if text is None else f'[{{"role":"user","content":"{text}"}}]'
    values = {
        "request_id": f"r{number}", "event_id": f"e{number}", "at": START + timedelta(seconds=number),
        "purpose": "serve", "format": "journal", "messages": messages, "prompt_sha256": "f" * 64, "status": "success",
        "cost_usd": 0.5, "latency_ms": 100.0, "output_tokens": 10.0,
    }  # fmt: skip
    return {**dict.fromkeys(COLUMNS), **values, **known}


def found(*rows: dict[str, object], **known: object):
    return demand(pd.DataFrame(list(rows), columns=list(COLUMNS)), WarmSettings(**known))


def test_keys_are_those_of_the_cache():
    logged = found(row(0), row(1, "ho"), row(2), row(3, tenant="acme"), model="large", parameters={"temperature": 0})
    assert logged.key.tolist() == [0, 1, 0, 2]
    known = {"model": "large", "parameters": {"temperature": 0}}
    wanted = [Request.of("hi"), Request.of("ho"), Request.of("hi", tenant="acme")]
    assert list(logged.keys) == [Question.of(request, **known).key for request in wanted]
    assert logged.tenant.tolist() == [0, 0, 1]
    assert [request and request.tenant for request in logged.requests] == [None, None, "acme"]


def test_spellings_of_the_same_context_are_one_key_and_other_contexts_are_others():
    logged = found(row(0), row(1, context="{}"), row(2, context='{"a":"b"}'), row(3, needs='{"json":true}'))
    assert logged.key.tolist() == [0, 0, 1, 2]


def test_prefills_probes_and_second_sights_of_a_call_are_no_demand():
    rows = [row(0), row(1, purpose="warm"), row(2, purpose="probe"), row(0, event_id="again", format="litellm")]
    assert found(*rows).key.tolist() == [0]


def test_hits_are_demand_and_tell_nothing_of_the_cost_of_a_miss():
    logged = found(
        row(0), row(1, cache_tier="memory", cost_usd=0.0, latency_ms=1.0), row(2, status="failure", cost_usd=9.0)
    )
    assert len(logged) == 3
    assert logged.miss_usd.tolist() == [0.5]
    assert logged.miss_ms.tolist() == [100.0]


def test_a_key_without_a_price_has_the_usual_one():
    logged = found(row(0), row(1, "ho", cost_usd=None))
    assert logged.miss_usd.tolist() == [0.5, 0.5]
    assert np.isnan(found(row(0, cost_usd=None)).miss_usd).all()


def test_without_prompts_keys_are_hashes_within_the_tenant_and_cannot_be_asked_again():
    logged = found(row(0, None), row(1, None), row(2, None, tenant="acme"), row(3, None, prompt_sha256=None))
    assert logged.key.tolist() == [0, 0, 1]
    assert logged.requests == (None, None)


def test_no_rows_are_no_demand():
    logged = demand(pd.DataFrame(columns=list(COLUMNS)).astype({"at": "datetime64[us, UTC]"}), WarmSettings())
    assert len(logged) == 0
    assert logged.keys == ()


def test_requests_without_a_session_are_one_each():
    logged = found(row(0), row(1), row(2, session_id="s"), row(3, session_id="s"))
    assert logged.session[2] == logged.session[3]
    assert len(set(logged.session.tolist())) == 3
    assert logged.at[1] - logged.at[0] == pytest.approx(1.0)
