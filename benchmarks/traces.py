"""Traces of demand as the cache benchmarks read them: a parquet file, or a name in the data folder."""

from pathlib import Path

import numpy as np
import pandas as pd

from features.demand import Demand

KEYS = ("key", "text", "hash_ids")
"""Columns that say what was asked, in order of preference."""
INPUT_PER_TOKEN, OUTPUT_PER_TOKEN = 1e-6, 4e-6
"""US dollars: what a call is taken to cost where a trace counts tokens; one dollar a call where it does not."""
USUAL_USD = 1.0


def locate(trace: str, folder: str | None) -> Path:
    """Return the file that a trace's name or path means; raises ValueError where there is none."""
    tried = [Path(trace)]
    if folder:
        tried += [Path(folder) / f"{name}.parquet" for name in (trace, f"cache_{trace}", f"cache_{trace}_4day")]
    for path in tried:
        if path.is_file():
            return path
    raise ValueError(
        f"trace {trace!r}: there is no file {' or '.join(map(str, tried))}; "
        "name a parquet file, or the folder by --data or BEASTMODE_DATA"
    )


def read(path: Path, rows: int | None = None) -> Demand:
    """Return the demand in a trace, its first `rows` requests where they are given.

    Time is `timestamp` (moments, or milliseconds as whole numbers); a trace with only a sequence number has one
    request a second. A key belongs to the tenant that asked, where the trace tells tenants apart.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path).to_pandas()
    named = next((name for name in KEYS if name in table), None)
    clock = next((name for name in ("timestamp", "seq") if name in table), None)
    if named is None or clock is None:
        raise ValueError(
            f"{path}: a trace needs one of {', '.join(KEYS)} and one of timestamp, seq; it has {', '.join(table)}"
        )
    table = table.sort_values(clock, kind="stable").reset_index(drop=True).head(rows)
    moments = table[clock]
    if pd.api.types.is_datetime64_any_dtype(moments):
        at = moments.to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    else:
        at = moments.to_numpy(dtype=np.float64) / (1000.0 if clock == "timestamp" else 1.0)
    asked = table[named].map(tuple) if named == "hash_ids" else table[named]
    tenant = pd.factorize(table["tenant"])[0] if "tenant" in table else np.zeros(len(table), dtype=np.int64)
    # The first factorisation is there for tuples, which a pair's factorisation would take apart.
    code = pd.factorize(asked)[0].astype(np.int64)
    key, pairs = pd.factorize(code * (int(tenant.max(initial=0)) + 1) + tenant)
    cost = np.full(len(table), USUAL_USD)
    for into, out in (("input_tokens", "output_tokens"), ("input_length", "output_length")):
        if {into, out} <= set(table):
            cost = (table[into] * INPUT_PER_TOKEN + table[out] * OUTPUT_PER_TOKEN).to_numpy(dtype=np.float64)
    total, count = np.bincount(key, cost, len(pairs)), np.bincount(key, minlength=len(pairs))
    owner = pairs % (int(tenant.max(initial=0)) + 1)
    return Demand(key.astype(np.int64), at, owner.astype(np.int64), total / np.maximum(count, 1))
