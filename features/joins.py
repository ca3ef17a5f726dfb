"""From the lake's rows to a learner's table: one row a request, as the world was known at a moment."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.records import Request
from features import unanswered
from features.attempts import together
from features.signals import Signal, latest, moment
from features.table import Floats, Table

SERVING = ("serve", "canary")
PAIRED = ("probe", "shadow")
"""Purposes that ask a request again: their rows join the request that they repeat."""
PROBE, PLANNED, RANDOM = "probe", "planned", "random"
"""The key of a probe's context that says how its request was chosen, and what it says."""


def table(
    interactions: pd.DataFrame,
    feedback: pd.DataFrame,
    as_of: datetime,
    candidates: Sequence[str] | None = None,
    signals: Sequence[Signal] = (),
) -> Table:
    """Return what was known at `as_of`, in time order: the same table for ever, whatever comes later.

    Of the rows of one request the journal's wins, then a success; a call joins those that failed before it. An outcome
    is credited to the candidate that the drawn plan asks first. A failure has no quality and no latency, but where the
    candidates' providers fail differently: there it is an answer worth nothing (`features.unanswered`). Quality is
    what the latest feedback, by its own moment, among what was received by `as_of` says under `signals`. Answers from
    a cache are no candidate's and are left out. `candidates` gives the columns; where it is None they are all that
    were asked, by name. Raises ValueError where nothing is left.
    """
    rows = _known(interactions, as_of)
    of_request, of_trace = latest(_addressed(feedback, interactions), as_of, signals)
    quality = rows["request_id"].map(of_request)
    quality = quality.where(quality.notna(), rows["trace_id"].map(of_trace)).astype("float64")
    rows = together(rows.assign(quality=quality))
    rows = rows.assign(candidate=_candidate(rows, candidates))
    if candidates is None:
        candidates = sorted(rows["candidate"].dropna().unique())
    rows = rows[rows["candidate"].isin(list(candidates))]
    if not len(rows):
        raise ValueError(
            f"no interaction with a known candidate until {as_of.isoformat()}; "
            f"candidates: {', '.join(candidates) or 'none'}; ingest a log first, or move as_of"
        )
    rows = rows.assign(failed=unanswered.failed(rows)).reset_index(drop=True)
    rows.loc[(rows["status"] != "success").to_numpy(), ["quality", "latency_ms"]] = np.nan
    # A probe belongs to its parent; a request that was only probed is known by its parent's id.
    paired = rows["purpose"].isin(PAIRED)
    owner = rows["request_id"].where(~paired, rows["parent_request_id"].combine_first(rows["request_id"]))
    return _assemble(unanswered.counted(rows.assign(owner=owner), paired.to_numpy()), tuple(candidates))


