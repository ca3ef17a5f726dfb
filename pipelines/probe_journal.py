"""What a journal already tells of probes: who answered, who was scored, and what every plan has spent."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.files import json_lines

PLAN, INCLUSION, RESERVED = "probe_plan", "probe_inclusion", "probe_reserved_usd"
"""Keys of a probe's context, beside `features.joins.PROBE`, which says how its request was chosen."""
PURPOSES = ("probe", "judge")
MAY_BILL = frozenset(
    {"provider_timeout", "provider_connection_lost", "provider_bad_response", "router_process_ended",
     "caller_cancelled", "caller_application_error"}
)  # fmt: skip
"""Failures after which nobody can tell whether the provider charges: they count as the most that they can cost."""


def probe_id(parent: str, candidate: str) -> str:
    """Return the request id of a probe: the same for ever, so that a killed run knows what it has asked."""
    return hashlib.sha256(f"probe\0{parent}\0{candidate}".encode()).hexdigest()[:32]


@dataclass(slots=True)
class Recalled:
    """What the journals of a folder tell."""

    answered: set[str] = field(default_factory=set)
    """Request ids of probes with an answer."""
    scored: set[str] = field(default_factory=set)
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """US dollars by plan: as counted, or the whole reserve of a call whose cost nobody knows."""


def recall(folder: Path) -> Recalled:
    """Read every journal of a folder for probes; a line that was torn by a kill is passed over."""
    told = Recalled()
    for path in sorted(folder.glob("journal-*.jsonl")):
        begun: dict[str, Mapping[str, Any]] = {}
        for line in json_lines(path):
            _hear(line, begun, told)
        for known in begun.values():
            told.spent[known["context"][PLAN]] += _reserved(known)
    return told


def charge(begun: Mapping[str, Any], end: Mapping[str, Any]) -> float:
    """Return what a call that ended counts for in US dollars."""
    cost = end.get("cost_usd")
    if cost is not None:
        return float(cost)
    unknown = end.get("status") == "success" or end.get("error_type") in MAY_BILL
    return _reserved(begun) if unknown else 0.0


def _hear(line: dict[str, Any], begun: dict[str, Mapping[str, Any]], told: Recalled) -> None:
    kind, decision = line.get("kind"), str(line.get("decision_id"))
    if kind == "begin" and line.get("purpose") in PURPOSES and PLAN in (line.get("context") or {}):
        begun[decision] = line
    elif kind == "end" and decision in begun:
        known = begun.pop(decision)
        told.spent[known["context"][PLAN]] += charge(known, line)
        if line.get("status") == "success" and known["purpose"] == "probe":
            told.answered.add(str(known["request_id"]))
    elif kind == "feedback" and line.get("signal") in PURPOSES:
        told.scored.add(str(line.get("request_id")))


def _reserved(begun: Mapping[str, Any]) -> float:
    return float(begun["context"].get(RESERVED, 0.0))
