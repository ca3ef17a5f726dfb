"""Traces of demand as the cache benchmarks read them: a parquet file, or a name in the data folder."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.moments import seconds, steps
from features.demand import Demand

KEYS = ("key", "text", "hash_ids")
"""Columns that say what was asked, in order of preference."""
CLOCKS = ("timestamp", "seq")
"""Columns that say when, in order of preference; of `seq` there is one a second."""
TOKENS = (("input_tokens", "output_tokens"), ("input_length", "output_length"))
INPUT_PER_TOKEN, OUTPUT_PER_TOKEN = 1e-6, 4e-6
"""US dollars: what a call is taken to cost where a trace counts tokens; one dollar a call where it does not."""
USUAL_USD = 1.0


def load(traces: Sequence[str], folder: str | None, rows: int | None = None) -> dict[str, Demand]:
    """Return demand by the name of its file; raises ValueError where a trace cannot be read, or two have one name."""
    found: dict[str, Demand] = {}
    for path in (locate(trace, folder) for trace in traces):
        if path.stem in found:
            raise ValueError(f"{path}: {path.stem} was named before; give it a run of its own")
        found[path.stem] = read(path, rows)
    return found


def locate(trace: str, folder: str | None) -> Path:
    """Return the file that a name or path means; raises ValueError where there is none."""
    tried = [Path(trace)]
    if folder:
        tried += [Path(folder) / f"{name}.parquet" for name in (trace, f"cache_{trace}", f"cache_{trace}_4day")]
    for path in tried:
        if path.is_file():
            return path
    raise ValueError(
        f"{trace!r}: there is no file {' or '.join(map(str, tried))}; "
        "name a parquet file, or the folder by --data or BEASTMODE_DATA"
    )


def columns(path: Path) -> list[str]:
    """Return the names of a parquet file's columns; raises ValueError where it cannot be read."""
    import pyarrow.parquet as pq

    with _readable(path):
        return list(pq.read_schema(path).names)


def table(path: Path, wanted: Sequence[str]) -> Any:
    """Return an Arrow table of some columns of a parquet file; raises ValueError where it cannot be read."""
    import pyarrow.parquet as pq

    with _readable(path):
        return pq.read_table(path, columns=list(wanted))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as damaged:
        raise ValueError(f"{path}: no parquet file that can be read ({damaged}); write it anew") from None


def read(path: Path, rows: int | None = None) -> Demand:
    """Return the demand in a trace, its first `rows` requests in time where they are given.

    A key belongs to the tenant that asked, where the trace tells tenants apart. Raises ValueError where there is
    nothing to read.
    """
    named, at, asked = requests(path, KEYS, ("tenant",))
    at, asked = at[:rows], asked[:rows]
    code = _numbered(asked[named])
    tenant = _numbered(asked["tenant"]) if "tenant" in asked.column_names else np.zeros(len(at), dtype=np.int64)
    tenants = int(tenant.max()) + 1
    key, pairs = pd.factorize(code * tenants + tenant)
    total = np.bincount(key, cost(path, asked, USUAL_USD), len(pairs))
    return Demand(key.astype(np.int64), at, (pairs % tenants).astype(np.int64), total / np.bincount(key))


def requests(
    path: Path, keys: Sequence[str], more: Sequence[str], *, timed: bool = True
) -> tuple[str, NDArray[np.float64], Any]:
    """Return which of the columns `keys` says what was asked, when it was, (n,) seconds, and an Arrow table, in time.

    It has `more` columns, and tokens, where the file does. Time is `timestamp`, as `benchmarks.moments` reads it; a
    trace with only a sequence number, or with neither where it need not be `timed`, has one request a second. Rows
    without a key or a time are passed over, and told of on standard error. Raises ValueError where there is nothing to
    read.
    """
    import pyarrow.compute as pc

    names = columns(path)
    named = next((name for name in keys if name in names), None)
    clock = next((name for name in CLOCKS if name in names), None)
    if named is None or (clock is None and timed):
        raise ValueError(
            f"{path}: a trace needs one of {', '.join(keys)} and one of {', '.join(CLOCKS)}; it has "
            f"{', '.join(names)}: rename those that say what was asked and when; without them there is "
            "nothing to cache"
        )
    counted = [name for pair in TOKENS if set(pair) <= set(names) for name in pair]
    whole = table(path, [name for name in (named, clock, *more, *counted) if name in names])
    needed = [named] if clock is None else [named, clock]
    asked = whole
    for name in needed:
        asked = asked.filter(pc.invert(pc.is_null(asked[name], nan_is_null=True)))
    if not len(asked):
        raise ValueError(f"{path}: none of {len(whole)} rows has {' and '.join(needed)}; give a trace with requests")
    if len(asked) < len(whole):
        print(f"{path}: {len(whole) - len(asked)} rows without {' or '.join(needed)} are passed over", file=sys.stderr)
    if clock is None:
        return named, np.arange(len(asked), dtype=np.float64), asked
    try:
        at = seconds(asked[clock]) if clock == "timestamp" else steps(asked[clock])
    except ValueError as unclear:
        raise ValueError(f"{path}: {clock} {unclear}") from None
    order = np.argsort(at, kind="stable")
    return named, at[order], asked.take(order)


def cost(path: Path, asked: Any, usual: float) -> NDArray[np.float64]:
    """Return what each call costs, US dollars: the usual where nothing was counted, the mean where this row was not."""
    counted = next((pair for pair in TOKENS if set(pair) <= set(asked.column_names)), None)
    if counted is None:
        return np.full(len(asked), usual)
    try:
        tokens = [asked[name].cast("float64").to_numpy() for name in counted]
    except ValueError:
        kinds = ", ".join(f"{name} ({asked[name].type})" for name in counted)
        raise ValueError(f"{path}: tokens must be numbers; it has {kinds}") from None
    found = tokens[0] * INPUT_PER_TOKEN + tokens[1] * OUTPUT_PER_TOKEN
    known = np.isfinite(found)
    return np.asarray(np.where(known, found, found[known].mean() if known.any() else usual))


def _numbered(column: Any) -> NDArray[np.int64]:
    """Return a number for each different value, lists and missing ones included."""
    import pyarrow as pa

    # Lists have no hash: what they look like stands for them.
    nested = pa.types.is_nested(column.type)
    values = np.array([str(value) for value in column.to_pylist()]) if nested else column.to_pandas()
    return np.asarray(pd.factorize(values, use_na_sentinel=False)[0], dtype=np.int64)
