"""From the lake to a plan of probes: what can be asked, what it would cost, and what is worth it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.candidates import Candidate
from beastmode.objective import Objective
from beastmode.pricing import Rates
from beastmode.records import Needs, Request, new_id
from features.joins import SERVING
from features.table import Table
from models.probing import Planning, Situation, plan
from pipelines.files import write_whole
from pipelines.probe_calls import Caller, most
from pipelines.probe_journal import probe_id
from pipelines.probe_settings import ProbeSettings

Floats = NDArray[np.float64]

GRADING_TOKENS = (250, 40)
"""What a judge's own prompt and reply take, about."""
COLUMNS = ("request_id", "event_id", "at", "purpose", "format", "messages", "context", "needs", "tenant", "session_id")


@dataclass(frozen=True, slots=True)
class Cell:
    """One request to ask of one candidate."""

    request_id: str
    """Of the request that is asked again."""
    candidate: str
    kind: str
    inclusion: float
    usd: float
    """Expected."""
    reason: str


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """Cells in the order in which they are asked; a file, so that a killed run goes on where it was."""

    name: str
    cells: tuple[Cell, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why requests or candidates cannot be asked, and how many cells that leaves out."""

    @property
    def usd(self) -> float:
        """What all of it should cost."""
        return sum(cell.usd for cell in self.cells)

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> "ProbePlan":
        """Return the plan that `write` wrote."""
        known = json.loads(path.read_text(encoding="utf-8"))
        return cls(known["name"], tuple(Cell(**cell) for cell in known["cells"]), known["left_out"])


def asked_again(interactions: pd.DataFrame) -> dict[str, Request]:
    """Return the requests that were served, as they were asked, by their id; those without a prompt are not there.

    `interactions` has the columns `COLUMNS`.
    """
    rows = interactions[interactions["purpose"].isin(SERVING) & interactions["messages"].notna()]
    rows = rows.assign(gateway=(rows["format"] != "journal").to_numpy())
    rows = rows.sort_values(["gateway", "at", "event_id"], kind="stable").drop_duplicates("request_id")
    found = {}
    for row in rows.to_dict("records"):
        needs = json.loads(row["needs"]) if isinstance(row["needs"], str) else {}
        found[str(row["request_id"])] = Request(
            messages=tuple(json.loads(row["messages"])),
            tenant=row["tenant"] if isinstance(row["tenant"], str) else None,
            session_id=row["session_id"] if isinstance(row["session_id"], str) else None,
            context=json.loads(row["context"]) if isinstance(row["context"], str) else {},
            needs=Needs(**{name: value for name, value in needs.items() if name in Needs.__slots__}),
            request_id=str(row["request_id"]),
        )
    return found


def make_plan(
    table: Table,
    embedding: NDArray[np.float32],
    requests: Mapping[str, Request],
    candidates: Sequence[Candidate],
    judge: Candidate | None,
    settings: ProbeSettings,
    objective: Objective,
    caller: Caller,
    answered: set[str],
    seed: int,
) -> ProbePlan:
    """Return the plan for a table whose columns are `candidates`; `answered` are ids of probes that have an answer.

    Of requests with the same prompt one is asked, and counts as often as the prompt was.
    """
    left_out: Counter[str] = Counter()
    one, traffic = _representatives(table, requests, settings)
    rows = np.flatnonzero(one)
    known = table.take(rows)
    askable = np.zeros(known.quality.shape, dtype=bool)
    for place, name in enumerate(known.request_ids.tolist()):
        request = requests.get(name)
        for column, candidate in enumerate(candidates):
            if np.isfinite(known.quality[place, column]) or probe_id(name, candidate.name) in answered:
                continue
            why = _cannot(request, candidate, settings, caller, float(known.input_tokens[place]))
            askable[place, column] = why is None
            if why is not None:
                left_out[why] += 1
    price, cost = _expected(known, candidates, settings, judge)
    charge = -objective.utility(np.zeros_like(cost), cost, None)
    situation = Situation(
        request_ids=known.request_ids,
        embedding=embedding[rows],
        quality=known.quality,
        price=price,
        charge=np.where(np.isfinite(charge), charge, 0.0),
        traffic=traffic[rows],
        askable=askable & np.isfinite(price),
    )
    budget = np.inf if settings.budget_usd is None else settings.budget_usd
    planning = Planning(budget, settings.requests, settings.random_share)
    cells = tuple(
        Cell(
            str(known.request_ids[pick.row]), table.candidates[column], pick.kind, pick.inclusion,
            float(price[pick.row, column]), pick.reason,
        )
        for pick in plan(situation, planning, table.candidates, seed)
        for column in pick.candidates
    )  # fmt: skip
    return ProbePlan(new_id(), cells, dict(left_out.most_common()))


def reference(request: Request, settings: ProbeSettings) -> Any:
    """Return the right answer that a request carries, or None."""
    return request.context.get(settings.reference)


def _representatives(
    table: Table, requests: Mapping[str, Request], settings: ProbeSettings
) -> tuple[NDArray[np.bool_], Floats]:
    """Return which row stands for its prompt, and how often each row's prompt was asked, both (n,).

    One that can be scored goes before one that cannot, then the one that most candidates answered, then the latest.
    """
    _, group, count = np.unique(table.prompts, return_inverse=True, return_counts=True)
    ids = table.request_ids.tolist()
    scorable = np.array([name in requests and reference(requests[name], settings) is not None for name in ids])
    order = np.lexsort((np.arange(len(table)), np.isfinite(table.quality).sum(axis=1), scorable))
    best = np.zeros(len(count), dtype=np.intp)
    best[group[order]] = order
    chosen = np.zeros(len(table), dtype=bool)
    chosen[best] = True
    return chosen, count[group].astype(np.float64)


def _cannot(
    request: Request | None, candidate: Candidate, settings: ProbeSettings, caller: Caller, input_tokens: float
) -> str | None:
    """Return why a request cannot be asked of a candidate, or None where it can."""
    if request is None:
        return "the lake holds no prompt of the request"
    if settings.scoring == "exact" and reference(request, settings) is None:
        return f"no right answer in context.{settings.reference}: probe.scoring can be a function or a judge instead"
    if (lacks := caller.lacks(candidate)) is not None:
        return f"{candidate.name}: {lacks}"
    if most(candidate, request.messages, settings.max_output_tokens) is None:
        return f"{candidate.name}: no price per token, or a prompt that is not text alone, so no bound on the cost"
    refusal = candidate.refusal(request, input_tokens)
    return None if refusal is None else f"{candidate.name}: {refusal}"


def _expected(
    table: Table, candidates: Sequence[Candidate], settings: ProbeSettings, judge: Candidate | None
) -> tuple[Floats, Floats]:
    """Return what a probe should cost with its grading, and what the answer alone should, both (n, m) US dollars."""
    seen = np.isfinite(table.output_tokens)
    total = np.where(seen, table.output_tokens, 0.0).sum(axis=0)
    usual = total.sum() / seen.sum() if seen.any() else settings.max_output_tokens / 4
    tokens = np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), usual)
    tokens = np.broadcast_to(np.minimum(tokens, settings.max_output_tokens), table.quality.shape)
    into = np.nan_to_num(table.input_tokens)
    cost = Rates.of([candidate.price for candidate in candidates]).cost_usd(into, tokens)
    if judge is None:
        return cost, cost
    prompt, reply = GRADING_TOKENS
    each = [judge.price.cost_usd(*pair) for pair in zip((into[:, None] + tokens + prompt).ravel().tolist(),
                                                        [reply] * tokens.size, strict=True)]  # fmt: skip
    grading = np.array([np.nan if usd is None else usd for usd in each]).reshape(tokens.shape)
    return cost + grading, cost
