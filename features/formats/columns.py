"""Guess which column of a table is which of ours, and in what unit, and say so."""

import difflib
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.formats.events import FormatError

UNITS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
"""Milliseconds in one of each."""
_UNIT_WORDS = {"s": "s", "sec": "s", "secs": "s", "seconds": "s", "ms": "ms", "msec": "ms", "millis": "ms"}
_UNIT_WORDS |= {"milliseconds": "ms", "us": "us", "micros": "us", "microseconds": "us", "ns": "ns"}
_UNIT_WORDS |= {"nanos": "ns", "nanoseconds": "ns"}

# Spelled without case, underscores, dots and dashes; the first that a log has is taken.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "at": ("at", "timestamp", "time", "starttime", "startedat", "createdat", "requesttime", "ts", "datetime", "date"),
    "end": ("endtime", "endedat", "completedat", "finishedat"),
    "request_id": ("requestid", "id", "uuid", "callid", "inferenceid", "generationid"),
    "decision_id": ("decisionid",),
    "parent_request_id": ("parentrequestid", "parentid"),
    "trace_id": ("traceid",),
    "session_id": ("sessionid", "conversationid", "threadid"),
    "tenant": ("tenant", "tenantid", "team", "teamid", "organization", "organizationid", "customer", "project"),
    "unit": ("unit", "userid", "user"),
    "purpose": ("purpose",),
    "messages": ("messages", "prompt", "input", "query", "question", "requestbody", "inputmessages", "text"),
    "prompt_sha256": ("promptsha256",),
    "prompt_chars": ("promptchars",),
    "context": ("context",),
    "needs": ("needs",),
    "candidates": ("candidates", "eligible", "candidatemodels"),
    "plan": ("plan", "chosen", "action", "selectedmodel", "routedmodel"),
    "probabilities": ("probabilities", "pmf"),
    "propensity": ("propensity", "pscore", "probability", "actionprobability"),
    "propensity_source": ("propensitysource",),
    "arm": ("arm", "variant", "experimentarm"),
    "arm_probability": ("armprobability",),
    "arm_probabilities": ("armprobabilities",),
    "marginal_propensity": ("marginalpropensity",),
    "sticky_from": ("stickyfrom",),
    "policy": ("policy", "routerversion", "policyversion"),
    "bundle_sha256": ("bundlesha256",),
    "model_requested": ("modelrequested", "requestmodel", "requestedmodel", "modelgroup"),
    "model_served": ("modelserved", "model", "modelname", "responsemodel", "modelid", "engine"),
    "provider": ("provider", "vendor", "customllmprovider", "modelprovider"),
    "status": ("status", "state", "statuscode", "httpstatus", "responsestatus", "success", "ok"),
    "error_type": ("errortype", "errorclass", "errorcode"),
    "error_message": ("errormessage", "error", "errorstr", "exception", "statusmessage"),
    "latency": ("latency", "duration", "elapsed", "responsetime", "delay", "totaltime", "requestduration"),
    "ttft": ("ttft", "timetofirsttoken", "firsttoken", "timetofirstchunk"),
    "input_tokens": ("inputtokens", "prompttokens", "tokensin", "tokensprompt", "inputtokencount"),
    "cache_read_tokens": ("cachereadtokens", "cachedtokens", "cachedinputtokens", "cachereadinputtokens"),
    "cache_write_tokens": ("cachewritetokens", "cachecreationinputtokens"),
    "output_tokens": ("outputtokens", "completiontokens", "tokensout", "tokenscompletion", "outputtokencount"),
    "reasoning_tokens": ("reasoningtokens",),
    "cost_logged_usd": ("costloggedusd", "costusd", "cost", "spend", "totalcost", "responsecost", "usage", "price"),
    "cache_tier": ("cachetier",),
    "quality": ("quality", "score", "rating", "reward", "thumb", "thumbs", "feedback", "correct", "label"),
}
TIMES = ("latency", "ttft")
ABSURD_USD = 10.0
"""A median cost per request above this is a price per million tokens, or cents, or a total."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which of a log's columns is which of ours."""

    names: Mapping[str, str]
    """Ours -> the log's."""
    factors: Mapping[str, float]
    """latency, ttft -> milliseconds in one of the log's unit."""
    notes: tuple[str, ...]
    """What was guessed, in words."""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _unit(name: str) -> tuple[str, str | None]:
    """Return a column's name without the unit at its end, and the unit."""
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()) if word]
    if len(words) > 1 and words[-1] in _UNIT_WORDS:
        return "".join(words[:-1]), _UNIT_WORDS[words[-1]]
    return "".join(words), None


