"""The calls that a world makes, as the interactions and the feedback that a log holds of them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np

from beastmode.interactions import Attempt, Feedback, Interaction
from features.formats.values import prompt_facts
from features.table import Floats, Table

ERRORS = (
    ("provider_timeout", "the provider did not answer within 60 s"),
    ("provider_rate_limited", "429: rate limit reached for requests"),
    ("provider_server_error", "503: the model is overloaded"),
    ("provider_connection_lost", "the connection was closed while the answer was read"),
)


class Rules(Protocol):
    """What the calls need to know of a world's settings."""

    @property
    def epsilon(self) -> float: ...
    @property
    def failures(self) -> float: ...
    @property
    def feedback_share(self) -> float: ...
    @property
    def feedback_lag_hours(self) -> float: ...
    @property
    def strip_decisions(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """All that is true of n requests and m candidates, and what the policy did."""

    table: Table
    at: list[datetime]
    ttft_ms: Floats
    probabilities: Floats
    tenants: list[str]


def log(
    truth: Truth, rules: Rules, seed: int, rng: np.random.Generator
) -> tuple[tuple[Interaction, ...], tuple[Feedback, ...]]:
    """Return the interactions in the order of their moments, and the feedback in the order it is received."""
    rows: list[Interaction] = []
    words: list[Feedback] = []
    for i in range(len(truth.table)):
        for row, j in _calls(truth, i, rules, seed, rng):
            rows.append(row)
            rated = row.status == "success" and (row.purpose == "probe" or rng.random() < rules.feedback_share)
            if rated:
                words.append(_word(row, float(truth.table.quality[i, j]), rules, rng))
    if rules.strip_decisions:
        rows = [undecided(row) for row in rows]
    rows.sort(key=lambda row: row.at)
    words.sort(key=lambda word: (word.received_at, word.request_id))
    return tuple(rows), tuple(words)


def _calls(
    truth: Truth, i: int, rules: Rules, seed: int, rng: np.random.Generator
) -> Iterator[tuple[Interaction, int]]:
    """Yield the served call of a request, then its probes: every candidate that has not answered yet."""
    table = truth.table
    chosen = int(table.served[i])
    served = _served(truth, i, rules, seed)
    if rng.random() < rules.failures:
        served = _failed(served, rng)
    yield served, chosen
    if not table.probed[i]:
        return
    for j in range(len(table.candidates)):
        if j == chosen and served.status == "success":
            continue
        number = 0
        while True:
            probe = _probe(served, truth, i, j, seed, number)
            failed = rng.random() < rules.failures
            yield (_failed(probe, rng) if failed else probe), j
            if not failed:
                break
            number += 1


def _id(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:24]


def _served(truth: Truth, i: int, rules: Rules, seed: int) -> Interaction:
    table, j = truth.table, int(truth.table.served[i])
    messages = ({"role": "user", "content": table.texts[i]},)
    sha256, chars = prompt_facts(messages)
    name, session = table.candidates[j], str(table.sessions[i])
    row = Interaction(
        event_id="",
        request_id=str(table.request_ids[i]),
        decision_id=_id("decision", seed, i),
        at=truth.at[i],
        session_id=session,
        tenant=truth.tenants[i],
        unit=session,
        messages=messages,
        prompt_sha256=sha256,
        prompt_chars=chars,
        candidates=table.candidates,
        plan=name,
        probabilities=dict(zip(table.candidates, truth.probabilities[i].tolist(), strict=True)),
        propensity=float(truth.probabilities[i, j]),
        propensity_source="logged",
        arm="champion",
        arm_probability=1.0,
        policy=f"epsilon_greedy({rules.epsilon:g})",
        model_requested=name,
        **_outcome(truth, i, j),
    )
    return _with_attempt(row)


def undecided(row: Interaction) -> Interaction:
    """Return an interaction without what a policy decided: what is left when a log knows nothing of ours."""
    return replace(
        row,
        decision_id=None,
        parent_request_id=None,
        purpose="serve",
        candidates=None,
        plan=None,
        probabilities=None,
        propensity=None,
        propensity_source="unknown",
        arm=None,
        arm_probability=None,
        policy=None,
        bundle_sha256=None,
        predictions=None,
        sticky_from=None,
    )


def _outcome(truth: Truth, i: int, j: int) -> dict[str, Any]:
    table = truth.table

    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    tokens, cost = known(table.output_tokens[i, j]), known(table.cost_usd[i, j])
    return {
        "model_served": table.candidates[j],
        "provider": "replay",
        "status": "success",
        "latency_ms": round(float(table.latency_ms[i, j]), 3),
        "ttft_ms": round(float(truth.ttft_ms[i, j]), 3),
        "input_tokens": round(float(table.input_tokens[i])),
        "output_tokens": None if tokens is None else round(tokens),
        "cost_logged_usd": cost,
        "cost_usd": cost,
        "cost_source": None if cost is None else "catalogue",
    }


def _probe(served: Interaction, truth: Truth, i: int, j: int, seed: int, number: int) -> Interaction:
    name = truth.table.candidates[j]
    wait = timedelta(minutes=1 + j + len(truth.table.candidates) * number)
    fields: dict[str, Any] = dict(
        _outcome(truth, i, j),
        request_id=_id("probe", seed, i, j, number),
        decision_id=_id("probe decision", seed, i, j, number),
        at=served.at + wait,
        purpose="probe",
        parent_request_id=served.request_id,
        candidates=(name,),
        plan=name,
        probabilities={name: 1.0},
        propensity=1.0,
        policy="probe",
        model_requested=name,
        error_type=None,
        error_message=None,
        attempts=(),
    )
    return _with_attempt(replace(served, **fields))


def _failed(row: Interaction, rng: np.random.Generator) -> Interaction:
    kind, message = ERRORS[int(rng.integers(len(ERRORS)))]
    empty: dict[str, Any] = dict.fromkeys(
        ("latency_ms", "ttft_ms", "input_tokens", "output_tokens", "cost_logged_usd", "cost_usd", "cost_source")
    )
    failed = replace(row, status="failure", error_type=kind, error_message=message, model_served=None, **empty)
    return _with_attempt(failed)


def _with_attempt(row: Interaction) -> Interaction:
    attempt = Attempt(
        candidate=row.model_requested or "",
        status=row.status,
        latency_ms=row.latency_ms,
        ttft_ms=row.ttft_ms,
        error_type=row.error_type,
        error_message=row.error_message,
        model_served=row.model_served,
        provider=row.provider,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=row.cost_usd,
    )
    return replace(row, attempts=(attempt,))


def _word(row: Interaction, quality: float, rules: Rules, rng: np.random.Generator) -> Feedback:
    hours = float(np.exp(rng.normal(np.log(rules.feedback_lag_hours), 1.0)))
    at = row.at + timedelta(hours=min(max(hours, 0.1), 96.0))
    received = at + timedelta(seconds=round(float(rng.exponential(60.0)), 3))
    return Feedback(
        request_id=row.request_id, signal="score", value=quality, at=at, received_at=received, source="replay"
    )
