"""What the lake saw of a router on traffic since a moment: its decisions, what came of them, and the shadow's."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.bundle import Bundle
from beastmode.interactions import Interaction
from features import joins
from features.table import Table
from models.experiments import Rows
from pipelines import held, logs
from pipelines.context import Context
from pipelines.evaluation import contestant

Floats = NDArray[np.float64]
KEPT = ("event_id", "request_id", "purpose", "session_id", "tenant", "unit", "arm", "arm_probability", "status",
        "error_type", "cost_usd", "latency_ms", "parent_request_id", "bundle_sha256")  # fmt: skip
"""Of an interaction, what an experiment is judged by."""
SERVED = ("serve", "canary")


@dataclass(frozen=True, slots=True)
class Seen:
    """The journal's rows since a moment, and the table of the requests that were served."""

    frame: pd.DataFrame
    """The rows that name a bundle, one for each request, in time order."""
    table: Table | None
    """None where no served request has an outcome yet."""

    @property
    def served(self) -> pd.DataFrame:
        """The rows of requests that were served."""
        return self.frame[self.frame["purpose"].isin(SERVED).to_numpy()]

    def shadows(self, sha256: str) -> pd.DataFrame:
        """Return what a challenger decided in the shadow, and its failures to, which name no bundle."""
        rows = self.frame[(self.frame["purpose"] == "shadow").to_numpy()]
        return rows[(rows["bundle_sha256"].isna() | (rows["bundle_sha256"] == sha256)).to_numpy()]

    def by(self, sha256: str) -> "Seen":
        """Return what one bundle served, and nothing else."""
        rows = self.served
        return self._of(rows[(rows["bundle_sha256"] == sha256).to_numpy()])

    def _of(self, rows: pd.DataFrame) -> "Seen":
        if self.table is None:
            return Seen(rows, None)
        kept = self.table.take(np.isin(self.table.request_ids, rows["request_id"].to_numpy(dtype=str)))
        return Seen(rows, kept if len(kept) else None)

    @property
    def quality(self) -> dict[str, float]:
        """The quality of what was served, by request id, where it is known."""
        if self.table is None:
            return {}
        own = self.table.quality[np.arange(len(self.table)), np.maximum(self.table.served, 0)]
        told = zip(self.table.request_ids.tolist(), own.tolist(), self.table.served.tolist(), strict=True)
        return {name: value for name, value, column in told if column >= 0 and value == value}

    def interactions(self) -> tuple[Interaction, ...]:
        """Return the served requests as interactions, as far as an experiment looks at them."""
        return tuple(interactions(self.served))

    def rows(self, champion: Bundle) -> Rows:
        """Return the rows of an experiment, with what the champion would have brought as the covariate of both arms."""
        return Rows.of(self.interactions(), self.quality, self.expected(champion))

    def expected(self, bundle: Bundle) -> dict[str, dict[str, float]]:
        """Return the quality and the cost that a bundle expects of its own choice, by request id."""
        if self.table is None:
            return {}
        would = contestant(bundle, self.table)
        found = {}
        for metric in ("quality", "cost_usd"):
            values = np.nansum(would.probabilities * np.nan_to_num(getattr(would, metric)), axis=1)
            found[metric] = dict(zip(self.table.request_ids.tolist(), values.tolist(), strict=True))
        return found

    def segments(self) -> dict[str, str]:
        """Return the kind of each request whose outcome is known, by request id, as reports tell them apart."""
        if self.table is None:
            return {}
        kinds = held.labels(self.served.set_index("request_id"), self.table)
        return dict(zip(self.table.request_ids.tolist(), kinds.tolist(), strict=True))


def seen(context: Context, since: datetime, at: datetime, bundles: Iterable[Bundle]) -> Seen:
    """Return what the lake holds of the time from `since` to `at`, with the columns of some bundles' candidates."""
    lake = context.lake
    frame = lake.interactions(since.astimezone(UTC).date(), at.astimezone(UTC).date())
    inside = (frame["at"] >= pd.Timestamp(since)) & (frame["at"] <= pd.Timestamp(at))
    frame = frame[inside.to_numpy(dtype=bool)]
    names = [candidate.name for candidate in logs.candidates(context)]
    names += [candidate.name for bundle in bundles for candidate in bundle.candidates]
    try:
        table = joins.table(frame, lake.feedback(), at, tuple(dict.fromkeys(names)), context.settings.signals)
    except ValueError:
        table = None
    ours = frame[((frame["format"] == "journal") & frame["arm"].notna()).to_numpy(dtype=bool)]
    return Seen(ours.drop_duplicates("request_id"), table)


def interactions(frame: pd.DataFrame) -> Iterable[Interaction]:
    """Yield the rows of a frame as interactions, with the fields that an experiment looks at."""
    for known in frame[["at", *KEPT]].to_dict("records"):
        values: dict[str, Any] = {name: None if _missing(value) else value for name, value in known.items()}
        values["at"] = values["at"].to_pydatetime()
        yield Interaction(**values)


def placed(maps: Iterable[Any], candidates: tuple[str, ...]) -> Floats:
    """Return logged probabilities, one map a request, as an array (n, m) over the table's candidates."""
    found = [dict(json.loads(each) if isinstance(each, str) else each) for each in maps]
    return np.array([[known.get(name, 0.0) for name in candidates] for known in found], dtype=np.float64).reshape(
        len(found), len(candidates)
    )


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)
