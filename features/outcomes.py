"""Outcome tables: what each of several models did with each prompt, in long form."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from beastmode.candidates import Candidate, Price
from features.table import Table, normalise_text

COLUMNS = ("prompt_id", "prompt", "model", "score", "cost_usd", "input_tokens", "output_tokens", "latency_ms")


def outcomes(frame: pd.DataFrame, models: Sequence[str] | None = None) -> Table:
    """Return an outcome table as a `Table` in which every row is probed.

    Prompts are deduplicated by normalised text (the first stays), and only those are kept that every model answered.
    Without `models` the candidates are those that answered nine prompts in ten: where models differ by task, one that
    sat out a task would take the task's prompts with it. Raises ValueError naming a missing column or an unknown model.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(f"outcome table: column {missing[0]!r} is missing; expected {', '.join(COLUMNS)}")
    known = list(dict.fromkeys(frame["model"]))
    chosen = list(models) if models is not None else _covering(frame)
    unknown = [model for model in chosen if model not in set(known)]
    if unknown:
        raise ValueError(f"outcome table: no rows of model {unknown[0]!r}; it has {', '.join(known)}")
    rows = frame[frame["model"].isin(chosen) & frame["score"].notna() & frame["prompt"].notna()]
    first = rows.drop_duplicates("prompt_id")[["prompt_id", "prompt"]]
    first = first.assign(key=[normalise_text(text) for text in first["prompt"]]).drop_duplicates("key")
    rows = rows[rows["prompt_id"].isin(first["prompt_id"])].drop_duplicates(["prompt_id", "model"])

    def wide(column: str) -> pd.DataFrame:
        values = rows.assign(value=rows[column].astype("float64"))
        return values.pivot(index="prompt_id", columns="model", values="value").reindex(columns=chosen)

    quality = wide("score").dropna()
    ids = [i for i in first["prompt_id"] if i in quality.index]
    text = dict(zip(first["prompt_id"], first["prompt"], strict=True))
    matrices = {name: wide(name).reindex(ids).to_numpy() for name in ("cost_usd", "latency_ms", "output_tokens")}
    n = len(ids)
    input_tokens = np.array(wide("input_tokens").reindex(ids).bfill(axis=1).iloc[:, 0], dtype=np.float64)
    estimate = np.array([len(text[i]) / 4 for i in ids])
    names = np.array([str(i) for i in ids], dtype=str)
    return Table(
        candidates=tuple(chosen),
        request_ids=names,
        texts=tuple(text[i] for i in ids),
        at=np.datetime64("2026-01-01T00:00:00", "us") + np.arange(n).astype("timedelta64[s]"),
        sessions=names,
        input_tokens=np.where(np.isnan(input_tokens), estimate, input_tokens),
        quality=quality.reindex(ids).to_numpy(),
        served=np.full(n, -1, dtype=np.int64),
        propensity=np.full(n, np.nan),
        probed=np.ones(n, dtype=bool),
        **matrices,
    )


def _covering(frame: pd.DataFrame) -> list[str]:
    """Return the models with a score for at least nine in ten of the prompts, in the order of the file."""
    answered = frame[frame["score"].notna()].groupby("model", sort=False)["prompt_id"].nunique()
    return [str(model) for model, count in answered.items() if count >= 0.9 * frame["prompt_id"].nunique()]


def catalogue(table: Table, usd_per_request: Mapping[str, float] | None = None) -> tuple[Candidate, ...]:
    """Return the candidates of an outcome table, their prices recovered from its costs.

    Where tokens and costs are both known the price per token is their least-squares fit (exact for a list price);
    where only costs are known the price is the mean per request; `usd_per_request` overrides both; else unpriced.
    """
    return tuple(
        Candidate(name, price=_price(table, column, (usd_per_request or {}).get(name)))
        for column, name in enumerate(table.candidates)
    )


def _price(table: Table, column: int, per_request: float | None) -> Price:
    if per_request is not None:
        return Price(per_request=per_request)
    cost, out = table.cost_usd[:, column], table.output_tokens[:, column]
    priced = ~np.isnan(cost)
    if not priced.any():
        return Price()
    both = priced & ~np.isnan(out)
    if both.sum() < 3:
        return Price(per_request=float(cost[priced].mean()))
    tokens = np.stack([table.input_tokens[both], out[both]], axis=1)
    per_token = np.linalg.lstsq(tokens, cost[both], rcond=None)[0]
    # A few rows that were billed otherwise must not bend a list price: fit again on those that obey it.
    residual = np.abs(tokens @ per_token - cost[both])
    obeys = residual <= 10 * np.median(residual) + 1e-12
    if obeys.sum() >= 3:
        per_token = np.linalg.lstsq(tokens[obeys], cost[both][obeys], rcond=None)[0]
    if (per_token < -1e-12).any():
        return Price(per_request=float(cost[priced].mean()))
    into, outof = (round(float(value) * 1e6, 6) for value in per_token)
    return Price(input_per_mtok=into, output_per_mtok=outof)


def fingerprint(table: Table) -> str:
    """Return the sha256 of a table's content: what a tracked run names as its data."""
    digest = hashlib.sha256()
    for part in (*table.candidates, *table.request_ids.tolist(), *table.texts):
        digest.update(part.encode())
        digest.update(b"\0")
    for values in (table.quality, table.cost_usd, table.latency_ms, table.output_tokens, table.propensity):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
