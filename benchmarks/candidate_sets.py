"""The candidate sets that benchmarks run on, by their names in `candidate_sets.json` of the data folder."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from features.outcomes import outcomes
from features.table import Table


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """An outcome table, the candidates to choose among, and what they are assumed to cost."""

    file: Path
    models: tuple[str, ...]
    prices: Mapping[str, float]
    """US dollars a request by model, for a file that has no costs."""

    def table(self, otherwise: Mapping[str, float] | None = None) -> Table:
        """Read the table, its costs replaced by the assumed prices, or by `otherwise` where none are assumed."""
        return priced(outcomes(pd.read_parquet(self.file), self.models), self.prices or otherwise or {})


def candidate_sets(names: Sequence[str] | None, data: str | None) -> dict[str, CandidateSet]:
    """Return candidate sets by their names, all of the folder where none are named.

    The folder is `data`, or BEASTMODE_DATA. Raises ValueError where neither is given, and on an unknown name.
    """
    folder = data or os.environ.get("BEASTMODE_DATA")
    if folder is None:
        raise ValueError("--set: name the folder of outcome tables by --data or BEASTMODE_DATA")
    known = json.loads((Path(folder) / "candidate_sets.json").read_text())
    missing = [name for name in names or () if name not in known]
    if missing:
        raise ValueError(f"--set: no candidate set {missing[0]!r}; known: {', '.join(known)}")
    return {
        name: CandidateSet(
            Path(folder) / known[name]["file"],
            tuple(known[name]["models"]),
            known[name].get("assumed_usd_per_request", {}),
        )
        for name in names or known
    }


def read_prices(path: Path) -> dict[str, float]:
    """Return US dollars a request by model, from a flat JSON file or from candidate sets that assume prices."""
    known = json.loads(path.read_text())
    nested = [entry["assumed_usd_per_request"] for entry in known.values() if isinstance(entry, dict)
              and "assumed_usd_per_request" in entry]  # fmt: skip
    flat = {name: value for name, value in known.items() if isinstance(value, (int, float))}
    return {name: float(value) for part in (*nested, flat) for name, value in part.items()}


def priced(table: Table, prices: Mapping[str, float]) -> Table:
    """Return the table with the cost of the models that `prices` names replaced, in US dollars a request."""
    cost = table.cost_usd.copy()
    for column, name in enumerate(table.candidates):
        if name in prices:
            cost[:, column] = prices[name]
    return replace(table, cost_usd=cost)
