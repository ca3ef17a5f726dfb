"""Explain where a text would be sent, beside the logged requests near to it, as far as its tenant may read them."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from beastmode.explanation import Explanation
from beastmode.records import Request, message_text
from beastmode.router import Router
from pipelines.lake import Lake

CHARS = 200
"""Of a prompt that are shown."""
COLUMNS = ("request_id", "parent_request_id", "tenant", "messages")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A logged request by its id: its text, or why it is not shown."""

    request_id: str
    text: str | None
    why: str | None = None

    @property
    def line(self) -> str:
        """The request as a line of a report."""
        return f"{self.request_id}: {self.text}" if self.why is None else f"{self.request_id}: ({self.why})"


@dataclass(frozen=True, slots=True)
class Explained:
    """A router's explanation of a text, with the logged requests that it names."""

    explanation: Explanation
    tenant: str | None
    near: tuple[Resolved, ...]

    def lines(self) -> list[str]:
        """Return it as lines for a person."""
        whose = "no tenant" if self.tenant is None else f"tenant {self.tenant}"
        head = f"near in the log, as {whose} may read it:"
        near = [f"  {one.line}" for one in self.near] or ["  none: the router holds no ids of requests near this one"]
        return [*self.explanation.lines(), "", head, *near]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**self.explanation.to_json(), "tenant": self.tenant, "near": [asdict(one) for one in self.near]}


def explain(router: Router, lake: Lake, text: str, tenant: str | None) -> Explained:
    """Explain what a router would do with a text; raises RoutingError where no candidate may serve it."""
    explanation = router.explain(Request.of(text, tenant=tenant))
    ids = [name for near in explanation.nearest for name in near.request_ids]
    found = resolve(lake, ids, tenant, _days(lake, router.bundle.training))
    return Explained(explanation, tenant, found)


def resolve(lake: Lake, ids: Collection[str], tenant: str | None, days: Collection[date]) -> tuple[Resolved, ...]:
    """Read ids up in some days of the lake, in their order: text for the rows of the same tenant, a reason for others.

    Rows without a tenant are nobody's but of those who ask without one. A request that was only probed is known by
    the id that its probes name as their parent.
    """
    wanted = pa.array(sorted(set(ids)), pa.string())
    texts: dict[str, str | None] = {}
    others: set[str] = set()
    for day in sorted(days):
        rows = lake.read("interactions", [day], COLUMNS)
        own, parent = (pc.is_in(rows[name], value_set=wanted) for name in COLUMNS[:2])
        for row in rows.filter(pc.or_(own, parent)).to_pylist():
            for name in {row["request_id"], row["parent_request_id"]} & set(ids):
                if row["tenant"] == tenant:
                    texts[name] = texts.get(name) or _text(row["messages"])
                else:
                    others.add(name)
    return tuple(_resolved(name, texts, others) for name in ids)


def _resolved(name: str, texts: Mapping[str, str | None], others: Collection[str]) -> Resolved:
    if name in texts:
        text = texts[name]
        return Resolved(name, text, None if text is not None else "the log holds no prompt of it")
    return Resolved(name, None, "of another tenant" if name in others else "not in the lake")


def _text(messages: str | None) -> str | None:
    if messages is None:
        return None
    said = " ".join(" ".join(map(message_text, orjson.loads(messages))).split())
    return said if len(said) <= CHARS else f"{said[:CHARS]}..."


def _days(lake: Lake, training: Mapping[str, Any]) -> tuple[date, ...]:
    """Return the days of the lake that a bundle was trained on; all of them where it does not say."""
    days = lake.days("interactions")
    since, until = (str(training.get(name) or "")[:10] for name in ("from", "until"))
    return tuple(day for day in days if not (since and until) or since <= day.isoformat() <= until)
