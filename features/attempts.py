"""Retries and fallbacks that a log holds as records of their own become one request with its attempts."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pandas as pd

WITHIN = timedelta(minutes=15)
"""A call that begins later than this after a failure is a request of its own."""
SOON = timedelta(minutes=1)
"""The same where the log does not tell the prompts, so that only the trace speaks for a retry."""
SLACK = timedelta(seconds=1)
"""How much earlier than the failure's end a retry may seem to begin: durations are rounded."""
_CALL = (
    "status", "latency_ms", "ttft_ms", "error_type", "error_message", "model_served", "provider", "input_tokens",
    "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd",
)  # fmt: skip
_DRAWN = (
    "decision_id", "candidates", "plan", "probabilities", "propensity", "propensity_source", "arm", "arm_probability",
    "sticky_from", "policy", "bundle_sha256", "predictions",
)  # fmt: skip


def together(rows: pd.DataFrame) -> pd.DataFrame:
    """Return interactions in which each call has the calls that failed before it as its attempts.

    A call continues one that failed in the same trace, or in the same session with the same prompt known, began no
    earlier, and ended at most fifteen minutes before. What was drawn first keeps the credit, costs add up, the last
    call says how it ended and names the request. Probes ask again on purpose and are never joined, nor are rows that
    have their attempts already. `rows` has one row a call and a unique index; `quality` may be among its columns.
    """
    group = rows["trace_id"].where(rows["trace_id"].notna(), rows["session_id"])
    alone = rows["attempts"].map(lambda calls: calls is None or len(calls) == 0).astype(bool)
    free = (rows["purpose"] == "serve") & alone & group.notna()
    failing = group[free & (rows["status"] == "failure")].unique()
    part = rows[(free & group.isin(failing)).to_numpy(dtype=bool)].sort_values(["at", "event_id"], kind="stable")
    chains = _chains(part, group)
    if not chains:
        return rows
    whole = {chain[-1]: _whole(rows.loc[chain].to_dict("records")) for chain in chains}
    kept = rows.drop(index=[index for chain in chains for index in chain[:-1]]).astype({"attempts": object})
    for index, values in whole.items():
        for name, value in values.items():
            kept.at[index, name] = value
    return kept.sort_values(["at", "request_id"], kind="stable")


def _chains(part: pd.DataFrame, group: pd.Series) -> list[list[Any]]:
    """Return the indices of each call that was retried, followed by those of its retries."""
    open_: dict[tuple[Any, Any], list[Any]] = {}
    chains: list[list[Any]] = []
    known = part.to_dict("index")
    for index, call in known.items():
        prompt = call["prompt_sha256"] if isinstance(call["prompt_sha256"], str) else None
        chain = [index]
        for key in dict.fromkeys([(group[index], prompt), (group[index], None)]):
            before = open_.get(key)
            if before is not None and _continues(known[before[-1]], call):
                chain = [*open_.pop(key), index]
                break
        if call["status"] == "failure":
            open_[group[index], prompt] = chain
        elif len(chain) > 1:
            chains.append(chain)
    return chains + [chain for chain in open_.values() if len(chain) > 1]


def _continues(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a call is the retry or fallback of one that failed."""
    drawn = [call["decision_id"] for call in (before, after) if isinstance(call["decision_id"], str)]
    if len(set(drawn)) > 1:
        return False
    same = isinstance(before["prompt_sha256"], str) and before["prompt_sha256"] == after["prompt_sha256"]
    if not same and not (isinstance(before["trace_id"], str) and before["trace_id"] == after["trace_id"]):
        return False
    waited = after["at"] - before["at"] - timedelta(milliseconds=_number(before["latency_ms"]))
    return bool(after["at"] >= before["at"] and -SLACK <= waited <= (WITHIN if same else SOON))


def _whole(calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what becomes of the last call's row."""
    first, last = calls[0], calls[-1]
    drawn = next((call for call in calls if isinstance(call["plan"], str)), last)
    waited = (last["at"] - first["at"]) / timedelta(milliseconds=1)
    costs = [call["cost_usd"] for call in calls if not pd.isna(call["cost_usd"])]
    known = {name: drawn[name] for name in _DRAWN}
    known |= {
        "request_id": drawn["request_id"],
        "at": first["at"],
        "model_requested": first["model_requested"],
        "latency_ms": last["latency_ms"] + waited,
        "ttft_ms": last["ttft_ms"] + waited,
        "cost_usd": sum(costs) if costs else float("nan"),
        "attempts": _attempts(calls),
    }
    for name in ("messages", "prompt_sha256", "prompt_chars", "quality"):
        said = [call[name] for call in calls if name in call and not pd.isna(call[name])]
        known |= {name: said[-1]} if said else {}
    return known


def _attempts(calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for call in calls:
        names = (call["plan"], call["model_requested"], call["model_served"], "unknown")
        candidate = next(name for name in names if isinstance(name, str) and name).split(" > ", 1)[0]
        role = "primary" if not told else "retry" if candidate == told[-1]["candidate"] else "fallback"
        told.append({"candidate": candidate, "role": role, **{field: call[field] for field in _CALL}})
    return told


def _number(value: Any) -> float:
    return 0.0 if pd.isna(value) else float(value)