def calls(interactions: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Return what was served by `as_of`, one row a request: the journal's, with the calls that failed before it."""
    rows = _known(interactions, as_of)
    return together(rows[rows["purpose"].isin(SERVING).to_numpy(dtype=bool)])


def _addressed(feedback: pd.DataFrame, interactions: pd.DataFrame) -> pd.DataFrame:
    """Return feedback with the request ids of the log records that it names, where the lake holds them."""
    known = interactions.set_index("event_id")["request_id"]
    named = feedback["event_id"].map(known[~known.index.duplicated()])
    return feedback.assign(request_id=named.where(named.notna(), feedback["request_id"]))


def _known(interactions: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Return the rows that count, one for each call, ordered by moment."""
    ended = interactions["at"] + pd.to_timedelta(interactions["latency_ms"].fillna(0.0), unit="ms")
    rows = interactions[(ended <= moment(as_of)).to_numpy(dtype=bool)]
    keep = rows["purpose"].isin([*SERVING, *PAIRED]) & rows["cache_tier"].isna()
    # A shadow that called nobody is a decision without an outcome, and no half of a pair.
    keep &= ~((rows["purpose"] == "shadow") & rows["latency_ms"].isna())
    rows = rows[keep.to_numpy(dtype=bool)]
    rows = rows.assign(
        _gateway=(rows["format"] != "journal").to_numpy(), _failed=(rows["status"] != "success").to_numpy()
    )
    rows = rows.sort_values(["_gateway", "_failed", "at", "event_id"], kind="stable").drop_duplicates("request_id")
    return rows.sort_values(["at", "request_id"], kind="stable").drop(columns=["_gateway", "_failed"])


def _candidate(rows: pd.DataFrame, candidates: Sequence[str] | None) -> pd.Series:
    """Return whom each row's outcome is credited to; None where it is none of the candidates."""
    # A column of nulls alone has no strings.
    plan = rows["plan"].astype("string").str.split(" > ", n=1).str[0].astype(object)
    asked, answered = rows["model_requested"].astype(object), rows["model_served"].astype(object)
    # A gateway's group is only a name for several models, so what answered comes before what was asked for,
    # unless the candidates say otherwise.
    named = [plan, answered, asked] if candidates is None else [plan, asked, answered]
    if candidates is not None:
        named = [name.where(name.isin(list(candidates))) for name in named]
    first, second, third = named
    return first.where(first.notna(), second.where(second.notna(), third))


def _assemble(rows: pd.DataFrame, candidates: tuple[str, ...]) -> Table:
    paired = rows["purpose"].isin(PAIRED).to_numpy()
    # Rows are in time order, so a request takes the place of its earliest row; its own row speaks for it, where it
    # was served.
    codes, owners = pd.factorize(rows["owner"])
    n, m = len(owners), len(candidates)
    speaker = np.full(n, -1, dtype=np.int64)
    for mask in (paired, ~paired):
        index = np.flatnonzero(mask)[::-1]
        speaker[codes[index]] = index
    spoken = rows.iloc[speaker]
    served_rows = np.flatnonzero(~paired)
    column = pd.Categorical(rows["candidate"], categories=list(candidates)).codes.astype(np.int64)
    served = np.full(n, -1, dtype=np.int64)
    served[codes[served_rows]] = column[served_rows]
    cells = {
        name: _cells(rows[name].to_numpy(dtype=np.float64, na_value=np.nan), codes, column, paired, (n, m))
        for name in ("quality", "cost_usd", "latency_ms", "output_tokens")
    }
    planned = _planned(rows, paired)
    ended = np.where(planned, np.nan, rows["failed"].to_numpy(dtype=np.float64))
    order = np.lexsort((np.asarray(owners, dtype=str), spoken["at"].to_numpy(dtype="datetime64[us]")))
    texts = [_text(value) for value in spoken["messages"].tolist()]
    chars = spoken["prompt_chars"].to_numpy(dtype=np.float64, na_value=np.nan)
    tokens = spoken["input_tokens"].to_numpy(dtype=np.float64, na_value=np.nan)
    propensity = spoken["propensity"].to_numpy(dtype=np.float64, na_value=np.nan)
    if "marginal_propensity" in spoken:
        # Under an experiment the plan had a chance in both arms.
        marginal = spoken["marginal_propensity"].to_numpy(dtype=np.float64, na_value=np.nan)
        propensity = np.where(np.isnan(marginal), propensity, marginal)
    return Table(
        candidates=candidates,
        request_ids=_strings(owners),
        texts=tuple(texts),
        at=spoken["at"].dt.tz_convert(None).to_numpy(dtype="datetime64[us]"),
        # Calls of one trace share a fate, and often a single word of feedback: they are one observation.
        sessions=_strings(
            spoken["session_id"].combine_first(spoken["trace_id"]).combine_first(pd.Series(owners, spoken.index))
        ),
        input_tokens=np.where(np.isnan(tokens), chars / 4, tokens),
        prompt_chars=chars,
        served=served,
        propensity=np.where(served >= 0, propensity, np.nan),
        probed=_complete(rows, cells["quality"], spoken, column) & _was_drawn(codes, paired & ~planned, n),
        failed=_cells(ended, codes, column, paired, (n, m)),
        **cells,
    ).take(order)


def _complete(
    rows: pd.DataFrame, quality: Floats, spoken: pd.DataFrame, column: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return the requests of which every candidate's answer is known that had been asked anything by then, (n,)."""
    at = rows["at"].to_numpy(dtype="datetime64[us]")
    first = np.full(quality.shape[1], np.datetime64("9999-01-01", "us"))
    np.minimum.at(first, column, at)
    later = spoken["at"].to_numpy(dtype="datetime64[us]")[:, None] < first
    known = ~np.isnan(quality)
    return np.asarray((known | later).all(axis=1) & known.any(axis=1))


def _planned(rows: pd.DataFrame, paired: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the probes whose request a planner chose and never drew by lot, (rows,)."""
    planned = np.zeros(len(rows), dtype=bool)
    marked = rows["context"].astype("string").str.contains(f'"{PROBE}"', regex=False).fillna(False).to_numpy(dtype=bool)
    for i in np.flatnonzero(marked & paired).tolist():
        planned[i] = json.loads(rows["context"].iloc[i]).get(PROBE) == PLANNED
    return planned


def _was_drawn(codes: NDArray[np.int64], by_lot: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """Return which requests were asked again by lot, (n,)."""
    drawn = np.zeros(n, dtype=bool)
    drawn[codes[by_lot]] = True
    return drawn


def _cells(
    values: Floats,
    codes: NDArray[np.int64],
    column: NDArray[np.int64],
    paired: NDArray[np.bool_],
    shape: tuple[int, int],
) -> Floats:
    """Return one number for each request and candidate: the earliest known, the served row's before a probe's."""
    cells = np.full(shape, np.nan)
    for mask in (paired, ~paired):
        index = np.flatnonzero(mask & ~np.isnan(values))[::-1]
        cells[codes[index], column[index]] = values[index]
    return cells


def _strings(values: Any) -> NDArray[np.str_]:
    return np.asarray(list(values), dtype=str)


def _text(messages: Any) -> str:
    if not isinstance(messages, str) or not messages:
        return ""
    return Request(messages=tuple(json.loads(messages)), request_id="").text
