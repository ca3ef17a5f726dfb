"""From the lake to demand: which key was asked for when, what an answer to it costs, and how to ask it again."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.cache import Question
from beastmode.cache.entry import OVERHEAD
from beastmode.records import Needs, Request
from features.joins import SERVING
from pipelines.context import Context
from pipelines.train import NotEnough
from pipelines.warm_settings import WarmSettings

Floats = NDArray[np.float64]

COLUMNS = (
    "request_id", "event_id", "at", "purpose", "format", "messages", "prompt_sha256", "context", "needs", "tenant",
    "session_id", "cost_usd", "latency_ms", "output_tokens", "cache_tier", "status",
)  # fmt: skip
BYTES_A_TOKEN, USUAL_TOKENS = 4, 256
_SAME = ("tenant", "messages", "context", "needs", "prompt_sha256")
"""Columns whose equal values make equal keys."""


@dataclass(frozen=True, slots=True, eq=False)
class Logged:
    """Requests in time order, `n` of them over `k` keys. Hits and misses alike: a key is in demand, whoever answers."""

    keys: tuple[bytes, ...]
    """As the cache has them, where the log holds the prompt; else of its hash within the tenant."""
    key: NDArray[np.int64]
    """(n,) Place in `keys`."""
    at: Floats
    """(n,) Seconds since 1970."""
    session: NDArray[np.int64]
    """(n,) Requests without a session are one each."""
    tenant: NDArray[np.int64]
    """(k,) Number of each key's tenant."""
    miss_usd: Floats
    """(k,) What a model's answer has cost on average; the mean over all keys where it is not known."""
    miss_ms: Floats
    """(k,) How long it took, in the same way."""
    answer_bytes: Floats
    """(k,) What an answer weighs in the cache, by its output tokens; a kilobyte where none is known."""
    requests: tuple[Request | None, ...]
    """(k,) How to ask for it again; None where the log holds no prompt."""

    def __len__(self) -> int:
        return len(self.key)


def logged(context: Context, at: datetime) -> Logged:
    """Return the demand of the configured history until `at`; raises NotEnough where there is none."""
    settings = context.settings.warming
    since = at - timedelta(days=settings.history_days)
    rows = context.lake.interactions(since=since.date(), until=at.date(), columns=COLUMNS)
    rows = rows[((rows["at"] >= since) & (rows["at"] <= at)).to_numpy(dtype=bool)]
    found = demand(rows, settings)
    if not len(found):
        raise NotEnough(
            f"{context.lake.root} holds no request of the last {settings.history_days:g} days until "
            f"{at:%Y-%m-%d %H:%M}: run `python -m pipelines ingest`, or raise warming.history_days"
        )
    return found


def demand(interactions: pd.DataFrame, settings: WarmSettings) -> Logged:
    """Return the demand in rows of the lake with the columns `COLUMNS`; prefills and probes are nobody's demand."""
    rows = interactions[interactions["purpose"].isin(SERVING).to_numpy(dtype=bool)]
    rows = rows.assign(gateway=(rows["format"] != "journal").to_numpy())
    rows = rows.sort_values(["gateway", "at", "event_id"], kind="stable").drop_duplicates("request_id")
    rows = rows[(rows["messages"].notna() | rows["prompt_sha256"].notna()).to_numpy(dtype=bool)]
    rows = rows.sort_values(["at", "event_id"], kind="stable").reset_index(drop=True)
    same = rows[list(_SAME)].astype("string").fillna("\0")
    # The hash is of the last message alone: it tells keys apart only where there are no messages.
    same["prompt_sha256"] = same["prompt_sha256"].where(rows["messages"].isna(), "")
    codes, _ = pd.factorize(pd.MultiIndex.from_frame(same)) if len(rows) else (np.zeros(0, np.int64), None)
    first = pd.Series(np.arange(len(rows))).groupby(codes).first().to_numpy() if len(rows) else np.zeros(0, np.int64)
    keys, requests = [], []
    for row in rows.iloc[first].to_dict("records"):
        request = _request(row)
        requests.append(request)
        keys.append(_hash(row) if request is None else key_of(request, settings))
    # Two spellings of the same data (an empty context, none at all) are one key.
    place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    merged = np.array([place[key] for key in keys], dtype=np.int64)
    key = merged[codes] if len(rows) else np.zeros(0, np.int64)
    representative = {place[key]: i for i, key in reversed(list(enumerate(keys)))}
    order = [representative[i] for i in range(len(place))]
    tenants = pd.factorize(rows["tenant"].iloc[first].astype("string").fillna("\0"))[0][order] if order else []
    answered = (rows["cache_tier"].isna() & (rows["status"] == "success")).to_numpy(dtype=bool)
    sessions = rows["session_id"].where(rows["session_id"].notna(), rows["request_id"])
    tokens = _means(rows["output_tokens"], answered, key, len(place))
    return Logged(
        keys=tuple(place),
        key=key,
        at=rows["at"].dt.tz_convert(None).to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6,
        session=pd.factorize(sessions)[0].astype(np.int64),
        tenant=np.asarray(tenants, dtype=np.int64),
        miss_usd=_means(rows["cost_usd"], answered, key, len(place)),
        miss_ms=_means(rows["latency_ms"], answered, key, len(place)),
        answer_bytes=OVERHEAD + BYTES_A_TOKEN * np.nan_to_num(tokens, nan=USUAL_TOKENS),
        requests=tuple(requests[i] for i in order),
    )


def key_of(request: Request, settings: WarmSettings) -> bytes:
    """Return the key that stands for a request: as the cache makes it under the name of the model."""
    return question_of(request, settings).key


def question_of(request: Request, settings: WarmSettings) -> Question:
    """Return what a request is looked up by."""
    return Question.of(request, settings.model or "policy", parameters=settings.parameters)


def _request(row: dict[str, Any]) -> Request | None:
    if not isinstance(row["messages"], str):
        return None
    needs = json.loads(row["needs"]) if isinstance(row["needs"], str) else {}
    return Request(
        messages=tuple(json.loads(row["messages"])),
        tenant=row["tenant"] if isinstance(row["tenant"], str) else None,
        context=json.loads(row["context"]) if isinstance(row["context"], str) else {},
        needs=Needs(**{name: value for name, value in needs.items() if name in Needs.__slots__}),
    )


def _hash(row: dict[str, Any]) -> bytes:
    told: Iterable[str] = (str(row["tenant"]), str(row["prompt_sha256"]), str(row["context"]), str(row["needs"]))
    return hashlib.sha256(json.dumps(list(told)).encode()).digest()


def _means(values: pd.Series, use: NDArray[np.bool_], key: NDArray[np.int64], k: int) -> Floats:
    """Return the mean of each key over the rows to use, that of all rows where it has none, (k,)."""
    known = values.to_numpy(dtype=np.float64, na_value=np.nan)
    use = use & np.isfinite(known)
    total = np.bincount(key[use], known[use], k)
    count = np.bincount(key[use], minlength=k)
    usual = known[use].mean() if use.any() else np.nan
    return np.where(count > 0, total / np.maximum(count, 1), usual)
