"""The lake's rows as calls that can be priced again, with the names under which money is counted."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from beastmode.interactions import Attempt

NONE = "(none)"
"""What a row without tenant or task is filed under."""


class Entry(NamedTuple):
    """What of an interaction its cost follows from; the fields are columns of the lake."""

    at: datetime
    plan: str | None
    model_requested: str | None
    model_served: str | None
    provider: str | None
    status: str
    cache_tier: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_logged_usd: float | None
    attempts: tuple[Attempt, ...]

    @property
    def model(self) -> str:
        """The model that the money went to: what answered, else what was asked."""
        return self.model_served or (self.plan or "").split(" > ", 1)[0] or self.model_requested or "unknown"


COLUMNS = (
    *Entry._fields, "format", "request_id", "purpose", "tenant", "context", "prompt_sha256", "cost_usd", "cost_source",
)  # fmt: skip
"""The columns of the lake that the cost reports need."""
_ATTEMPT = {"candidate", *Attempt.__dataclass_fields__}


def entries(frame: pd.DataFrame) -> Iterator[Entry]:
    """Yield the rows of a lake's frame in their order."""
    columns = [_column(frame, name) for name in Entry._fields]
    return map(Entry._make, zip(*columns, strict=True))


def once(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without the gateway's rows of calls that the journal holds too: money is counted once."""
    ours = frame["format"] == "journal"
    twice = ~ours & frame["request_id"].isin(frame["request_id"][ours.to_numpy(dtype=bool)])
    return frame[(~twice).to_numpy(dtype=bool)]


def models(frame: pd.DataFrame) -> pd.Series:
    """Return the model that each row's money went to."""
    plan = frame["plan"].astype("string").str.split(" > ", n=1).str[0]
    served, asked = frame["model_served"].astype("string"), frame["model_requested"].astype("string")
    return served.fillna(plan).fillna(asked).fillna("unknown").astype(object)


def tasks(context: pd.Series) -> pd.Series:
    """Return the task tag of each row's context, a JSON object as text: its `task`, else its first `request_tags`."""
    known = {text: _task(text) for text in context.dropna().unique()}
    return context.map(known).astype(object).where(context.notna(), NONE)


def _task(text: str) -> str:
    try:
        context: Any = json.loads(text)
    except ValueError:
        return NONE
    if not isinstance(context, dict):
        return NONE
    tags = context.get("request_tags")
    task = context.get("task") or (tags[0] if isinstance(tags, list) and tags else None)
    return str(task) if isinstance(task, str | int | float) and task != "" else NONE


def _column(frame: pd.DataFrame, name: str) -> list[Any]:
    values = frame[name]
    if name == "attempts":
        return [_attempts(calls) for calls in values.tolist()]
    if name == "at":
        return list(values.dt.tz_convert("UTC").dt.to_pydatetime()) if len(values) else []
    return values.astype(object).where(values.notna(), None).tolist()  # type: ignore[no-any-return]


def _attempts(calls: Any) -> tuple[Attempt, ...]:
    # One attempt says no more than its row does.
    if calls is None or isinstance(calls, float) or len(calls) < 2:
        return ()
    return tuple(Attempt(**{k: _known(v) for k, v in call.items() if k in _ATTEMPT}) for call in calls)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value
