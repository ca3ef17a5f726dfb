"""A column of times as seconds, whatever it counts in."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MODERN = 631_152_000.0, 4_102_444_800.0
"""1990 to 2100 in seconds since 1970: numbers that lie in it count from then, in the unit in which they do."""
YEAR = 365.25 * 86400.0
LONGEST = 20 * YEAR
"""Seconds between the first and the last of numbers that count from 1970."""


def seconds(column: Any) -> NDArray[np.float64]:
    """Return times of an Arrow column without nulls as seconds, (n,); since 1970 (UTC) where the column says so.

    Moments, days and texts in ISO 8601 are what they are, UTC where they name no zone. Numbers that lie between 1990
    and 2100 as seconds, milli-, micro- or nanoseconds since 1970 are that. Others count from the trace's beginning:
    milliseconds where all are whole, seconds where they are not. Raises ValueError (without the column's name) for what
    is no time, and for such numbers that would last for more than a year: they count in another unit.
    """
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return seconds(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        at = np.asarray(column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())) / 1e6
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        at = _parsed(column.to_pandas())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        at = _counted(_finite(np.asarray(column.cast(pa.float64(), safe=False))))
    else:
        raise ValueError(f"is of the kind {kind}; give moments, texts in ISO 8601, or numbers")
    return np.asarray(at, dtype=np.float64)


def steps(column: Any) -> NDArray[np.float64]:
    """Return an Arrow column of sequence numbers, (n,), one a second; raises ValueError where they are none."""
    import pyarrow as pa

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(f"is of the kind {column.type}; give numbers, one for each request")
    return _finite(np.asarray(column.cast(pa.float64(), safe=False)))


def _finite(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(numbers).all():
        raise ValueError(f"has {numbers[~np.isfinite(numbers)][0]}; every time must be finite")
    return numbers


def _counted(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    for a_second in (1.0, 1e3, 1e6, 1e9):
        since = numbers / a_second
        if MODERN[0] <= since.min() and since.max() <= min(MODERN[1], since.min() + LONGEST):
            return np.asarray(since)
    unit, a_second = ("milliseconds", 1e3) if (numbers == np.floor(numbers)).all() else ("seconds", 1.0)
    span = (numbers.max() - numbers.min()) / a_second
    if span > YEAR:
        raise ValueError(f"would span {span / YEAR:.1f} years, read as {unit}; give moments, or whole milliseconds")
    return numbers / a_second


def _parsed(texts: "pd.Series[str]") -> NDArray[np.float64]:
    for text in texts[texts.str.fullmatch(r"\s*[-+]?\d*\.?\d*\s*")]:
        raise ValueError(f"has the text {text!r}; make it a number, or a moment in ISO 8601")
    told = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    for text in texts[told.isna()]:
        raise ValueError(f"has the text {text!r}, which is no moment; write it in ISO 8601, as in 2026-03-02T14:05:09Z")
    return np.asarray(told.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64) / 1e6)