def choose(sample: Sequence[Mapping[str, Any]], given: Mapping[str, str]) -> Columns:
    """Return the columns of a table from its first records and from what the configuration says.

    `given` maps ours to the log's; `latency_s`, `latency_ms`, `latency_us` and `latency_ns` state a unit (so does
    `ttft_…`), `prompt` stands for `messages`, `cost_usd` for `cost_logged_usd`. Raises FormatError naming a column
    that neither the table nor our names have.
    """
    there = list(dict.fromkeys(name for values in sample for name in values))
    names, units = _given(given, there)
    notes: list[str] = []
    taken = set(names.values())
    bare = {name: _unit(name) for name in there}
    for ours, aliases in ALIASES.items():
        if ours in names:
            continue
        for alias in aliases:
            spelled = next(
                (
                    n
                    for n in there
                    if n not in taken and (_plain(n) == alias or (ours in TIMES and bare[n][0] == alias))
                ),
                None,
            )
            if spelled is not None:
                names[ours] = spelled
                taken.add(spelled)
                if spelled not in (ours, f"{ours}_ms"):
                    notes.append(f"column {spelled!r} is read as {_shown(ours)}")
                break
    factors = {}
    for ours in TIMES:
        if ours in names:
            values = _numbers(sample, names[ours])
            unit = units.get(ours) or bare.get(names[ours], ("", None))[1]
            if unit is None:
                unit = guess_unit(values)
                middle = f"{statistics.median(values):g}" if values else "none known"
                notes.append(
                    f"unit of {names[ours]!r} is guessed to be {unit} (median {middle}); "
                    f"say columns.{ours}_{unit} = {names[ours]!r} to be sure"
                )
            factors[ours] = UNITS[unit]
    _drop_absurd_cost(sample, names, given, notes)
    return Columns(names, factors, tuple(notes))


def _given(given: Mapping[str, str], there: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    names: dict[str, str] = {}
    units: dict[str, str] = {}
    for ours, spelled in given.items():
        role, _, unit = ours.rpartition("_")
        if role in TIMES and unit in UNITS:
            units[role], ours = unit, role
        ours = {"prompt": "messages", "model": "model_served", "cost_usd": "cost_logged_usd"}.get(ours, ours)
        if ours not in ALIASES:
            near = difflib.get_close_matches(ours, ALIASES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(ALIASES)}"
            raise FormatError(f"columns: {ours!r} is no column of ours{hint}")
        if spelled not in there:
            raise FormatError(f"columns.{ours} = {spelled!r}: the log has no such column; it has {', '.join(there)}")
        names[ours] = spelled
    return names, units


def _shown(ours: str) -> str:
    return f"{ours}_ms" if ours in TIMES else ours


def _numbers(sample: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    found = []
    for values in sample:
        try:
            value = float(values.get(name) or "nan")
        except (TypeError, ValueError):
            continue
        if value > 0 and value < float("inf"):
            found.append(value)
    return found


def guess_unit(values: Sequence[float]) -> str:
    """Return the unit in which these are latencies of language models, which take .05 s to 100 s.

    >>> guess_unit([0.8, 2.5]), guess_unit([800, 2500]), guess_unit([8e8, 2e9])
    ('s', 'ms', 'ns')
    """
    if not values:
        return "ms"
    middle = statistics.median(values)
    return next((unit for unit, most in (("s", 120), ("ms", 1.2e5), ("us", 1.2e8)) if middle < most), "ns")


def _drop_absurd_cost(
    sample: Sequence[Mapping[str, Any]], names: dict[str, str], given: Mapping[str, str], notes: list[str]
) -> None:
    name = names.get("cost_logged_usd")
    if name is None or "cost_usd" in given or "cost_logged_usd" in given:
        return
    values = _numbers(sample, name)
    if values and statistics.median(values) > ABSURD_USD:
        del names["cost_logged_usd"]
        notes.append(
            f"column {name!r} is not read as a cost: its median of {statistics.median(values):g} is no price of one "
            f"request in US dollars; say columns.cost_usd = {name!r} if it is"
        )
